//! A rollout under two thousand clients: gateways that run, a kubelet and a Service that a test plays, real connections.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use gateway::app::Running;
use harness::merge;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wsgateway_client::envelope::Envelope;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Acknowledgement, Counters, Gap, Observer, Reconnect, Swarm, SwarmOptions};
use wsgateway_config::Shed;

use crate::files::Files;
use crate::reload::start_pod;
use crate::world::{ODIN, SOON, World, pod_address};

pub(crate) const CLIENTS: usize = 2_000;
const CHANNELS: usize = 50;
const PER_MINUTE: u32 = 4_000;
const REPLICAS: usize = 4;
/// Everything, on a machine that does much else.
const LONG: Duration = Duration::from_secs(400);

/// Tests that run at the same time have one address for each of their pods.
static NEXT_POD: AtomicU8 = AtomicU8::new(100);

type Endpoints = Arc<Mutex<Vec<SocketAddr>>>;

/// The end of a connection that had been let in: whose, and when.
pub(crate) type End = (usize, Instant);
type Ends = Arc<Mutex<Vec<End>>>;

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts pods, keeps their state, and ends them, as a kubelet does.
pub(crate) struct Kubelet<'a> {
    pub(crate) world: &'a World,
    files: Files,
    pub(crate) running: BTreeMap<String, (Running, SocketAddr)>,
    /// Pods that hand their clients over.
    pub(crate) ending: BTreeMap<String, SocketAddr>,
    ends: JoinSet<String>,
    endpoints: Endpoints,
    /// Most pods that handed clients over at the same time.
    most_ending: usize,
}

impl Kubelet<'_> {
    /// One look at all pods. Returns their templates.
    pub(crate) async fn sync(&mut self) -> Result<BTreeSet<String>> {
        let pods = self.world.api::<Pod>().list(&ListParams::default()).await?.items;
        // Before a pod hears that it is to close: on a busy machine what follows takes longer than the pod waits.
        self.route(&pods).await?;
        for pod in &pods {
            let name = pod.name_any();
            let is_known = self.running.contains_key(&name) || self.ending.contains_key(&name);
            if pod.metadata.deletion_timestamp.is_some() {
                self.end(&name).await?;
            } else if !is_known {
                self.start(&name).await?;
            } else if let Some((gateway, _)) = self.running.get(&name) {
                let told = pod.annotations().get("wsgateway.dev/shed");
                gateway.shed(Shed::parse(told.map_or("", String::as_str))?);
            }
        }
        while let Some(name) = self.ends.try_join_next() {
            let name = name?;
            self.ending.remove(&name);
            let at_once = DeleteParams::default().grace_period(0);
            self.world.api::<Pod>().delete(&name, &at_once).await?;
        }
        self.most_ending = self.most_ending.max(self.ending.len());
        self.route(&pods).await?;
        Ok(pods
            .iter()
            .filter_map(|pod| pod.labels().get("wsgateway.dev/template").cloned())
            .collect())
    }

    async fn start(&mut self, name: &str) -> Result<()> {
        let address = pod_address(NEXT_POD.fetch_add(1, Ordering::Relaxed));
        let gateway = start_pod(self.world, &self.files, name, address).await?;
        let clients = gateway.client_addr;
        self.running.insert(name.to_owned(), (gateway, clients));
        Ok(())
    }

    async fn end(&mut self, name: &str) -> Result<()> {
        let Some((gateway, address)) = self.running.remove(name) else { return Ok(()) };
        // Kubernetes takes it out of the Service before its pause is over and it hears that it ends.
        locked(&self.endpoints).retain(|endpoint| *endpoint != address);
        self.ending.insert(name.to_owned(), address);
        let unready =
            json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } });
        let patch = Patch::Merge(&unready);
        self.world.api::<Pod>().patch_status(name, &Default::default(), &patch).await?;
        let name = name.to_owned();
        self.ends.spawn_blocking(move || {
            gateway.shutdown();
            name
        });
        Ok(())
    }

    /// Looks at all pods until something holds.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut holds: impl AsyncFnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.sync().await?;
            if holds(self).await? {
                return Ok(());
            }
            ensure!(begun.elapsed() < LONG, "{what}: {:#?}", self.world.status(ODIN).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Connections of each pod that runs and is not about to end.
    pub(crate) fn connections(&self) -> BTreeMap<String, u64> {
        let count = |(name, (gateway, _)): (&String, &(Running, SocketAddr))| {
            (name.clone(), gateway.traffic().connections)
        };
        self.running.iter().map(count).collect()
    }

    /// Stops all of them.
    pub(crate) async fn stop(self) -> Result<()> {
        for (_, (gateway, _)) in self.running {
            tokio::task::spawn_blocking(move || gateway.abort()).await?;
        }
        Ok(())
    }

    /// Leads clients to where the Service does.
    async fn route(&self, pods: &[Pod]) -> Result<()> {
        let service = self.world.api::<Service>().get(ODIN).await?;
        let selector = service.spec.and_then(|spec| spec.selector).context("a selector")?;
        let is_selected =
            |pod: &&Pod| selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value));
        let found = pods.iter().filter(is_selected);
        let found = found.filter_map(|pod| Some(self.running.get(&pod.name_any())?.1));
        *locked(&self.endpoints) = found.collect();
        Ok(())
    }
}

/// Copies between each client and any endpoint.
async fn balance(listener: TcpListener, endpoints: Endpoints) {
    let mut copies = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        while copies.try_join_next().is_some() {}
        let endpoint = fastrand::choice(locked(&endpoints).iter().copied());
        copies.spawn(async move {
            let mut pod = TcpStream::connect(endpoint?).await.ok()?;
            tokio::io::copy_bidirectional(&mut client, &mut pod).await.ok()
        });
    }
}

struct Watcher(Ends);

impl Observer for Watcher {
    fn message(&mut self, _: usize, _: &Envelope<'_>) {}
    fn acknowledged(&mut self, _: usize, _: &Acknowledgement) {}
    fn gap(&mut self, _: usize, _: &Gap<'_>) {}
    fn ended(&mut self, client: usize, close_code: Option<u16>) {
        if close_code.is_some() {
            locked(&self.0).push((client, Instant::now()));
        }
    }
}

fn channel(number: usize) -> String {
    format!("T{}.trade", number % CHANNELS)
}

/// Who hears live messages meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// Whether each of them is to hear every message.
    pub(crate) hears_all: bool,
}

/// Runs the clients until they are told how many messages there were, and all of them have come.
fn clients(
    load: Load,
    address: SocketAddr,
    ends: Ends,
    subscribed: oneshot::Sender<()>,
    mut published: oneshot::Receiver<u64>,
) -> Result<Counters> {
    let options = SwarmOptions {
        connections: load.clients,
        protocol: Some("wsgateway.v1".to_owned()),
        commands: Box::new(|number| vec![subscribe(&[&channel(number)])]),
        reconnect: Some(Reconnect::resuming(Box::new(|number| vec![channel(number)]))),
        observer: Some(Box::new(Watcher(ends))),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(address, options)?;
    swarm.run_until(|counters| counters.acks >= load.clients as u64, SOON)?;
    ensure!(subscribed.send(()).is_ok(), "the test has ended");
    let messages = loop {
        swarm.run_for(Duration::from_millis(100))?;
        match published.try_recv() {
            Ok(count) => break count,
            Err(oneshot::error::TryRecvError::Empty) => {}
            Err(oneshot::error::TryRecvError::Closed) => bail!("the test has ended"),
        }
    };
    if !load.hears_all {
        return Ok(swarm.counters().clone());
    }
    // Every channel has as many clients as any other.
    let expected = messages * (load.clients / CHANNELS) as u64;
    swarm.run_until(|counters| counters.messages >= expected, SOON)?;
    let counters = swarm.counters();
    ensure!(counters.messages == expected && counters.is_faultless(), "{counters}");
    Ok(swarm.counters().clone())
}

/// Publishes until it is stopped, and returns how many messages.
async fn publish(world: &World, stop: Arc<Mutex<bool>>) -> Result<u64> {
    let jetstream = world.jetstream().await?;
    let mut count = 0;
    while !*locked(&stop) {
        let subject = format!("odin.token.{}", channel(usize::try_from(count)?));
        jetstream.publish(subject, format!("{{\"n\":{count}}}").into()).await?.await?;
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(count)
}

/// A WsGateway whose pods run, on a node of their own, with endpoints that its Service leads to.
pub(crate) async fn running<'a>(
    world: &'a World,
    replicas: usize,
    change: &Value,
) -> Result<(Kubelet<'a>, Api<Node>, String)> {
    let node = format!("node-{}", world.namespace);
    let object: Node = serde_json::from_value(json!({ "metadata": { "name": node } }))?;
    let nodes = Api::<Node>::all(world.client.clone());
    nodes.create(&PostParams::default(), &object).await?;
    // A pod that is on a node is not gone at once when it is deleted.
    let mut spec = json!({
        "replicas": replicas, "rollout": { "connectionsPerMinute": PER_MINUTE },
        // All pods run in this process: what its container is short of is not theirs.
        "capacity": {
            "connectionsPerPod": CLIENTS,
            "rejectAboveCpuPercent": 0, "pauseAboveCpuPercent": 0, "rejectAboveMemoryPercent": 0,
        },
        "pod": { "overrides": { "spec": { "nodeName": node } } },
    });
    merge(&mut spec, change);
    world.create(&json!({ "spec": spec })).await?;
    world.stream_ready().await?;
    let files = world.files(|_| true).await?;
    world.pods(replicas).await?;
    let kubelet = Kubelet {
        world,
        files,
        running: BTreeMap::new(),
        ending: BTreeMap::new(),
        ends: JoinSet::new(),
        endpoints: Endpoints::default(),
        most_ending: 0,
    };
    Ok((kubelet, nodes, node))
}

/// Changes what needs new pods.
pub(crate) async fn change(kubelet: &mut Kubelet<'_>) -> Result<()> {
    let world = kubelet.world;
    world.edit(&json!({ "spec": { "listener": { "path": "/ws", "port": 8090 } } })).await?;
    let old = kubelet.files.restart.clone();
    kubelet.files = world.files(|files| files.restart != old).await?;
    Ok(())
}

/// Changes what needs new pods, and goes on until there are no others.
async fn roll(kubelet: &mut Kubelet<'_>, before: &BTreeSet<String>) -> Result<()> {
    let world = kubelet.world;
    change(kubelet).await?;
    let begun = Instant::now();
    loop {
        let templates = kubelet.sync().await?;
        if templates.is_disjoint(before) && kubelet.ending.is_empty() {
            break;
        }
        ensure!(begun.elapsed() < LONG, "{:#?}", world.status(ODIN).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.condition(ODIN, "Progressing", "False", "Settled").await.map(drop)
}

/// Each client was told to move once, and all of them in the time that the pace asks for.
fn moved_at_the_pace(ends: &[End], messages: u64) -> Result<()> {
    let moved: BTreeSet<usize> = ends.iter().map(|(client, _)| *client).collect();
    assert_eq!((ends.len(), moved.len()), (CLIENTS, CLIENTS), "each once");
    let times = || ends.iter().map(|(_, at)| *at);
    let took = times().max().zip(times().min()).map(|(last, first)| last - first);
    let took = took.context("nobody was moved")?;
    // The first of a pod's clients goes at once, hence a little less than all of them would take.
    let least = Duration::from_secs(60) * CLIENTS as u32 / PER_MINUTE;
    println!("{CLIENTS} clients moved in {took:?} ({least:?} asked for), {messages} messages");
    assert!(took > least.mul_f64(0.9), "{took:?}");
    Ok(())
}

/// Lets something happen to the pods while two thousand clients hear live messages, and returns which of their connections
/// ended, and how many messages there were. Every client has heard every message of its channel once, all that had been let in
/// were told to move, and hardly an attempt was turned away, or this fails.
pub(crate) async fn under_load<'a>(
    kubelet: Kubelet<'a>,
    event: impl AsyncFnOnce(&mut Kubelet<'a>) -> Result<()>,
) -> Result<(Kubelet<'a>, Vec<End>, u64)> {
    under(Load { clients: CLIENTS, hears_all: true }, kubelet, event).await
}

/// The same with other clients.
pub(crate) async fn under<'a>(
    load: Load,
    mut kubelet: Kubelet<'a>,
    event: impl AsyncFnOnce(&mut Kubelet<'a>) -> Result<()>,
) -> Result<(Kubelet<'a>, Vec<End>, u64)> {
    let world = kubelet.world;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let _balancer = JoinSet::from_iter([balance(listener, Arc::clone(&kubelet.endpoints))]);
    let (ends, stop) = (Ends::default(), Arc::new(Mutex::new(false)));
    let (subscribed, ready) = oneshot::channel();
    let (tell, published) = oneshot::channel();
    let heard = Arc::clone(&ends);
    let swarm =
        tokio::task::spawn_blocking(move || clients(load, address, heard, subscribed, published));
    ready.await.context("the clients did not connect")?;
    let happens = async {
        let happened = event(&mut kubelet).await;
        *locked(&stop) = true;
        happened
    };
    let (happened, count) = tokio::join!(happens, publish(world, Arc::clone(&stop)));
    happened?;
    let count = count?;
    ensure!(tell.send(count).is_ok(), "the clients have ended");
    let counters = swarm.await??;
    let told = counters.closes.keys().all(|code| *code == 1012);
    ensure!(told, "somebody was cut off: {:?}", counters.closes);
    // Whoever is on the way to a pod that closes in this instant is turned away, and tries again.
    let turned_away = counters.failed + counters.refused.values().sum::<u64>();
    if turned_away > 0 {
        println!("turned away: {turned_away}: {:?}, {:?}", counters.refused, counters.failures);
    }
    ensure!(turned_away <= (load.clients / 20) as u64, "{turned_away} met a closed door");
    let ends = locked(&ends).clone();
    Ok((kubelet, ends, count))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn two_thousand_clients_are_moved_once_each_at_the_pace_and_miss_no_message() -> Result<()> {
    let world = World::new("crowd").await?;
    let (mut kubelet, nodes, node) = running(&world, REPLICAS, &json!({})).await?;
    let before = kubelet.sync().await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let (kubelet, ends, count) =
        under_load(kubelet, async |kubelet| roll(kubelet, &before).await).await?;
    moved_at_the_pace(&ends, count)?;
    kubelet.stop().await?;
    nodes.delete(&node, &DeleteParams::default()).await?;
    Ok(())
}
