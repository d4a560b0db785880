//! The port that clients see, and what is expected of them there.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::entry::{ForwardedHeader, ProxyProtocol};
use super::protocols::Protocol;

/// The port that clients see.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.defaultProtocol in self.protocols").message(
    "listener.defaultProtocol must be one of listener.protocols, since clients that name no protocol get it: add it \
     there, or choose another"
), validation = Rule::new("self.proxyProtocol == 'None' || (has(self.trustedProxies) && self.trustedProxies.size() > 0)").message(
    "listener.proxyProtocol needs listener.trustedProxies, or anybody could write any address: list the networks that the \
     load balancer connects from"
))]
pub struct Listener {
    /// Path of the WebSocket endpoint. Default /ws. The paths /, /health, /stats, /sse and /poll are the gateway's own.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/]*$') && !(self in ['/', '/health', '/stats', '/sse', '/poll'])").message(
        "listener.path must begin with / and be none of the gateway's own paths /, /health, /stats, /sse and /poll: use \
         /ws, for example"
    ))]
    pub path: String,
    /// Port of the gateway's pods and of its Service, above 1023 since the pods have no privileges, and not 9090, where
    /// metrics and probes are. Default 8080.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 9090").message(
        "listener.port 9090 is the gateway's admin port: choose another, such as 8080"
    ))]
    pub port: i32,
    /// Protocols that clients may name in Sec-WebSocket-Protocol; others are refused with 400. Default all three.
    #[serde(default = "all_protocols")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message(
        "listener.protocols names a protocol twice"
    ))]
    pub protocols: Vec<Protocol>,
    /// What is spoken with clients that name no protocol: one of listener.protocols. Clients of the Odin servers name
    /// none. Default wsgateway.v1.
    #[serde(default)]
    pub default_protocol: Protocol,
    /// Whether clients that offer permessage-deflate get it. A message is compressed once for all of them, and only when
    /// that makes it smaller. Default true.
    #[serde(default = "yes")]
    pub compression: bool,
    /// Whether clients may come by event stream (server-sent events), at /sse. Default true.
    #[serde(default = "yes")]
    pub event_source: bool,
    /// Whether clients may come by long-poll, at /poll. Default true.
    #[serde(default = "yes")]
    pub long_poll: bool,
    /// Time for which an HTTP connection is kept between two requests, such as 75s; 1s to 1h. Keep it above the idle
    /// timeout of every proxy and load balancer in front, or they send a request into a connection that is just being
    /// closed and answer 502. Default 75s.
    #[serde(default = "default_keep_alive")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message(
        "listener.keepAlive must be 1s to 1h; 75s is above the idle timeout of most proxies"
    ))]
    pub keep_alive: String,
    /// Whether the console page /, /health and /stats are served to clients. The pods' admin port has /health and /stats
    /// in any case. Default true.
    #[serde(default = "yes")]
    pub status_pages: bool,
    /// Origins of pages that may connect, as https://app.example.com, or https://*.example.com for every name below
    /// example.com (at most 64); others are refused with 403, as are pages that hide their origin. Clients that are no
    /// browsers send none and may connect. The console page is one of the gateway's own origin. Default: pages of every origin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::origins")]
    pub allowed_origins: Vec<String>,
    /// Hosts that requests may be for, as live.example.com, or *.example.com for every name below example.com (at most 64),
    /// whatever the port; others are refused with 403, so that no page can reach the gateway by a name of its own. /health
    /// answers by every name. Default: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::hosts")]
    pub allowed_hosts: Vec<String>,
    /// Networks of the proxies and load balancers that are believed when they say where a client comes from, as 10.0.0.0/8
    /// (at most 256). Limits of addresses count the client then, not the proxy. Default: nobody is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::entry_networks")]
    pub trusted_proxies: Vec<String>,
    /// Where trusted proxies say so: XForwardedFor (X-Forwarded-For) or Forwarded (RFC 7239). The other header is not looked
    /// at, since proxies pass on what they do not write. Default XForwardedFor.
    #[serde(default)]
    pub forwarded_header: ForwardedHeader,
    /// Whether trusted proxies begin connections with the PROXY protocol, version 1 or 2: None; Accept, they may; Require,
    /// they do, and connections without it or from anybody else are refused. Needs listener.trustedProxies. Default None.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// TLS on this port, for clients whose load balancer or Ingress does not end it; nothing else is spoken there then.
    /// Another Secret, or none, replaces the pods; a changed Secret is taken up by those that run. Default: without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Largest message accepted from a client, in bytes, such as 64Ki; 1Ki to 1Mi. A larger one closes the connection
    /// with 1009. Default 64Ki.
    #[serde(default = "default_command_size")]
    #[schemars(schema_with = "crate::schema::size")]
    #[x_kube(validation = Rule::new(
        "quantity(self).compareTo(quantity('1Ki')) >= 0 && quantity(self).compareTo(quantity('1Mi')) <= 0"
    ).message(
        "listener.maxCommandSize must be 1Ki to 1Mi: clients send commands, not data; 64Ki holds a thousand channels"
    ))]
    pub max_command_size: String,
    /// How clients that went away without a word are noticed.
    #[serde(default)]
    pub heartbeat: Heartbeat,
}

/// TLS on the clients' port: versions 1.2 and 1.3.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// The certificate that clients are shown, with its chain, and its key, as in a Secret of type kubernetes.io/tls.
    pub secret: ServerSecret,
}

/// Where a certificate and its key are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerSecret {
    /// Name of the Secret; its keys are tls.crt and tls.key.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
}

/// How clients that went away without a word are noticed: a WebSocket ping after `interval` of silence, then `timeout`
/// for any sign of life.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.timeout) <= duration(self.interval)").message(
    "listener.heartbeat.timeout must not exceed listener.heartbeat.interval, or a dead client would be due for its next \
     ping before the last one is judged: lower the timeout or raise the interval"
))]
pub struct Heartbeat {
    /// Longest silence of a client before a ping, such as 25s; 1s to 1h. Keep it below the idle timeout of every proxy
    /// and load balancer on the way, which is often 60s. Default 25s.
    #[serde(default = "default_interval")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message(
        "listener.heartbeat.interval must be 1s to 1h; 25s is below the idle timeout of most proxies"
    ))]
    pub interval: String,
    /// Silence after the ping that closes the connection with 4011, such as 10s; at least 1s and at most the interval.
    /// Default 10s.
    #[serde(default = "default_timeout")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message(
        "listener.heartbeat.timeout must be at least 1s: a phone needs that long to wake its radio"
    ))]
    pub timeout: String,
}

fn default_path() -> String {
    "/ws".to_owned()
}
fn default_port() -> i32 {
    8080
}
fn all_protocols() -> Vec<Protocol> {
    vec![Protocol::WsGateway, Protocol::Odin, Protocol::Symbols]
}
fn yes() -> bool {
    true
}
fn default_keep_alive() -> String {
    "75s".to_owned()
}
fn default_command_size() -> String {
    "64Ki".to_owned()
}
fn default_interval() -> String {
    "25s".to_owned()
}
fn default_timeout() -> String {
    "10s".to_owned()
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            path: default_path(),
            port: default_port(),
            protocols: all_protocols(),
            default_protocol: Protocol::default(),
            compression: yes(),
            event_source: yes(),
            long_poll: yes(),
            keep_alive: default_keep_alive(),
            status_pages: yes(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            proxy_protocol: ProxyProtocol::default(),
            tls: None,
            max_command_size: default_command_size(),
            heartbeat: Heartbeat::default(),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: default_interval(), timeout: default_timeout() }
    }
}
