//! Everything that runs during a run, started in the right order.

use std::path::PathBuf;

use anyhow::{Context, Result};
use async_nats::jetstream;
use harness::{Authority, Certified, Scratch, wait_until};
use wsgateway_client::swarm::Tls;
use wsgateway_load::tls::Trust;

use crate::balancer::{Balancer, Way};
use crate::clients::{Herd, sdk, sse};
use crate::fault::Times;
use crate::interest;
use crate::meter::Shared;
use crate::pods::{Pod, SOON};
use crate::poison::{self, Poison};
use crate::publisher::Publishers;
use crate::servers::{Kind, Servers};

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// NATS.
    pub kind: Kind,
    /// The program of the gateways.
    pub gateway: PathBuf,
    /// Gateway processes.
    pub pods: usize,
    /// Clients in all.
    pub clients: usize,
    /// How many of them come by server-sent events; the others by WebSocket.
    pub sse: usize,
    /// How many of them are clients of the TypeScript SDK.
    pub sdk: usize,
    /// What those run on.
    pub node: sdk::Program,
    /// Subjects that are published to.
    pub subjects: usize,
    /// Messages a second in all.
    pub rate: u32,
    /// What the poison is.
    pub poison: Vec<poison::Kind>,
    /// Clients continue from their cursor. Without, the meter must find losses.
    pub resume: bool,
    /// Clients speak TLS; only those of the swarm can.
    pub tls: bool,
    /// How the balancer spreads connections.
    pub way: Way,
    /// How long things last.
    pub times: Times,
}

/// A certificate for all gateways, and clients that trust whoever signed it.
fn certified() -> Result<(Certified, Tls)> {
    let authority = Authority::new("loss")?;
    let tls = Trust::Authorities(authority.pem()).tls("127.0.0.1")?;
    Ok((authority.server()?, tls))
}

/// All parts of a run. What is declared first ends first.
pub struct World {
    /// Publishers, resting at first.
    pub publishers: Publishers,
    /// The publisher of poison.
    pub poison: Poison,
    /// The clients that speak WebSocket.
    pub swarm: Herd,
    _sse: sse::Clients,
    _sdk: Option<sdk::Clients>,
    /// Between clients and gateways.
    pub balancer: Balancer,
    /// The gateways.
    pub pods: Vec<Pod>,
    /// For the stream's sake; a client of its own.
    pub jetstream: jetstream::Context,
    /// NATS.
    pub servers: Servers,
    /// Who knows everything.
    pub meter: Shared,
    /// How long things last.
    pub times: Times,
    /// Gateways that did not become ready again, of the fault under way.
    pub unready: u64,
    _scratch: Scratch,
}

impl World {
    /// Starts everything and waits until every client is subscribed. Nothing is published before, so that every client
    /// is owed every message of its channels.
    ///
    /// # Errors
    /// When something does not start, or clients are refused.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let scratch = Scratch::new("loss")?;
        let (servers, jetstream) = Servers::start(plan.kind).await?;
        let urls = servers.urls();
        let (certified, tls) = plan.tls.then(certified).transpose()?.unzip();
        let pod = |number| {
            let name = format!("pod-{number}");
            Pod::start(&plan.gateway, &scratch, &name, &urls, certified.as_ref())
        };
        let pods = (0..plan.pods).map(pod).collect::<Result<Vec<_>>>()?;
        for pod in &pods {
            pod.ready().await?;
        }
        let addresses: Vec<_> = pods.iter().map(Pod::client).collect();
        let balancer = Balancer::start(&addresses, plan.way).await?;
        let channels = interest::channels(plan.subjects);
        let patterns: Vec<_> =
            (0..plan.clients).map(|client| interest::patterns(client, &channels)).collect();
        let all = [channels.clone(), poison::channels(&plan.poison)].concat();
        let meter = Shared::new(all, &patterns);
        let poison =
            Poison::new(&plan.poison, urls.clone(), u16::try_from(channels.len())?, &meter);
        let (socket, others) = patterns.split_at(plan.clients.saturating_sub(plan.sse + plan.sdk));
        let (streams, sdk) = others.split_at(plan.sse.min(others.len()));
        let swarm = Herd::start(balancer.address(), 0, socket.to_vec(), plan.resume, tls, &meter);
        let sse =
            sse::Clients::start(balancer.address(), socket.len(), streams, plan.resume, &meter);
        let first = socket.len() + streams.len();
        let sdk = match sdk {
            [] => None,
            sdk => {
                let address = balancer.address();
                Some(sdk::Clients::start(&plan.node, address, first, sdk, &meter).await?)
            }
        };
        let publishers = Publishers::start(&jetstream, &channels, plan.rate, &meter);
        let times = plan.times;
        let world = Self {
            publishers,
            poison,
            swarm,
            _sse: sse,
            _sdk: sdk,
            balancer,
            pods,
            jetstream,
            servers,
            meter,
            times,
            unready: 0,
            _scratch: scratch,
        };
        world.subscribed().await?;
        Ok(world)
    }

    async fn subscribed(&self) -> Result<()> {
        let all = wait_until(SOON, "every client's subscription", async || {
            self.swarm.failure().is_some() || self.meter.lock().ungreeted() == 0
        });
        all.await.with_context(|| {
            let told = self.swarm.last_error().unwrap_or_else(|| "nothing".to_owned());
            format!("{} are missing; last heard: {told}", self.meter.lock().ungreeted())
        })?;
        self.check()
    }

    /// # Errors
    /// When the clients cannot go on, or a channel was refused: then counts mean nothing.
    pub fn check(&self) -> Result<()> {
        if let Some(failure) = self.swarm.failure() {
            anyhow::bail!("the clients failed: {failure}");
        }
        let refused = self.meter.lock().refused_channels();
        anyhow::ensure!(refused == 0, "{refused} channels were refused");
        Ok(())
    }

    /// The gateway that most clients would miss.
    pub fn busiest_pod(&mut self) -> &mut Pod {
        &mut self.pods[self.balancer.busiest()]
    }
}
