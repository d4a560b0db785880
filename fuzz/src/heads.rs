//! Any bytes as the head of a request.

use wsgateway_proto::handshake::{Accepted, Fields as _, Head, HeadFields, head};
use wsgateway_proto::proxy::{ProxyHeader, proxy_header};

/// Bytes of a new connection.
///
/// However they are cut into reads, the verdict must be the same and final; a clean upgrade ends with its empty line. So does
/// what a proxy may write before it.
pub fn heads(data: &[u8]) {
    let told = proxy_header(data);
    for length in 0..data.len() {
        let early = proxy_header(&data[..length]);
        if early != ProxyHeader::Partial {
            assert_eq!(early, told, "after {length} bytes");
            break;
        }
    }
    if let ProxyHeader::Header { len, .. } = told {
        assert!(len <= data.len());
    }
    let whole = verdict(data);
    for length in 0..data.len() {
        if let Some(early) = verdict(&data[..length]) {
            assert_eq!(Some(early), whole, "after {length} bytes");
            break;
        }
    }
}

/// What was agreed on, and how long its head is; None while more is needed.
fn verdict(bytes: &[u8]) -> Option<Option<(usize, Accepted)>> {
    match head(bytes, &["wsgateway.v1"], "wsgateway.v1", true) {
        Head::Partial => None,
        Head::Other => Some(None),
        Head::Upgrade { path, accepted, len, .. } => {
            assert!(bytes[..len].ends_with(b"\n"));
            assert!(path.starts_with('/') && !path.contains('?'));
            let fields = HeadFields::of(&bytes[..len]).expect("the fields of a head");
            assert_eq!(fields.lines("host").count(), 1);
            assert!(accepted.response().ends_with(b"\r\n\r\n"));
            Some(Some((len, accepted)))
        }
    }
}
