//! Where a request comes from, told by proxies: from hop to hop, as long as each is trusted. Pure.
//!
//! The last entry is written by the proxy that the connection comes from, the one before it by the proxy that the last
//! entry names, and so on. What a stranger has written stands further to the left and is never reached.

use std::net::{IpAddr, SocketAddr};

use wsgateway_config::{ForwardedHeader, Listener, Network, ProxyProtocol};
use wsgateway_proto::handshake::Fields;
use wsgateway_proto::proxy::{ProxyHeader, proxy_header};

/// Hops that are followed: longer chains are those of somebody who plays.
const MOST_HOPS: usize = 32;

/// The proxies that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    trusted: Vec<Network>,
    header: ForwardedHeader,
    protocol: ProxyProtocol,
}

/// What stands before the first request of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Not enough to say.
    Wait,
    /// Not what a connection from there has to begin with.
    Refused,
    /// So many bytes of a proxy, which says that the client is there; 0: nothing.
    Of { address: IpAddr, len: usize },
}

impl Proxies {
    pub(super) fn new(listener: &Listener) -> Self {
        Self {
            trusted: listener.trusted_proxies.clone(),
            header: listener.forwarded_header,
            protocol: listener.proxy_protocol,
        }
    }

    /// Whether nobody is believed.
    pub(super) fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Judges the first bytes of a connection from `peer`.
    pub(super) fn begin(&self, read: &[u8], peer: IpAddr) -> Beginning {
        let nothing = Beginning::Of { address: peer, len: 0 };
        let unless_required = match self.protocol {
            ProxyProtocol::None => return nothing,
            ProxyProtocol::Accept => nothing,
            ProxyProtocol::Require => Beginning::Refused,
        };
        if !self.trust(peer) {
            return unless_required;
        }
        match proxy_header(read) {
            ProxyHeader::Partial => Beginning::Wait,
            ProxyHeader::Bad => Beginning::Refused,
            ProxyHeader::Absent => unless_required,
            ProxyHeader::Header { len, source } => {
                Beginning::Of { address: source.unwrap_or(peer), len }
            }
        }
    }

    /// Where a request comes from whose connection comes from `from`. Where a hop cannot be read, the one before it, which
    /// wrote it, is as far as anybody knows.
    pub(super) fn client(&self, fields: &impl Fields, from: IpAddr) -> IpAddr {
        if !self.trust(from) {
            return from;
        }
        let name = match self.header {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        };
        let lines: Vec<&[u8]> = fields.lines(name).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        let mut client = from;
        for entry in entries.take(MOST_HOPS) {
            let text = str::from_utf8(entry).ok().map(str::trim);
            let address = text.and_then(|text| match self.header {
                ForwardedHeader::XForwardedFor => address(text),
                ForwardedHeader::Forwarded => address(node(text)?),
            });
            let Some(address) = address else { break };
            client = address;
            if !self.trust(client) {
                break;
            }
        }
        client
    }
}

/// The one `for` of an element of `Forwarded`, without quotes.
fn node(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    let (_, node) = nodes.next()?;
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    nodes.next().is_none().then_some(quoted.unwrap_or(node))
}

/// An address with or without a port, of IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse::<IpAddr>().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn proxies(header: ForwardedHeader, protocol: ProxyProtocol) -> Proxies {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        Proxies { trusted, header, protocol }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(name: &'static str, lines: &[&str], from: &str) -> String {
        let header = match name {
            "forwarded" => ForwardedHeader::Forwarded,
            _ => ForwardedHeader::XForwardedFor,
        };
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(name, HeaderValue::from_str(line).unwrap());
        }
        proxies(header, ProxyProtocol::None).client(&fields, ip(from)).to_string()
    }

    #[test]
    fn a_chain_is_followed_from_the_right_over_trusted_hops_only() {
        let xff = "x-forwarded-for";
        for (lines, want) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (&["192.0.2.1", "10.1.1.1,fd00::2"], "192.0.2.1"),
            // Whoever writes chains of their own is not believed: the proxy has appended where it comes from.
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.9, 198.51.100.9, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (&["127.0.0.1, 10.0.0.1", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            // A client within the trusted networks.
            (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            // What a hop hides stays hidden.
            (&["192.0.2.1, unknown, 10.1.1.1"], "10.1.1.1"),
            (&["192.0.2.1, , 10.1.1.1"], "10.1.1.1"),
            (&["192.0.2.1,"], "10.0.0.1"),
            (&["\u{fc}"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(xff, lines, "10.0.0.1"), want, "{lines:?}");
        }
        assert_eq!(client(xff, &["192.0.2.1"], "198.51.100.7"), "198.51.100.7", "a stranger");
        let long = vec!["10.0.0.2"; 10_000].join(",");
        assert_eq!(client(xff, &["192.0.2.1", &long], "10.0.0.1"), "10.0.0.2");
    }

    #[test]
    fn forwarded_is_followed_likewise_and_the_other_header_is_not_looked_at() {
        for (line, want) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("proto=https; For=\"192.0.2.1:4711\";by=10.0.0.1", "192.0.2.1"),
            ("for=198.51.100.9, for=\"[2001:db8::1]:4711\", for=10.1.1.1", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=192.0.2.1, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("by=192.0.2.1", "10.0.0.1"),
            ("for=\"198.51.100.9, for=192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("forwarded", &[line], "10.0.0.1"), want, "{line}");
        }
        let both = HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("192.0.2.1"),
        )]);
        let proxies = proxies(ForwardedHeader::Forwarded, ProxyProtocol::None);
        assert_eq!(proxies.client(&both, ip("10.0.0.1")), ip("10.0.0.1"));
    }

    #[test]
    fn a_proxy_header_is_taken_from_trusted_addresses_only() {
        use Beginning::{Of, Refused, Wait};
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n";
        let (proxy, stranger) = (ip("10.0.0.1"), ip("198.51.100.7"));
        let told = Of { address: ip("192.0.2.7"), len: header.len() };
        let nothing = |address| Of { address, len: 0 };
        for (protocol, from, read, want) in [
            (ProxyProtocol::None, proxy, &header[..], nothing(proxy)),
            (ProxyProtocol::Accept, proxy, header, told),
            (ProxyProtocol::Accept, proxy, &header[..9], Wait),
            (ProxyProtocol::Accept, proxy, b"GET / HTTP/1.1\r\n", nothing(proxy)),
            (ProxyProtocol::Accept, proxy, b"PROXY TCP4 x\r\n", Refused),
            (ProxyProtocol::Accept, proxy, b"PROXY UNKNOWN\r\n", Of { address: proxy, len: 15 }),
            (ProxyProtocol::Accept, stranger, header, nothing(stranger)),
            (ProxyProtocol::Require, proxy, header, told),
            (ProxyProtocol::Require, proxy, b"", Wait),
            (ProxyProtocol::Require, proxy, b"GET / HTTP/1.1\r\n", Refused),
            (ProxyProtocol::Require, stranger, header, Refused),
        ] {
            let proxies = proxies(ForwardedHeader::default(), protocol);
            assert_eq!(proxies.begin(read, from), want, "{protocol:?} {from}");
        }
    }
}
