//! What a run does: profiles, the ramp, channels, and the schedule of an own publisher (pure).

mod profile;
mod schedule;
mod seats;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tls::Trust;

pub use profile::{Changes, Profile, Shape};
pub use schedule::{Publishing, Ramp};
pub use seats::Seats;

use crate::simulate::market::Market;

/// Names that a run tells apart at most: each is a subject of the publisher and an entry of each client.
pub const MOST_CHANNELS: u32 = 100_000;

/// What clients speak.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Wire {
    /// `wsgateway.v1`
    #[default]
    V1,
    /// `wsgateway.v1` as an event stream.
    Events,
    /// `wsgateway.v1` by long-polls.
    Polls,
    /// `odin.v1`
    Odin,
    /// `symbols.v1`
    Symbols,
    /// Any other WebSocket server.
    Raw(Raw),
}

/// How a server of another kind is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Raw {
    /// Sent once for each channel of a client, with `{channel}` and `{client}` filled in; none: nothing is sent.
    pub subscribe: Option<String>,
    /// `Sec-WebSocket-Protocol`
    pub protocol: Option<String>,
    /// Where a message has its sequence number, such as `data.seq`.
    pub sequence: Option<String>,
    /// Where it has the channel that the sequence belongs to.
    pub channel: Option<String>,
    /// Where it has its time.
    pub time: Option<String>,
    /// Nanoseconds in one unit of that time.
    pub unit_ns: u64,
}

/// The channels of a run, and which of them a client has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Channels {
    /// Their names.
    pub names: Vec<String>,
    /// How many of them each client subscribes to.
    pub per_client: u32,
}

/// Why channels cannot be subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelsError {
    /// No name, or an empty one.
    #[error("a channel has no name")]
    Empty,
    /// More than [`MOST_CHANNELS`].
    #[error("there are more than {MOST_CHANNELS} channels")]
    TooMany,
}

impl Channels {
    /// Fills the numbers from 0 to `count - 1` in where a pattern has `{}`.
    ///
    /// # Errors
    /// When there are none or too many.
    pub fn new(patterns: &[String], count: u32, per_client: u32) -> Result<Self, ChannelsError> {
        let mut names = Vec::new();
        for pattern in patterns {
            if pattern.is_empty() {
                return Err(ChannelsError::Empty);
            }
            let numbers = if pattern.contains("{}") { count } else { 1 };
            if names.len() as u64 + u64::from(numbers) > u64::from(MOST_CHANNELS) {
                return Err(ChannelsError::TooMany);
            }
            names.extend((0..numbers).map(|number| pattern.replace("{}", &number.to_string())));
        }
        let per_client = per_client.clamp(1, (names.len() as u32).max(1));
        if names.is_empty() { Err(ChannelsError::Empty) } else { Ok(Self { names, per_client }) }
    }

    /// Numbers of the channels that a client has: the next ones in turn, so that clients are spread over all.
    pub fn of(&self, client: u32) -> impl Iterator<Item = u32> + '_ {
        let all = (self.names.len() as u64).max(1);
        let first = u64::from(client) * u64::from(self.per_client);
        (0..u64::from(self.per_client)).map(move |at| ((first + at) % all) as u32)
    }

    /// Their names.
    #[must_use]
    pub fn names_of(&self, client: u32) -> Vec<String> {
        self.of(client).filter_map(|number| self.names.get(number as usize).cloned()).collect()
    }
}

/// What is spoken on a wire, whatever carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language<'a> {
    /// `wsgateway.v1`.
    V1,
    /// `odin.v1`.
    Odin,
    /// `symbols.v1`.
    Symbols,
    /// That of another server.
    Raw(&'a Raw),
}

impl Wire {
    /// Its language.
    #[must_use]
    pub fn language(&self) -> Language<'_> {
        match self {
            Self::V1 | Self::Events | Self::Polls => Language::V1,
            Self::Odin => Language::Odin,
            Self::Symbols => Language::Symbols,
            Self::Raw(raw) => Language::Raw(raw),
        }
    }

    /// Whether pushes are those of `wsgateway.v1`, with offsets.
    #[must_use]
    pub fn is_v1(&self) -> bool {
        self.language() == Language::V1
    }

    /// Whether messages are answers of HTTP, without a WebSocket.
    #[must_use]
    pub fn is_http(&self) -> bool {
        matches!(self, Self::Events | Self::Polls)
    }
}

/// Where a worker connects to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The address.
    pub address: SocketAddr,
    /// The value of `Host`.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// TLS, and whom to trust: the certificate must be for this name.
    #[serde(default)]
    pub tls: Option<(String, Trust)>,
}

/// What one worker does: every `stride`-th client of a run, from `first` on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPlan {
    /// Its number.
    pub worker: u32,
    /// The target's number.
    pub target: u32,
    /// The target.
    pub endpoint: Endpoint,
    /// The number of its first client.
    pub first: u32,
    /// How far the numbers of its clients are apart.
    pub stride: u32,
    /// Its clients.
    pub clients: u32,
    /// Clients of all workers.
    pub all_clients: u32,
    /// When they connect.
    pub ramp: Ramp,
    /// What they speak.
    pub wire: Wire,
    /// What they subscribe to.
    pub channels: Channels,
    /// The own publisher, if there is one.
    pub publishing: Option<Publishing>,
    /// Tokens, used in turn.
    pub tokens: Vec<String>,
    /// Addresses to connect from.
    pub sources: Vec<IpAddr>,
    /// Whether clients come back, and from where they were.
    pub comes_back: bool,
    /// They continue where they were.
    pub resumes: bool,
    /// How long an attempt to connect and subscribe may take.
    pub patience: Duration,
    /// How long the last messages may take after the end.
    pub drain: Duration,
    /// The market whose traders its clients are, instead of clients that come once and stay.
    #[serde(default)]
    pub market: Option<Market>,
    /// Which traders they are now; the worker's own.
    #[serde(skip)]
    pub seats: Seats,
}

impl WorkerPlan {
    /// The number within the run of a client of this worker: of the trader who is there, in a simulation.
    #[must_use]
    pub fn client(&self, index: usize) -> u32 {
        let index = self.seats.of(index).unwrap_or(u32::try_from(index).unwrap_or(u32::MAX));
        self.first.saturating_add(index.saturating_mul(self.stride))
    }
}

/// The clients of one worker: the first number, the stride, and how many.
#[must_use]
pub fn share(all: u32, workers: u32, worker: u32) -> (u32, u32, u32) {
    let workers = workers.max(1);
    (worker, workers, (all + workers - 1).saturating_sub(worker) / workers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_numbered_and_clients_are_spread_over_them() {
        let channels = Channels::new(&["load.{}".into(), "all".into()], 3, 2).unwrap();
        assert_eq!(channels.names, ["load.0", "load.1", "load.2", "all"]);
        assert_eq!(channels.names_of(0), ["load.0", "load.1"]);
        assert_eq!(channels.names_of(1), ["load.2", "all"]);
        assert_eq!(channels.names_of(u32::MAX), channels.names_of(1));
    }

    #[test]
    fn nobody_subscribes_to_nothing_or_to_everything_twice() {
        assert_eq!(Channels::new(&[], 1, 1), Err(ChannelsError::Empty));
        assert_eq!(Channels::new(&[String::new()], 1, 1), Err(ChannelsError::Empty));
        assert_eq!(Channels::new(&["{}".into()], 0, 1), Err(ChannelsError::Empty));
        assert_eq!(Channels::new(&["{}".into()], u32::MAX, 1), Err(ChannelsError::TooMany));
        assert_eq!(Channels::new(&["a".into()], 1, 9).unwrap().per_client, 1);
    }

    #[test]
    fn workers_share_all_clients_and_none_twice() {
        for (all, workers) in [(10, 3), (2, 4), (1, 1), (50_000, 7), (0, 2)] {
            let mut clients: Vec<u32> = (0..workers)
                .flat_map(|worker| {
                    let (first, stride, count) = share(all, workers, worker);
                    (0..count).map(move |at| first + at * stride)
                })
                .collect();
            clients.sort_unstable();
            assert_eq!(clients, (0..all).collect::<Vec<_>>(), "{all} {workers}");
        }
    }
}
