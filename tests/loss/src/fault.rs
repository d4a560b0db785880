//! What is done to the gateways, the network, NATS and the clients.

mod inflict;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::sleep;

use crate::ledger::Excuse;
use crate::servers::Kind;
use crate::world::World;
use inflict::poisoned;

/// One kind of trouble. Each is begun, lasts, and is mended before clients are asked to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing happens: what the others are held against
    None,
    /// A gateway is killed (kill -9) and started again
    GatewayKilled,
    /// A gateway is stopped (SIGTERM): it drains, ends and is started again
    GatewayStopped,
    /// All gateways are stopped and started, one after the other
    RollingRestart,
    /// A gateway is frozen for a while (SIGSTOP)
    GatewayFrozen,
    /// A third of all connections is reset, three times
    Resets,
    /// The network stands still, then all connections are gone and none is possible for a while
    NetworkCut,
    /// All connections are reset at once: everybody reconnects
    Storm,
    /// Some clients stop reading for a while, among them those that listen to everything
    Sleepers,
    /// NATS is restarted; of a cluster each server in turn
    NatsRestarted,
    /// The server that leads the stream is killed (kill -9) and started again later
    LeaderKilled,
    /// A server of NATS is told to be a lame duck: it sends its clients away, ends and is started again
    LameDuck,
    /// NATS is gone for half a minute
    NatsGone,
    /// All gateways are killed, and the stream is purged while they are down: what is gone must be told
    HistoryLost,
    /// The stream is deleted and made anew: everybody must be told
    StreamReplaced,
    /// The stream's configuration is updated again and again while messages come
    StreamEdited,
    /// NATS is restarted, the stream's configuration is updated, and NATS is restarted once more
    NatsEdited,
    /// All consumers of the stream are deleted by hand, again and again
    ConsumersDeleted,
    /// JetStream's leader and the stream's leader step down in turn (a cluster alone has others)
    LeadersMoved,
    /// A thousand messages a second with broken headers and subjects that are no text, while connections are reset and a
    /// gateway is killed and started again. The last one: what it publishes stays in the stream
    Poison,
}

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Undisturbed publishing before and after.
    pub steady: Duration,
    /// A killed process until its next start, a cut network.
    pub down: Duration,
    /// A frozen process, a client that does not read.
    pub asleep: Duration,
    /// NATS.
    pub gone: Duration,
    /// After this long something that has not come is taken for lost.
    pub give_up: Duration,
}

impl Times {
    /// For a run that counts.
    pub const FULL: Self = Self {
        steady: Duration::from_secs(2),
        down: Duration::from_secs(2),
        asleep: Duration::from_secs(12),
        gone: Duration::from_secs(30),
        give_up: Duration::from_secs(60),
    };

    /// For a short look.
    pub const QUICK: Self = Self {
        steady: Duration::from_millis(700),
        down: Duration::from_millis(700),
        asleep: Duration::from_secs(3),
        gone: Duration::from_secs(5),
        give_up: Duration::from_secs(60),
    };

    /// For clients that forget their cursor: what they have missed does not come, however long one waits.
    pub fn without_hope(self) -> Self {
        Self { give_up: Duration::from_secs(8), ..self }
    }
}

impl Fault {
    /// All of them, in the order of a run.
    pub fn all() -> &'static [Self] {
        clap::ValueEnum::value_variants()
    }

    /// Whether it makes sense with this NATS.
    pub fn suits(self, kind: Kind) -> bool {
        self != Self::LeadersMoved || kind == Kind::Cluster
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is, for a table.
    pub fn title(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::None, _) => "nothing",
            (Self::GatewayKilled, _) => "a gateway killed (kill -9)",
            (Self::GatewayStopped, _) => "a gateway stopped (SIGTERM, drain)",
            (Self::RollingRestart, _) => "rolling restart of all gateways",
            (Self::GatewayFrozen, _) => "a gateway frozen",
            (Self::Resets, _) => "a third of the connections reset, three times",
            (Self::NetworkCut, _) => "network stalled, then cut",
            (Self::Storm, _) => "all connections reset at once",
            (Self::Sleepers, _) => "clients that do not read for a while",
            (Self::NatsRestarted, Kind::Single) => "NATS restarted",
            (Self::NatsRestarted, Kind::Cluster) => "NATS servers restarted in turn",
            (Self::LeaderKilled, Kind::Single) => "NATS killed (kill -9)",
            (Self::LeaderKilled, Kind::Cluster) => "the stream's leader killed (kill -9)",
            (Self::LameDuck, _) => "a NATS server as lame duck",
            (Self::NatsGone, _) => "NATS gone",
            (Self::HistoryLost, _) => "all gateways killed, the stream purged",
            (Self::StreamReplaced, _) => "stream deleted and made anew",
            (Self::StreamEdited, _) => "stream edited under load",
            (Self::NatsEdited, _) => "NATS restarted, stream edited, restarted",
            (Self::ConsumersDeleted, _) => "consumers deleted by hand",
            (Self::LeadersMoved, _) => "leaders of JetStream and stream moved",
            (Self::Poison, _) => "poison published, 1,000 a second",
        }
    }

    /// For which reason gaps may be told; with an epoch every client must be.
    pub fn excuse(self) -> Excuse {
        match self {
            Self::HistoryLost => Excuse::Retention,
            Self::StreamReplaced => Excuse::Epoch,
            _ => Excuse::Nothing,
        }
    }

    /// Makes the trouble and mends it.
    ///
    /// # Errors
    /// When something of ours does not do what it is told: then nothing is said about losses.
    pub async fn inflict(self, world: &mut World) -> Result<()> {
        match self {
            Self::None => sleep(world.times.steady).await,
            Self::GatewayKilled
            | Self::GatewayStopped
            | Self::RollingRestart
            | Self::GatewayFrozen
            | Self::HistoryLost => self.inflict_on_gateways(world).await?,
            Self::Resets | Self::NetworkCut | Self::Storm | Self::Sleepers => {
                self.inflict_on_clients(world).await;
            }
            Self::NatsRestarted
            | Self::LeaderKilled
            | Self::LameDuck
            | Self::NatsGone
            | Self::StreamReplaced => self.inflict_on_nats(world).await?,
            Self::StreamEdited | Self::NatsEdited | Self::ConsumersDeleted | Self::LeadersMoved => {
                self.administer(world).await?;
            }
            Self::Poison => poisoned(world).await?,
        }
        Ok(())
    }
}
