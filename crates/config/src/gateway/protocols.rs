//! Which protocols a gateway speaks, and how the names of the older ones become channels.

use serde::{Deserialize, Serialize};

use super::{GatewayConfig, RedisSource, Source};
use crate::{ConfigError, is_pattern, pattern::is_template};

/// Channel of a symbol where no template is given.
const DEFAULT_TEMPLATE: &str = "{symbol}.trade";
/// The same with a Redis source whose channels do not show where the symbol stands: what the earlier Redis gateway read.
const REDIS_TEMPLATE: &str = "channel:trade:{symbol}";

/// Most channels that an odin.v1 client has from the start.
pub const MAX_INITIAL_CHANNELS: usize = 64;
/// Most symbols of one symbols.v1 client that can be configured.
pub const MAX_SYMBOLS: u32 = 10_000;

/// A protocol, named as in `Sec-WebSocket-Protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// This gateway's own: cursors, gaps, batches, compression.
    #[default]
    #[serde(rename = "wsgateway.v1")]
    WsGateway,
    /// For clients of the Odin servers: a sequence per connection.
    #[serde(rename = "odin.v1")]
    Odin,
    /// For clients of the Redis gateway: symbols and trades.
    #[serde(rename = "symbols.v1")]
    Symbols,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WsGateway, Self::Odin, Self::Symbols];

    /// The name in `Sec-WebSocket-Protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WsGateway => "wsgateway.v1",
            Self::Odin => "odin.v1",
            Self::Symbols => "symbols.v1",
        }
    }
}

/// What odin.v1 clients get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Odin {
    /// Channels of a token, for clients that subscribe to `tokens`; `{token}` stands for it.
    pub template: String,
    /// Channels that every client has from the start: earlier servers sent everything to everybody, and their clients
    /// never subscribe (at most 64).
    pub initial_channels: Vec<String>,
    /// Whether a connection begins with `connection:established`. Some of these clients wait for it; others count every
    /// frame that is neither an acknowledgement nor a pong as data.
    pub greeting: bool,
}

/// What symbols.v1 clients get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Symbols {
    /// Channel of a symbol; `{symbol}` stands for it. Without one, [`GatewayConfig::symbols_template`] derives it from
    /// the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Most symbols of one client; `capacity.subscriptionsPerConnection` holds too.
    pub max_symbols: u32,
}

impl Default for Odin {
    fn default() -> Self {
        Self { template: "{token}.>".to_owned(), initial_channels: Vec::new(), greeting: true }
    }
}

impl Default for Symbols {
    fn default() -> Self {
        // What the gateway that these clients come from allowed.
        Self { template: None, max_symbols: 5 }
    }
}

impl GatewayConfig {
    /// The channel of a symbol, with `{symbol}` in place of it. Where none is configured: `{symbol}.trade`, and with a
    /// Redis source the first of its patterns with `{symbol}` in place of the `*`, as a channel, so without
    /// `channels.stripPrefix`.
    pub fn symbols_template(&self) -> String {
        match (&self.symbols.template, &self.source) {
            (Some(template), _) => template.clone(),
            (None, Source::Redis(source)) => redis_template(source, &self.channels.strip_prefix),
            (None, _) => DEFAULT_TEMPLATE.to_owned(),
        }
    }
}

fn redis_template(source: &RedisSource, strip_prefix: &str) -> String {
    let found = source.channels.iter().find_map(|channel| {
        // What stands for more than itself in a pattern, or is spelled differently in a subject.
        let plain = !channel.contains(['?', '[', '\\', '%', '>', '{', '}']);
        let template = channel.replacen('*', "{symbol}", 1);
        (plain && is_symbols_template(&template)).then_some(template)
    });
    let template = found.unwrap_or_else(|| REDIS_TEMPLATE.to_owned()).replace(':', ".");
    match template.strip_prefix(strip_prefix) {
        Some(rest) => rest.to_owned(),
        None => template,
    }
}

fn is_symbols_template(text: &str) -> bool {
    is_template(text, "{symbol}") && !text.contains(['*', '>'])
}

/// Refuses a list of protocols that leaves some client without one.
pub(super) fn check(protocols: &[Protocol], default: Protocol) -> Result<(), ConfigError> {
    const PATH: &str = "listener.protocols";
    if protocols.is_empty() {
        return Err(ConfigError::value(PATH, "must name at least one, such as wsgateway.v1"));
    }
    let twice = protocols.iter().enumerate().find(|(at, name)| protocols[..*at].contains(name));
    if let Some((_, twice)) = twice {
        return Err(ConfigError::value(PATH, format!("names {} twice", twice.name())));
    }
    if !protocols.contains(&default) {
        return Err(ConfigError::value(
            "listener.defaultProtocol",
            format!("must be one of listener.protocols; {} is not", default.name()),
        ));
    }
    Ok(())
}

impl Odin {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !is_template(&self.template, "{token}") {
            return Err(ConfigError::value(
                "odin.template",
                format!(
                    "must be a channel or pattern with {{token}} in it once, such as {{token}}.> or {{token}}.update; \
                     got {:?}",
                    self.template
                ),
            ));
        }
        if self.initial_channels.len() > MAX_INITIAL_CHANNELS {
            return Err(ConfigError::value(
                "odin.initialChannels",
                format!(
                    "must hold at most {MAX_INITIAL_CHANNELS} channels; got {}",
                    self.initial_channels.len()
                ),
            ));
        }
        for (at, channel) in self.initial_channels.iter().enumerate() {
            if !is_pattern(channel) {
                return Err(ConfigError::value(
                    format!("odin.initialChannels[{at}]"),
                    format!("must be a channel or pattern, such as *.price or >; got {channel:?}"),
                ));
            }
        }
        Ok(())
    }
}

impl Symbols {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(template) = self.template.as_ref().filter(|text| !is_symbols_template(text)) {
            return Err(ConfigError::value(
                "symbols.template",
                format!(
                    "must be a channel with {{symbol}} in it once and without wildcards, such as {{symbol}}.trade; got \
                     {template:?}"
                ),
            ));
        }
        if !(1..=MAX_SYMBOLS).contains(&self.max_symbols) {
            return Err(ConfigError::value(
                "symbols.maxSymbols",
                format!("must be 1 to {MAX_SYMBOLS}; got {}", self.max_symbols),
            ));
        }
        Ok(())
    }
}
