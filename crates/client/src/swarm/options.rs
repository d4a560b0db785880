//! What a swarm should do.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::json;
use wsgateway_proto::handshake::{self, ClientOffer};

use crate::with_headers;

use super::{Dialect, Observer, Reconnect, Tls, events, polls};

/// Connections that share a source address. The kernel gives out 28,232 ports by itself, the odd or the even ones first: once
/// that half is taken, it looks at all of it before each further connection, and the whole machine stands still for seconds.
pub const PER_SOURCE: usize = 14_000;

/// The first messages of a connection, by its number.
pub type Commands = Box<dyn Fn(usize) -> Vec<String> + Send>;

/// When a connection is begun, counted from the first turn, by its number. It must not fall.
pub type Due = Box<dyn Fn(usize) -> Duration + Send>;

/// Further header lines of a connection's upgrade request: names and values, by its number.
pub type Headers = Box<dyn Fn(usize) -> Vec<(String, String)> + Send>;

/// How many connections, where to, and what to count.
pub struct SwarmOptions {
    /// How many.
    pub connections: usize,
    /// Path and query.
    pub path: String,
    /// The value of `Host`, when it is not the address.
    pub host: Option<String>,
    /// TLS on every connection.
    pub tls: Option<Tls>,
    /// `Sec-WebSocket-Protocol`, if any.
    pub protocol: Option<String>,
    /// Event streams instead of WebSocket: pushes come as events, and `reconnect` names the channels.
    pub events: bool,
    /// Long-polls instead of WebSocket: pushes come in answers, and `reconnect` names the channels.
    pub polls: bool,
    /// Header lines beyond those of the handshake.
    pub headers: Option<Headers>,
    /// Addresses to connect from, in turn; empty: the kernel chooses one, good for 28,000
    /// connections. See [`loopback_sources`].
    pub sources: Vec<IpAddr>,
    /// Handshakes under way at once.
    pub in_flight: usize,
    /// Connections begun a second; `None`: as fast as they are answered.
    pub per_second: Option<u32>,
    /// A schedule of the caller's, instead of `per_second`.
    pub due: Option<Due>,
    /// Offer permessage-deflate; what comes compressed is inflated and counted like the rest.
    pub deflate: bool,
    /// What the server speaks, when it is not `wsgateway.v1`.
    pub dialect: Option<Box<dyn Dialect>>,
    /// Look at the sockets this often instead of being woken by them. On a loopback device it is
    /// the sender who pays for waking a receiver, so a measured server pays more the more often
    /// its clients fall asleep; across a network it would pay nothing.
    pub nap: Option<Duration>,
    /// Sent by each connection as soon as it is open.
    pub commands: Commands,
    /// Connections that end come back. Then each says one subscribe, not the commands.
    pub reconnect: Option<Reconnect>,
    /// Nobody connects by themselves: connections begin away, and come and leave by [`Swarm::come`](super::Swarm::come) and
    /// [`Swarm::leave`](super::Swarm::leave). Needs `reconnect`.
    pub on_call: bool,
    /// Who hears everything.
    pub observer: Option<Box<dyn Observer>>,
    /// Answer pings. Without, a server should close with 4011.
    pub answer_pings: bool,
    /// The largest message to take.
    pub message_bytes: usize,
    /// Name of a payload field that counts up by one on each channel, to be checked.
    pub number_field: Option<String>,
    /// Where payloads say when they were published, to be measured.
    pub latency: Option<Latency>,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            connections: 1,
            path: "/ws".into(),
            host: None,
            tls: None,
            protocol: None,
            events: false,
            polls: false,
            headers: None,
            sources: Vec::new(),
            in_flight: 128,
            per_second: None,
            due: None,
            deflate: false,
            dialect: None,
            nap: None,
            commands: Box::new(|_| Vec::new()),
            reconnect: None,
            on_call: false,
            observer: None,
            answer_pings: true,
            message_bytes: 16 << 20,
            number_field: None,
            latency: None,
        }
    }
}

impl SwarmOptions {
    /// The upgrade request of connection `number`.
    pub(super) fn request(
        &self,
        host: &str,
        key: &str,
        (number, cursor): (usize, Option<(&str, u64)>),
    ) -> Vec<u8> {
        let request = match (&self.reconnect, self.events, self.polls) {
            (Some(reconnect), _, true) => {
                let cursor = cursor.filter(|_| reconnect.resume);
                polls::request((host, &self.path), &(reconnect.channels)(number), cursor, true)
            }
            (Some(reconnect), true, _) => {
                let cursor = cursor.filter(|_| reconnect.resume);
                let channels = (reconnect.channels)(number);
                events::request((host, &self.path), &channels, cursor)
            }
            _ => handshake::client_request(host, &self.path, &self.offer(key)),
        };
        self.with_own_headers(request, number)
    }

    /// The next poll of connection `number`.
    pub(super) fn next_poll(
        &self,
        host: &str,
        (number, cursor): (usize, Option<(&str, u64)>),
    ) -> Vec<u8> {
        let channels = self.channels(number);
        let request = polls::request((host, &self.path), &channels, cursor, false);
        self.with_own_headers(request, number)
    }

    /// What connection `number` is subscribed to.
    pub(super) fn channels(&self, number: usize) -> Vec<String> {
        self.reconnect.as_ref().map(|again| (again.channels)(number)).unwrap_or_default()
    }

    fn with_own_headers(&self, request: Vec<u8>, number: usize) -> Vec<u8> {
        match &self.headers {
            Some(headers) => with_headers(request, &headers(number)),
            None => request,
        }
    }

    /// What is asked for in the handshake.
    pub(super) fn offer<'a>(&'a self, key: &'a str) -> ClientOffer<'a> {
        ClientOffer { key, protocol: self.protocol.as_deref(), deflate: self.deflate }
    }
}

/// A payload field with the time of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Its name.
    pub field: String,
    /// What it counts since the Unix epoch.
    pub unit: Unit,
}

/// Unit of a time in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 10⁻⁹ s
    Nanoseconds,
    /// 10⁻⁶ s
    Microseconds,
    /// 10⁻³ s
    Milliseconds,
}

impl Unit {
    /// Nanoseconds in one of it.
    pub const fn nanoseconds(self) -> u64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
        }
    }
}

/// The same messages for every connection.
pub fn every<T: Into<String>>(commands: impl IntoIterator<Item = T>) -> Commands {
    let commands: Vec<String> = commands.into_iter().map(Into::into).collect();
    Box::new(move |_| commands.clone())
}

/// A subscribe command of `wsgateway.v1`.
pub fn subscribe(channels: &[&str]) -> String {
    json!({ "type": "subscribe", "id": 1, "channels": channels }).to_string()
}

/// The same, with as many messages in a frame as the server finds good.
pub fn subscribe_batched(channels: &[&str]) -> String {
    json!({ "type": "subscribe", "id": 1, "channels": channels, "batch": true }).to_string()
}

/// As many addresses of the loopback net as this many connections need: 127.0.0.1, 127.0.0.2 …
pub fn loopback_sources(connections: usize) -> Vec<IpAddr> {
    let count = connections.div_ceil(PER_SOURCE).clamp(1, 250) as u8;
    (1..=count).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect()
}
