//! Which protocols a gateway speaks, and how the names of the older ones become channels.

use serde::{Deserialize, Serialize};

use crate::{ConfigError, is_pattern, pattern::is_template};

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
}

/// What symbols.v1 clients get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Symbols {
    /// Channel of a symbol; `{symbol}` stands for it.
    pub template: String,
    /// Most symbols of one client; `capacity.subscriptionsPerConnection` holds too.
    pub max_symbols: u32,
}

impl Default for Odin {
    fn default() -> Self {
        Self { template: "{token}.>".to_owned(), initial_channels: Vec::new() }
    }
}

impl Default for Symbols {
    fn default() -> Self {
        // What the gateway that these clients come from allowed.
        Self { template: "{symbol}.trade".to_owned(), max_symbols: 5 }
    }
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
        if !is_template(&self.template, "{symbol}") || self.template.contains(['*', '>']) {
            return Err(ConfigError::value(
                "symbols.template",
                format!(
                    "must be a channel with {{symbol}} in it once and without wildcards, such as {{symbol}}.trade; got \
                     {:?}",
                    self.template
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
