//! WsGateways, sound and broken.

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::Nats;
use kube::Api;
use kube::api::PostParams;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wsgateway_crds::WsGateway;

use crate::environment::{AT_ONCE, Environment, SECRET};
use crate::plan::{BROKEN_EVERY, Plan};

/// How a WsGateway is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It names a Secret that does not exist.
    SecretMissing,
    /// Its NATS takes connections and says nothing.
    NatsSilent,
    /// Its NATS is there, and JetStream answers no request.
    JetStreamMute,
    /// Its subjects overlap, which only the operator sees.
    SpecRefused,
    /// Its stream is somebody else's.
    StreamForeign,
}

/// All of them.
pub const FAULTS: [Fault; 5] = [
    Fault::SecretMissing,
    Fault::NatsSilent,
    Fault::JetStreamMute,
    Fault::SpecRefused,
    Fault::StreamForeign,
];

/// Where a JetStream API would be, and is none.
const MUTE: &str = "mute.API";

impl Fault {
    /// How the WsGateway of this number is broken, if it is.
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        Plan::is_broken(number).then(|| FAULTS[number / BROKEN_EVERY % FAULTS.len()])
    }

    /// In the words of the table.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::SecretMissing => "a Secret that does not exist",
            Self::NatsSilent => "a NATS that takes connections and says nothing",
            Self::JetStreamMute => "a NATS whose JetStream answers nothing",
            Self::SpecRefused => "a specification that the operator refuses",
            Self::StreamForeign => "a stream that belongs to somebody else",
        }
    }
}

/// Servers of broken WsGateways; dropping it ends them.
#[derive(Debug)]
pub struct Traps {
    silent: u16,
    _tasks: JoinSet<()>,
}

impl Traps {
    /// Starts them, one beside this NATS and one on it.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(nats: &Nats) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let silent = listener.local_addr()?.port();
        tasks.spawn(swallow(listener));
        // Requests have a receiver and no answer.
        let client = nats.client().await?;
        let mut requests = client.subscribe(format!("{MUTE}.>")).await?;
        client.flush().await?;
        tasks.spawn(async move {
            while requests.next().await.is_some() {}
            drop(client);
        });
        Ok(Self { silent, _tasks: tasks })
    }
}

async fn swallow(listener: TcpListener) {
    let mut held: Vec<TcpStream> = Vec::new();
    while let Ok((socket, _)) = listener.accept().await {
        held.push(socket);
        // Those whose patience has ended.
        held.retain(|socket| !matches!(socket.try_read(&mut [0; 1]), Ok(0)));
    }
}

/// The name of the WsGateway with this number.
#[must_use]
pub fn name(number: usize) -> String {
    format!("g{number:05}")
}

/// The name of its stream.
fn stream_name(number: usize) -> String {
    name(number).to_uppercase()
}

/// A sound WsGateway. Every other one names a Secret, which the operator reads.
#[must_use]
pub fn sound(number: usize, pods: usize, nats: &Nats) -> Value {
    let name = name(number);
    let mut source = json!({ "servers": [nats.url()] });
    if number % 2 == 1 {
        source["credentials"] = json!({ "token": { "name": SECRET } });
    }
    json!({
        "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": { "name": name },
        "spec": {
            "replicas": pods, "nats": source,
            "stream": {
                "name": stream_name(number), "subjects": [format!("{name}.>")], "storage": "Memory",
                "maxMessages": 1_000, "maxBytes": "1Mi",
            },
        },
    })
}

/// The same, broken.
fn broken(fault: Fault, number: usize, mut gateway: Value, traps: &Traps) -> Value {
    let spec = &mut gateway["spec"];
    match fault {
        Fault::SecretMissing => spec["nats"]["credentials"] = json!({ "name": "nobody-made-it" }),
        Fault::NatsSilent => {
            // A connection for each: they share none.
            let own = format!("_INBOX_{}", name(number));
            let server = format!("nats://127.0.0.1:{}", traps.silent);
            spec["nats"] = json!({ "servers": [server], "inboxPrefix": own });
        }
        Fault::JetStreamMute => spec["nats"]["apiPrefix"] = json!(MUTE),
        Fault::SpecRefused => {
            let name = name(number);
            spec["stream"]["subjects"] = json!([format!("{name}.*.a"), format!("{name}.b.*")]);
        }
        Fault::StreamForeign => {}
    }
    gateway
}

/// Creates WsGateways with the numbers 0 to `count`; with `traps` those that are to be broken are.
///
/// # Errors
/// When the API server or NATS refuses one.
pub async fn create(
    environment: &Environment,
    plan: &Plan,
    traps: Option<&Traps>,
    progress: &(impl Fn(usize) + Sync),
) -> Result<()> {
    let jetstream = jetstream::new(environment.nats.client().await?);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let one = async |number: usize| {
        let mut manifest = sound(number, plan.pods, &environment.nats);
        if let (Some(fault), Some(traps)) = (Fault::of(number), traps) {
            manifest = broken(fault, number, manifest, traps);
            if fault == Fault::StreamForeign {
                let theirs = jetstream::stream::Config {
                    name: stream_name(number),
                    subjects: vec![format!("{}.>", name(number))],
                    storage: jetstream::stream::StorageType::Memory,
                    ..Default::default()
                };
                jetstream.create_stream(theirs).await.context("a stream of somebody else")?;
            }
        }
        let gateway: WsGateway = serde_json::from_value(manifest)?;
        let api = Api::namespaced(environment.client.clone(), environment.namespace_of(number));
        api.create(&PostParams::default(), &gateway).await?;
        progress(1 + done.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Ok::<_, anyhow::Error>(())
    };
    stream::iter(0..plan.gateways).map(one).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_broken_in_each_way() {
        let faults: Vec<Fault> = (0..100).filter_map(Fault::of).collect();
        assert_eq!(faults.len(), 10);
        for fault in FAULTS {
            assert_eq!(faults.iter().filter(|one| **one == fault).count(), 2, "{fault:?}");
        }
    }
}
