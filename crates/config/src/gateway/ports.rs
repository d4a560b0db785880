//! The two ports of a gateway: that of its clients, and that of Kubernetes, Prometheus and the operator.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::entry::{all, most_networks};
use super::{ForwardedHeader, HOST_HINT, ORIGIN_HINT, Protocol, ProxyProtocol};
use super::{is_host_pattern, is_origin_pattern};
use crate::{ConfigError, Millis, Network};

/// Linux takes no longer path.
const LONGEST_PATH: usize = 4_095;

/// The port that clients see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address to bind. `::`, the default, is every address, of IPv4 too; on a host without IPv6 it is `0.0.0.0`.
    #[serde(default = "any_address")]
    pub address: IpAddr,
    /// Port to bind; 0 picks a free one, which is logged.
    #[serde(default = "listener_port")]
    pub port: u16,
    /// Path of the WebSocket endpoint.
    #[serde(default = "listener_path")]
    pub path: String,
    /// Protocols that clients may name in `Sec-WebSocket-Protocol`.
    #[serde(default = "all_protocols")]
    pub protocols: Vec<Protocol>,
    /// What is spoken with clients that name none.
    #[serde(default)]
    pub default_protocol: Protocol,
    /// Whether clients that offer permessage-deflate get it.
    #[serde(default = "yes")]
    pub compression: bool,
    /// Whether clients may come by event stream, at `/sse`.
    #[serde(default = "yes")]
    pub event_source: bool,
    /// Whether clients may come by long-poll, at `/poll`.
    #[serde(default = "yes")]
    pub long_poll: bool,
    /// Time for which an HTTP connection is kept between two requests (ms). Longer than proxies keep theirs, or they send
    /// a request into a connection that is just being closed.
    #[serde(default = "keep_alive")]
    pub keep_alive: Millis,
    /// Whether the console page, `/health` and `/stats` are served to clients. The admin port has the last two in any
    /// case.
    #[serde(default = "yes")]
    pub status_pages: bool,
    /// Origins of pages that may connect, as `https://app.example.com` or `https://*.example.com`; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// Hosts that a request may be for, as `live.example.com` or `*.example.com`; empty: all of them. `/health` answers
    /// whatever the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Networks of the proxies that are believed when they say where a client comes from; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// Where they say so.
    #[serde(default)]
    pub forwarded_header: ForwardedHeader,
    /// Whether they begin connections with the PROXY protocol.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Absent: plain HTTP and WebSocket, for a load balancer that ends TLS. Present: TLS and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
}

/// Who we are to clients: PEM files, which are read again whenever they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// Absolute path of our certificate, followed by those of the authorities between it and one that clients trust.
    pub cert_file: PathBuf,
    /// Absolute path of its key.
    pub key_file: PathBuf,
}

impl Listener {
    /// Checks what says who may come in, and as whom we answer.
    pub(super) fn check_entry(&self) -> Result<(), ConfigError> {
        if let Some(tls) = &self.tls {
            for (field, file) in [("certFile", &tls.cert_file), ("keyFile", &tls.key_file)] {
                if !file.is_absolute() || file.as_os_str().len() > LONGEST_PATH {
                    return Err(ConfigError::value(
                        format!("listener.tls.{field}"),
                        format!("must be the absolute path of a file; got {}", file.display()),
                    ));
                }
            }
        }
        all("listener.allowedOrigins", &self.allowed_origins, is_origin_pattern, ORIGIN_HINT)?;
        all("listener.allowedHosts", &self.allowed_hosts, is_host_pattern, HOST_HINT)?;
        most_networks("listener.trustedProxies", &self.trusted_proxies)?;
        if self.proxy_protocol != ProxyProtocol::None && self.trusted_proxies.is_empty() {
            return Err(ConfigError::value(
                "listener.proxyProtocol",
                "needs listener.trustedProxies: anybody else could write any address",
            ));
        }
        Ok(())
    }
}

/// The port that Kubernetes, Prometheus and the operator see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// Address to bind, as [`Listener::address`].
    #[serde(default = "any_address")]
    pub address: IpAddr,
    /// Port to bind; 0 picks a free one, which is logged.
    #[serde(default = "admin_port")]
    pub port: u16,
}

fn any_address() -> IpAddr {
    Ipv6Addr::UNSPECIFIED.into()
}
fn listener_port() -> u16 {
    8080
}
fn listener_path() -> String {
    "/ws".to_owned()
}
fn all_protocols() -> Vec<Protocol> {
    Protocol::ALL.to_vec()
}
fn keep_alive() -> Millis {
    // Load balancers and proxies keep theirs for up to 60 s.
    Millis::from_secs(75)
}
fn admin_port() -> u16 {
    9090
}
fn yes() -> bool {
    true
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: any_address(),
            port: listener_port(),
            path: listener_path(),
            protocols: all_protocols(),
            default_protocol: Protocol::default(),
            compression: yes(),
            event_source: yes(),
            long_poll: yes(),
            keep_alive: keep_alive(),
            status_pages: yes(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            proxy_protocol: ProxyProtocol::default(),
            tls: None,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: any_address(), port: admin_port() }
    }
}
