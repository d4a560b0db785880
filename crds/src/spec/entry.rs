//! Who may come in at the clients' port, and how often.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header in which trusted proxies write where a request comes from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// X-Forwarded-For, as nearly all of them do.
    #[default]
    XForwardedFor,
    /// Forwarded (RFC 7239).
    Forwarded,
}

/// Whether trusted proxies begin connections with the PROXY protocol, version 1 or 2.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No.
    // Not Off, which YAML 1.1 takes for a boolean.
    #[default]
    None,
    /// They may.
    Accept,
    /// They do; a connection without its header, or from anybody else, is refused.
    Require,
}

/// Connections over time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AcceptRate {
    /// Connections a second that may come all the time; 0 = unlimited. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub per_second: i32,
    /// Connections that may come at once after a while without any. Default 100.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: i32,
}

fn default_burst() -> i32 {
    100
}

impl Default for AcceptRate {
    fn default() -> Self {
        Self { per_second: 0, burst: default_burst() }
    }
}

impl From<ForwardedHeader> for wsgateway_config::ForwardedHeader {
    fn from(header: ForwardedHeader) -> Self {
        match header {
            ForwardedHeader::XForwardedFor => Self::XForwardedFor,
            ForwardedHeader::Forwarded => Self::Forwarded,
        }
    }
}

impl From<ProxyProtocol> for wsgateway_config::ProxyProtocol {
    fn from(protocol: ProxyProtocol) -> Self {
        match protocol {
            ProxyProtocol::None => Self::None,
            ProxyProtocol::Accept => Self::Accept,
            ProxyProtocol::Require => Self::Require,
        }
    }
}
