//! Any bytes as the head of a request.

use wsgateway_proto::handshake::head::{self, Head};
use wsgateway_proto::handshake::{self, Accepted};

/// Longest head.
const LIMIT: usize = 1 << 10;

/// Bytes of a new connection.
///
/// However they are cut into reads, the verdict must be the same and final; a plain upgrade ends with its empty line,
/// and the check of its headers must come to an end.
pub fn heads(data: &[u8]) {
    let whole = verdict(data);
    for length in 0..data.len() {
        if let Some(early) = verdict(&data[..length]) {
            assert_eq!(Some(early), whole, "after {length} bytes");
            break;
        }
    }
}

/// Whether it is an upgrade, and how long its head is; None while more is needed.
fn verdict(bytes: &[u8]) -> Option<Option<(usize, Option<Accepted>)>> {
    match head::read(bytes, LIMIT) {
        Head::Partial => {
            assert!(bytes.len() < LIMIT, "an endless head");
            None
        }
        Head::NotPlain => Some(None),
        Head::Upgrade(upgrade) => {
            assert!(upgrade.consumed <= LIMIT.min(bytes.len()));
            assert!(bytes[..upgrade.consumed].ends_with(b"\n"));
            assert!(upgrade.path.starts_with('/') && !upgrade.path.contains('?'));
            let accepted = handshake::check(
                &http::Method::GET,
                http::Version::HTTP_11,
                &upgrade.headers,
                &["wsgateway.v1"],
                "wsgateway.v1",
                true,
            );
            Some(Some((upgrade.consumed, accepted.ok())))
        }
    }
}
