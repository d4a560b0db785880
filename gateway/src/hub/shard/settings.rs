//! Settings: what every shard of a process knows, derived once from its configuration.

use std::sync::Arc;
use std::time::Duration;

use wsgateway_config::GatewayConfig;
use wsgateway_proto::channel::{self, Kind};
use wsgateway_proto::decoder::Limits;
use wsgateway_proto::template::Template;
use wsgateway_proto::v1;

use super::TICK;
use crate::conn::rate::RateLimit;
use crate::conn::slow::Bounds;

/// What a shard needs to know, the same for every shard.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Name told to clients: the pod's.
    pub pod: Arc<str>,
    /// Random number of this process, so that connection ids of two runs differ.
    pub boot: u32,
    pub(super) bounds: Bounds,
    pub(super) rate: RateLimit,
    pub(super) decoder: Limits,
    pub(super) subscriptions: usize,
    /// Most bytes that names may cost in the index of this shard.
    pub(super) name_bytes: usize,
    /// Most bytes that unfinished messages may hold in this shard.
    pub(super) unfinished_bytes: usize,
    pub(super) ping_after: u32,
    pub(super) pong_within: u32,
    pub(super) hello: v1::Limits,
    pub(super) heartbeat_ms: u64,
    pub(super) session: Session,
    /// Whether odin.v1 clients are greeted.
    pub(super) greets_odin: bool,
    pub(super) names: Arc<Names>,
}

/// How the clients of the older protocols call channels.
#[derive(Debug)]
pub(super) struct Names {
    /// Beginning of a subject that is no part of its channel.
    pub strip_prefix: Box<str>,
    /// Channels of a token.
    pub tokens: Template,
    /// What every odin.v1 client is subscribed to.
    pub initial: Box<[(Box<str>, Kind)]>,
    /// Channel of a symbol.
    pub symbols: Template,
    /// Most symbols of one client.
    pub max_symbols: usize,
}

impl Names {
    fn new(config: &GatewayConfig) -> Self {
        let initial = config.odin.initial_channels.iter().filter_map(|text| {
            let kind = channel::validate(text).ok()?;
            Some((text.as_str().into(), kind))
        });
        Self {
            strip_prefix: config.channels.strip_prefix.as_str().into(),
            // Both have been checked with the rest of the configuration.
            tokens: Template::new(&config.odin.template, "token").unwrap_or_default(),
            initial: initial.collect(),
            symbols: Template::new(&config.symbols_template(), "symbol").unwrap_or_default(),
            max_symbols: (config.symbols.max_symbols as usize)
                .min(config.capacity.subscriptions_per_connection as usize),
        }
    }
}

/// What a shard speaks with its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// Commands in, messages out, in the protocol that each connection has agreed on.
    Clients,
    /// Every message comes back as it is: for conformance suites.
    Echo,
}

impl Settings {
    /// Derives a shard's settings from the process's, for `shards` shards.
    pub(crate) fn new(config: &GatewayConfig, shards: usize, pod: &str, boot: u32) -> Self {
        let capacity = &config.capacity;
        let per_connection = capacity.outbox_bytes_per_connection as usize;
        let share =
            usize::try_from(capacity.outbox_bytes_total).unwrap_or(usize::MAX) / shards.max(1);
        Self {
            pod: pod.into(),
            boot,
            bounds: Bounds {
                per_connection,
                per_shard: share.max(per_connection),
                grace: ticks(config.slow_consumer.grace.into()),
            },
            rate: RateLimit::new(
                config.command_rate.per_second,
                config.command_rate.burst,
                capacity.command_bytes,
            ),
            decoder: Limits {
                message_bytes: capacity.command_bytes as usize,
                fragments: MAX_FRAGMENTS,
                deflate: false,
            },
            subscriptions: capacity.subscriptions_per_connection as usize,
            name_bytes: usize::try_from(capacity.name_bytes()).unwrap_or(usize::MAX)
                / shards.max(1),
            // One message is never too many.
            unfinished_bytes: (usize::try_from(capacity.unfinished_bytes()).unwrap_or(usize::MAX)
                / shards.max(1))
            .max(2 * capacity.command_bytes as usize),
            ping_after: ticks(config.heartbeat.interval.into()),
            pong_within: ticks(config.heartbeat.timeout.into()),
            hello: v1::Limits {
                subscriptions: capacity.subscriptions_per_connection,
                command_bytes: capacity.command_bytes,
                commands_per_second: config.command_rate.per_second,
                outbox_bytes: capacity.outbox_bytes_per_connection,
            },
            heartbeat_ms: config.heartbeat.interval.0,
            session: Session::Clients,
            greets_odin: config.odin.greeting,
            names: Arc::new(Names::new(config)),
        }
    }

    /// The same for a server that sends everything back, message by message.
    pub(crate) fn echo(mut self, fragments: u32) -> Self {
        self.decoder.fragments = fragments;
        self.session = Session::Echo;
        self.unfinished_bytes = usize::MAX;
        self
    }
}

/// Fragments of one command: nobody splits 64 KiB into more, and each costs a header to parse.
const MAX_FRAGMENTS: u32 = 1_024;

pub(super) fn ticks(span: Duration) -> u32 {
    u32::try_from(span.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX).max(1)
}
