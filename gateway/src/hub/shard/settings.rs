//! Settings: what every shard of a process knows, derived once from its configuration, by the part that needs it.

use std::sync::Arc;
use std::time::Duration;

use wsgateway_config::GatewayConfig;
use wsgateway_proto::channel::{self, Kind};
use wsgateway_proto::decoder::Limits;
use wsgateway_proto::template::Template;
use wsgateway_proto::v1;

use super::input;
use crate::auth::Guard;
use crate::clients;
use crate::clients::clock::ticks;
use crate::clients::heartbeat::Heartbeat;
use crate::conn::rate::RateLimit;
use crate::conn::slow::Bounds;
use crate::disconnects::Disconnects;

/// What a shard needs to know, the same for every shard.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) clients: clients::Settings,
    pub(crate) input: input::Settings,
    /// Most bytes that names may cost in the index of this shard.
    pub(super) name_bytes: usize,
    /// Whether some rule says how often a client may get a channel's messages.
    pub(super) paces: bool,
    pub(super) session: Arc<SessionSettings>,
    /// What verifies the tokens of clients, if they need any.
    pub(crate) guard: Option<Arc<Guard>>,
    /// Who is disconnected.
    pub(crate) disconnects: Arc<Disconnects>,
}

/// What sessions need to know.
#[derive(Debug)]
pub(super) struct SessionSettings {
    /// Name reported to clients: the pod's.
    pub pod: Arc<str>,
    /// Random number of this process, so that connection ids of two runs differ.
    pub boot: u32,
    /// Most subscriptions of one connection.
    pub subscriptions: usize,
    pub limits: v1::Limits,
    pub heartbeat_ms: u64,
    /// Whether odin.v1 clients are greeted.
    pub greets_odin: bool,
    pub names: Names,
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

/// Time that a message may take from its first byte to its last: even 64 KiB over a poor radio link take less, and what
/// is half there is held in memory.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Fragments of one command: nobody splits 64 KiB into more, and each costs a header to parse.
const MAX_FRAGMENTS: u32 = 1_024;

impl Settings {
    /// Derives a shard's settings from the process's, for `shards` shards.
    pub(crate) fn new(config: &GatewayConfig, shards: usize, pod: &str, boot: u32) -> Self {
        let capacity = &config.capacity;
        let names = usize::try_from(capacity.name_bytes()).unwrap_or(usize::MAX);
        Self {
            clients: clients(config, shards),
            input: input::Settings {
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
            },
            name_bytes: names / shards.max(1),
            paces: config.channels.rules.iter().any(|rule| rule.max_rate.is_some()),
            session: Arc::new(SessionSettings::new(config, pod, boot)),
            guard: None,
            disconnects: Arc::default(),
        }
    }
}

fn clients(config: &GatewayConfig, shards: usize) -> clients::Settings {
    let capacity = &config.capacity;
    let per_connection = capacity.outbox_bytes_per_connection as usize;
    let share = usize::try_from(capacity.outbox_bytes_total).unwrap_or(usize::MAX) / shards.max(1);
    clients::Settings {
        bounds: Bounds {
            per_connection,
            per_shard: share.max(per_connection),
            grace: ticks(config.slow_consumer.grace.into()),
        },
        // One message is never too many.
        unfinished_bytes: (usize::try_from(capacity.unfinished_bytes()).unwrap_or(usize::MAX)
            / shards.max(1))
        .max(2 * capacity.command_bytes as usize),
        heartbeat: Heartbeat::new(
            ticks(config.heartbeat.interval.into()),
            ticks(config.heartbeat.timeout.into()),
        ),
        message_timeout: Some(ticks(MESSAGE_TIMEOUT)),
    }
}

impl SessionSettings {
    pub(super) fn new(config: &GatewayConfig, pod: &str, boot: u32) -> Self {
        let capacity = &config.capacity;
        Self {
            pod: pod.into(),
            boot,
            subscriptions: capacity.subscriptions_per_connection as usize,
            limits: v1::Limits {
                subscriptions: capacity.subscriptions_per_connection,
                command_bytes: capacity.command_bytes,
                commands_per_second: config.command_rate.per_second,
                outbox_bytes: capacity.outbox_bytes_per_connection,
            },
            heartbeat_ms: config.heartbeat.interval.0,
            greets_odin: config.odin.greeting,
            names: Names::new(config),
        }
    }
}
