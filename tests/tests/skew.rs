//! Programs of one release next to those of another: while a cluster is upgraded or put back, and where `spec.pod.image`
//! names a gateway of its own. `hack/skew` builds the other programs and runs this: it is no part of `make test`.
//!
//! Real API server, controllers, nats-server and processes; what a kubelet does, the test does.

#[path = "operator/files.rs"]
#[allow(dead_code, reason = "shared with the operator's tests")]
mod files;
#[path = "operator/world.rs"]
#[allow(dead_code, reason = "shared with the operator's tests")]
mod world;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use files::Files;
use futures_util::{SinkExt as _, StreamExt as _};
use harness::{Guarded, MountedSecret, Scratch, built_beside, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use world::{ODIN, SOON, World, asked, pod_address};
use wsgateway_config::yaml;
use wsgateway_crds::{ADMIN_PORT, CONFIG_FOLDER};

const CLIENT_PORT: u16 = 8080;

/// A program of the other release.
fn other(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("WSGATEWAY_OTHER").context("hack/skew runs this")?;
    Ok(Path::new(&folder).join(name))
}

/// A gateway that runs from the operator's files, in the place of the only pod.
struct Pod {
    _gateway: Guarded,
    address: IpAddr,
    mounted: MountedSecret,
    restart: String,
}

impl Pod {
    async fn start(world: &World, program: &Path, number: u8) -> Result<Self> {
        let files = world.files(|_| true).await?;
        let address = pod_address(number);
        let mut restart: Value = yaml::from_str(&files.restart)?;
        for part in ["admin", "listener"] {
            restart[part]["address"] = json!(address);
        }
        let restart = restart.to_string();
        let mounted = MountedSecret::new(&contents(&restart, &files))?;
        let folder = mounted.path("");
        let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec).context("no pod")?;
        let arguments = pod.containers[0].args.clone().unwrap_or_default();
        let folder = folder.to_string_lossy().trim_end_matches('/').to_owned();
        let arguments: Vec<String> =
            arguments.iter().map(|argument| argument.replace(CONFIG_FOLDER, &folder)).collect();
        let log = Scratch::new("skew")?.join("gateway.log");
        let gateway = Guarded::start(program, &arguments, &log)?;
        let pod = Self { _gateway: gateway, address, mounted, restart };
        let ready = wait_until(SOON, "a gateway that is ready", async || {
            pod.ask("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        ready.await.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        world.run_pods(1, &address.to_string()).await?;
        Ok(pod)
    }

    /// What the kubelet does when a ConfigMap has changed.
    fn take(&mut self, files: &Files) -> Result<()> {
        self.mounted.replace(&contents(&self.restart, files))
    }

    async fn ask(&self, path: &str) -> Result<String> {
        asked((self.address, ADMIN_PORT).into(), path).await
    }
}

fn contents<'a>(restart: &'a str, files: &'a Files) -> [(&'a str, &'a str); 2] {
    [("gateway.yaml", restart), ("live.yaml", &files.live)]
}

/// A client of a channel.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn subscribe(pod: &Pod) -> Result<Self> {
        let url = format!("ws://{}:{CLIENT_PORT}/ws", pod.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(&url).await?;
        let command = r#"{"type":"subscribe","id":1,"channels":["BTC.price"]}"#;
        socket.send(Message::text(command)).await?;
        let mut client = Self(socket);
        client.next("subscription_ack").await?;
        Ok(client)
    }

    async fn next(&mut self, kind: &str) -> Result<Value> {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await?.context("closed")??;
            let value: Value = serde_json::from_str(message.to_text()?)?;
            if value["type"] == kind {
                return Ok(value);
            }
        }
    }

    async fn hears(&mut self, world: &World, price: u32) -> Result<()> {
        let payload = json!({ "price": price });
        let jetstream = world.jetstream().await?;
        jetstream.publish("odin.token.BTC.price", payload.to_string().into()).await?.await?;
        let message = self.next("message").await?;
        anyhow::ensure!(message["data"] == payload, "{message}");
        Ok(())
    }
}

/// An operator as a process of its own.
fn operator(world: &World, program: &Path) -> Result<Guarded> {
    let kubeconfig = format!("KUBECONFIG={}", world.plane.kubeconfig().display());
    let program = program.to_string_lossy();
    let options = [
        "--admin",
        "127.0.0.1:0",
        "--resync-seconds",
        "1",
        "--poll-seconds",
        "1",
        "--numbers-seconds",
        "1",
        "--leader-elect=false",
        "--namespace",
    ];
    let arguments: Vec<String> = [kubeconfig.as_str(), &program]
        .into_iter()
        .chain(options)
        .chain([world.namespace.as_str()])
        .map(str::to_owned)
        .collect();
    Guarded::start(Path::new("env"), &arguments, &Scratch::new("skew")?.join("operator.log"))
}

/// From a manifest to messages, and a limit that changes meanwhile: the client that is there stays.
async fn serves(world: &World, gateway: &Path, number: u8) -> Result<()> {
    let mut pod = Pod::start(world, gateway, number).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let mut client = Client::subscribe(&pod).await?;
    client.hears(world, 1).await?;

    let old = world.files(|_| true).await?;
    world
        .edit(&json!({ "spec": { "rateLimits": { "commandsPerConnection": { "perSecond": 7 } } } }))
        .await?;
    let new = world.files(|files| files.live != old.live).await?;
    anyhow::ensure!(new.restart == old.restart, "a limit is no reason for new pods");
    pod.take(&new)?;
    let hash = new.live_hash();
    wait_until(SOON, "the gateway to have the new limit", async || {
        pod.ask("/status").await.is_ok_and(|status| status.contains(&hash))
    })
    .await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    client.hears(world, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_the_other_release_serve_under_this_operator() -> Result<()> {
    let world = World::new("skew-gateway").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    serves(&world, &other("gateway")?, 41).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_of_this_release_serve_under_the_other_operator() -> Result<()> {
    let world = World::without_operator("skew-operator").await?;
    let _operator = operator(&world, &other("operator")?)?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    serves(&world, &built_beside("gateway")?, 42).await
}

#[tokio::test]
async fn what_one_operator_has_made_the_other_goes_on_with_in_both_directions() -> Result<()> {
    let world = World::without_operator("skew-upgrade").await?;
    world.create(&json!({})).await?;
    let (here, there) = (built_beside("operator")?, other("operator")?);
    for (round, program) in [&there, &here, &there, &here].into_iter().enumerate() {
        let mut running = operator(&world, program)?;
        let connections = 5_000 + round;
        let change = json!({ "spec": { "capacity": { "connectionsPerPod": connections } } });
        let generation = world.edit(&change).await?.metadata.generation;
        world.files(|files| files.live.contains(&format!("connections: {connections}"))).await?;
        wait_until(SOON, "a status of this specification", async || {
            world.status(ODIN).await.is_some_and(|status| status.observed_generation == generation)
        })
        .await?;
        world.stream_ready().await?;
        running.check_alive()?;
        running.terminate(SOON).await?;
        let log = running.log().to_owned();
        anyhow::ensure!(!std::fs::read_to_string(&log)?.contains("panicked"), "{}", log.display());
    }
    Ok(())
}
