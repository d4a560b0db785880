//! The kubelets' part: pods that controllers have created get an address and become ready, and at that address somebody
//! answers `/status` as a gateway would that has mounted the pod's ConfigMaps.
//!
//! As a kubelet does, the actor looks at the ConfigMaps when a pod starts and when the pod itself changes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wsgateway_config::fingerprint;
use wsgateway_crds::ADMIN_PORT;

/// Gateway pods.
const LABELS: &str = "app.kubernetes.io/component=gateway";
/// On pods whose configuration has changed.
const LIVE_HASH: &str = "wsgateway.dev/live-hash";
/// Pods looked after at a time: a node has fewer, a cluster more.
const AT_ONCE: usize = 16;
/// Between two attempts at the same pod.
const AGAIN: Duration = Duration::from_millis(200);
/// Longest head of a request that is read.
const LONGEST_HEAD: usize = 4_096;
/// Addresses tried for one pod.
const ATTEMPTS: u32 = 1_000;

/// The actor; dropping it ends it and all answers.
pub struct Kubelet {
    shared: Arc<Shared>,
    _watches: JoinSet<()>,
}

struct Shared {
    client: Client,
    places: Semaphore,
    addresses: Addresses,
    started: AtomicU32,
    /// Of pods, by UID: dropping one ends its answers.
    running: Mutex<HashMap<String, Running>>,
}

/// A pod that runs.
#[derive(Debug)]
struct Running {
    answer: Arc<Mutex<String>>,
    /// What it was made to look for last.
    asked: Option<String>,
    _server: JoinSet<()>,
}

/// Loopback addresses of this process alone: the admin port is the same for all gateways.
#[derive(Debug)]
struct Addresses(AtomicU32);

impl Kubelet {
    /// Looks after the gateway pods of these namespaces.
    #[must_use]
    pub fn start(client: &Client, namespaces: &[String]) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            places: Semaphore::new(AT_ONCE),
            addresses: Addresses::new(std::process::id()),
            started: AtomicU32::new(0),
            running: Mutex::default(),
        });
        let mut watches = JoinSet::new();
        for namespace in namespaces {
            watches.spawn(watch(Arc::clone(&shared), namespace.clone()));
        }
        Self { shared, _watches: watches }
    }

    /// Pods made ready so far.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.shared.started.load(Ordering::Relaxed)
    }
}

async fn watch(shared: Arc<Shared>, namespace: String) {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), &namespace);
    let config = watcher::Config::default().labels(LABELS);
    let mut events = watcher(api.clone(), config).default_backoff().boxed();
    let mut work = JoinSet::new();
    while let Some(event) = events.next().await {
        while work.try_join_next().is_some() {}
        match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))
                if shared.wants(&pod) =>
            {
                work.spawn(look_after(Arc::clone(&shared), api.clone(), pod));
            }
            Ok(watcher::Event::Delete(pod)) => {
                shared.running().remove(&pod.uid().unwrap_or_default());
            }
            _ => {}
        }
    }
}

fn asked(pod: &Pod) -> Option<String> {
    pod.annotations().get(LIVE_HASH).cloned()
}

/// Starts a pod or has it look at its ConfigMaps again, until that succeeds or the pod is gone.
async fn look_after(shared: Arc<Shared>, api: Api<Pod>, pod: Pod) {
    loop {
        let done = {
            // Never closed.
            let _place = shared.places.acquire().await;
            shared.look_at(&api, &pod).await
        };
        if done.is_ok() || !matches!(api.get_metadata_opt(&pod.name_any()).await, Ok(Some(_))) {
            return;
        }
        sleep(AGAIN).await;
    }
}

impl Shared {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something to do for a pod.
    fn wants(&self, pod: &Pod) -> bool {
        if pod.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let running = self.running();
        running.get(&pod.uid().unwrap_or_default()).is_none_or(|known| known.asked != asked(pod))
    }

    async fn look_at(&self, api: &Api<Pod>, pod: &Pod) -> Result<()> {
        let answer = self.answer(pod).await?;
        let uid = pod.uid().unwrap_or_default();
        if let Some(known) = self.running().get_mut(&uid) {
            *known.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
            known.asked = asked(pod);
            return Ok(());
        }
        let (listener, address) = self.addresses.bind().await?;
        let answer = Arc::new(Mutex::new(answer));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&answer)));
        self.running().insert(uid, Running { answer, asked: asked(pod), _server: server });
        let status = json!({ "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        } });
        api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await?;
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// What a gateway answers that has mounted the ConfigMaps of this pod as they are now.
    async fn answer(&self, pod: &Pod) -> Result<String> {
        let maps: Api<ConfigMap> = Api::namespaced(
            self.client.clone(),
            pod.metadata.namespace.as_deref().unwrap_or_default(),
        );
        let mut texts = Vec::new();
        for name in mounted(pod) {
            let data = maps.get(&name).await?.data.unwrap_or_default();
            texts.extend(data.into_values());
        }
        let [config, live] = texts.as_slice() else { bail!("not two files: {}", texts.len()) };
        let answer = json!({
            "ready": true, "draining": false, "connections": 0, "capacity": 10_000,
            "configHash": fingerprint(&[config, live]), "liveHash": fingerprint(&[live]),
            "source": { "state": "live", "lagMessages": 0 },
        });
        Ok(answer.to_string())
    }
}

/// The ConfigMaps of a pod, that of the restart part first.
fn mounted(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes
        .filter_map(|volume| volume.projected.as_ref())
        .flat_map(|projected| projected.sources.iter().flatten());
    sources.filter_map(|source| Some(source.config_map.as_ref()?.name.clone())).collect()
}

impl Addresses {
    /// Two processes at once begin at different places.
    fn new(process: u32) -> Self {
        Self(AtomicU32::new(process.wrapping_mul(7_919)))
    }

    /// A listener at an address that nobody has.
    async fn bind(&self) -> Result<(TcpListener, IpAddr)> {
        for _ in 0..ATTEMPTS {
            let address = address(self.0.fetch_add(1, Ordering::Relaxed));
            if let Ok(listener) = TcpListener::bind(SocketAddr::new(address, ADMIN_PORT)).await {
                return Ok((listener, address));
            }
        }
        bail!(
            "no loopback address with a free port {ADMIN_PORT}: are there enough file descriptors (ulimit -n)?"
        )
    }
}

fn address(number: u32) -> IpAddr {
    // 127.0.x.x is for everybody, and the last address of 127/8 for nobody.
    let [_, high, middle, low] = (0x0001_0000 + number % 0x00fe_0000).to_be_bytes();
    Ipv4Addr::new(127, high, middle, low).into()
}

async fn serve(listener: TcpListener, answer: Arc<Mutex<String>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let answer = Arc::clone(&answer);
        connections.spawn(async move { drop(converse(socket, &answer).await) });
    }
}

/// Answers every request on a connection in the same way.
async fn converse(mut socket: TcpStream, answer: &Mutex<String>) -> Result<()> {
    let mut head = Vec::new();
    loop {
        let read = socket.read_buf(&mut head).await?;
        if read == 0 || head.len() > LONGEST_HEAD {
            return Ok(());
        }
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        head.drain(..end + 4);
        let body = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let length = body.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(text.as_bytes()).await.context("the operator is gone")?;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn every_pod_has_an_address_of_its_own_that_is_not_everybodys() {
        for number in [0, 1, 0x00fd_ffff, 0x00fe_0000, u32::MAX] {
            let IpAddr::V4(address) = address(number) else { unreachable!("IPv4") };
            assert!(address.is_loopback() && address.octets()[1] >= 1, "{address}");
        }
        assert_ne!(address(0x0001_0000), address(0x0001_0001));
    }

    #[tokio::test]
    async fn an_answer_is_read_twice_on_one_connection() -> Result<()> {
        let (listener, address) = Addresses::new(std::process::id()).bind().await?;
        let _server = tokio::spawn(serve(listener, Arc::new(Mutex::new("{}".to_owned()))));
        let mut socket = TcpStream::connect((address, ADMIN_PORT)).await?;
        for _ in 0..2 {
            socket.write_all(b"GET /status HTTP/1.1\r\nHost: pod\r\n\r\n").await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"{}") {
                ensure!(socket.read_buf(&mut answer).await? > 0, "it ended");
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
        }
        Ok(())
    }
}
