//! The PROXY protocol, versions 1 and 2 (HAProxy, proxy-protocol.txt): a proxy says in the first bytes of a connection
//! where it comes from. Only a proxy that is trusted may be believed; that is the caller's to know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest header that is read (bytes). One of version 2 may be 64 KiB; what proxies add to the addresses is some hundred
/// bytes, and all of it is held until the header is whole.
pub const MAX_PROXY_HEADER: usize = 4 << 10;

/// Longest line of version 1, its end included.
const MAX_LINE: usize = 107;
const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length of the rest.
const FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Nothing, or the beginning of a header: read on.
    Partial,
    /// Something else.
    Absent,
    /// It begins like a header, and is none.
    Bad,
    /// A header.
    Header {
        /// Its bytes; what follows is the client's.
        len: usize,
        /// The client's address. None where it has none, or the proxy speaks for itself.
        source: Option<IpAddr>,
    },
}

/// Looks at the first bytes of a connection.
pub fn proxy_header(bytes: &[u8]) -> ProxyHeader {
    if bytes.starts_with(LINE) {
        line(bytes)
    } else if bytes.starts_with(SIGNATURE) {
        binary(bytes)
    } else if LINE.starts_with(bytes) || SIGNATURE.starts_with(bytes) {
        ProxyHeader::Partial
    } else {
        ProxyHeader::Absent
    }
}

fn line(bytes: &[u8]) -> ProxyHeader {
    let head = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if head.len() < MAX_LINE { ProxyHeader::Partial } else { ProxyHeader::Bad };
    };
    let text = head.get(LINE.len()..end).and_then(|text| std::str::from_utf8(text).ok());
    match text.and_then(source_of_line) {
        Some(source) => ProxyHeader::Header { len: end + 2, source },
        None => ProxyHeader::Bad,
    }
}

fn source_of_line(text: &str) -> Option<Option<IpAddr>> {
    let mut words = text.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination, ports) =
        (words.next()?, words.next()?, [words.next()?, words.next()?]);
    let is_port = |text: &str| !text.starts_with('+') && text.parse::<u16>().is_ok();
    if words.next().is_some() || !ports.into_iter().all(is_port) {
        return None;
    }
    let (source, destination): (IpAddr, IpAddr) = (source.parse().ok()?, destination.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    fits.then_some(Some(source.to_canonical()))
}

fn binary(bytes: &[u8]) -> ProxyHeader {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return ProxyHeader::Partial;
    };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    let is_known = matches!(command, 0x20 | 0x21) && family >> 4 <= 3 && family & 0xf <= 2;
    if !is_known || len > MAX_PROXY_HEADER {
        return ProxyHeader::Bad;
    }
    let Some(rest) = bytes.get(FIXED..len) else { return ProxyHeader::Partial };
    let source = match (command, family >> 4) {
        (0x21, 1) if rest.len() >= 12 => {
            rest.first_chunk().map(|ip: &[u8; 4]| Ipv4Addr::from(*ip).into())
        }
        (0x21, 2) if rest.len() >= 36 => {
            rest.first_chunk().map(|ip: &[u8; 16]| IpAddr::from(Ipv6Addr::from(*ip)).to_canonical())
        }
        (0x21, 1 | 2) => return ProxyHeader::Bad,
        // The proxy's own check, a socket of UNIX, or nothing that is known.
        _ => None,
    };
    ProxyHeader::Header { len, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, rest].concat()
    }

    fn header(bytes: &[u8], source: Option<&str>) -> ProxyHeader {
        let source = source.map(|text| text.parse().unwrap());
        ProxyHeader::Header { len: bytes.len(), source }
    }

    /// Good headers, with the address that they tell.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0, 1, 0, 2];
        let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1], &[0; 16], &[0; 4]].concat();
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 20]].concat();
        let with_more = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::1 ::1 5000 443\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f::1 ffff::1 65535 65535\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &v4), Some("192.0.2.7")),
            (version_2(0x21, 0x11, &with_more), Some("192.0.2.7")),
            (version_2(0x21, 0x21, &v6), Some("2001:db8::1")),
            (version_2(0x21, 0x21, &mapped), Some("192.0.2.7")),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x20, 0x11, &v4), None),
            (version_2(0x21, 0x31, &[b'/'; 216]), None),
            (version_2(0x21, 0x00, &[1, 2, 3]), None),
        ]
    }

    #[test]
    fn a_header_is_read_however_it_is_cut() {
        for (bytes, source) in good() {
            for end in 0..bytes.len() {
                assert_eq!(proxy_header(&bytes[..end]), ProxyHeader::Partial, "{end} of {bytes:?}");
            }
            let whole = header(&bytes, source);
            assert_eq!(proxy_header(&bytes), whole);
            assert_eq!(proxy_header(&[&bytes, &b"GET /"[..]].concat()), whole);
        }
    }

    #[test]
    fn what_begins_like_a_header_and_is_none_is_bad() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_LINE));
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 443 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 5000 +43\r\n",
            "PROXY TCP4 2001:db8::1 ::1 5000 443\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 5000 443\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 5000 443\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 5000 443\r\n",
            &long,
        ] {
            assert_eq!(proxy_header(line.as_bytes()), ProxyHeader::Bad, "{line}");
        }
        for bytes in [
            version_2(0x11, 0x11, &[0; 12]),
            version_2(0x22, 0x11, &[0; 12]),
            version_2(0x21, 0x41, &[0; 12]),
            version_2(0x21, 0x13, &[0; 12]),
            version_2(0x21, 0x11, &[0; 11]),
            version_2(0x21, 0x21, &[0; 35]),
            version_2(0x21, 0x11, &[0; MAX_PROXY_HEADER]),
        ] {
            assert_eq!(proxy_header(&bytes), ProxyHeader::Bad, "{:?}", &bytes[..16]);
        }
    }

    #[test]
    fn what_begins_otherwise_is_something_else() {
        for bytes in [&b"GET / HTTP/1.1"[..], b"PRO ", b"\r\n\r\nGET", b"\x16\x03\x01", b"proxy "] {
            assert_eq!(proxy_header(bytes), ProxyHeader::Absent);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(
            which in 0..13_usize,
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            more in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let (mut bytes, _) = good().swap_remove(which);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.extend(more);
            if let ProxyHeader::Header { len, .. } = proxy_header(&bytes) {
                prop_assert!(len <= bytes.len() && len <= MAX_PROXY_HEADER);
            }
        }
    }
}
