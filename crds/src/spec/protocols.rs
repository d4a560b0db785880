//! Which protocols are spoken, and what clients of the older ones get.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A protocol, named as in Sec-WebSocket-Protocol.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// What odin.v1 clients get.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Odin {
    /// Channels of a token, for clients that subscribe to tokens instead of channels; {token} stands for it once.
    /// Default {token}.>, which is everything of that token.
    #[serde(default = "default_odin_template")]
    #[schemars(schema_with = "crate::schema::odin_template")]
    pub template: String,
    /// Channels that every client has from the start, such as >: earlier servers sent everything to everybody, and their
    /// clients never subscribe (at most 64). Default none: clients subscribe.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::initial_channels")]
    pub initial_channels: Vec<String>,
    /// Whether a connection begins with connection:established. Set it to false for clients that count every frame that is
    /// neither an acknowledgement nor a pong as data. Default true: other clients wait for it.
    #[serde(default = "yes")]
    pub greeting: bool,
}

/// What symbols.v1 clients get.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Symbols {
    /// Channel of a symbol; {symbol} stands for it once. Absent: {symbol}.trade; with redis, the first of redis.channels
    /// with {symbol} in place of its *, without channels.stripPrefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::symbols_template")]
    pub template: Option<String>,
    /// Most symbols of one client; capacity.subscriptionsPerConnection holds too. Default 5, as in the gateway that these
    /// clients come from.
    #[serde(default = "default_max_symbols")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_symbols: i32,
}

fn default_odin_template() -> String {
    "{token}.>".to_owned()
}
fn yes() -> bool {
    true
}
fn default_max_symbols() -> i32 {
    5
}

impl Default for Odin {
    fn default() -> Self {
        Self { template: default_odin_template(), initial_channels: Vec::new(), greeting: yes() }
    }
}

impl Default for Symbols {
    fn default() -> Self {
        Self { template: None, max_symbols: default_max_symbols() }
    }
}
