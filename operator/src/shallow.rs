//! WsGateways that are nested too deeply to be read.
//!
//! Some fields are open: the API server takes whatever is in them, thousands of levels deep. Our reader of JSON stops at 128,
//! and fails for the whole answer: one such WsGateway would hide all others from a list. So what is deeper than that is
//! replaced as it comes in, by a text that no field takes, and the WsGateway has a condition like any other that is wrong.

use http::Response;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Frame};
use kube::client::Body;

/// Levels that are kept: far beyond every specification that means something.
const DEEPEST: usize = 100;
/// What stands in the place of what is deeper.
const CUT: &[u8] = b"\"nested too deeply\"";

/// An answer as a Kubernetes client takes it.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether answers to a request may hold open fields.
pub(crate) fn is_open(path: &str) -> bool {
    path.contains("/wsgateways")
}

/// The answer, or the stream of them, as it is; without what is too deep if there may be open fields.
pub(crate) fn readable(response: Response<Body>, is_open: bool) -> Answer {
    let mut cutter = Cutter::default();
    response.map(|body| {
        let body = body.map_err(BoxError::from);
        if !is_open {
            return body.boxed_unsync();
        }
        let cut =
            move |frame: Frame<Bytes>| frame.map_data(|bytes| Bytes::from(cutter.feed(&bytes)));
        body.map_frame(cut).boxed_unsync()
    })
}

/// Where in a text of JSON documents the next byte is.
#[derive(Debug, Default)]
struct Cutter {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Cutter {
    /// The next part of the text, without what is too deep. Broken JSON stays broken.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.step(*byte, &mut kept);
        }
        kept
    }

    fn step(&mut self, byte: u8, kept: &mut Vec<u8>) {
        let was_kept = self.depth <= DEEPEST;
        if self.in_string {
            self.in_string = self.is_escaped || byte != b'"';
            self.is_escaped = !self.is_escaped && byte == b'\\';
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        match (was_kept, self.depth <= DEEPEST) {
            (true, true) => kept.push(byte),
            (true, false) => kept.extend_from_slice(CUT),
            // The end of what was cut, or a part of it.
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a]}\\\"\":[".repeat(levels / 2), "]}".repeat(levels / 2))
    }

    #[test]
    fn what_can_be_read_stays_as_it_is_however_it_is_divided() {
        for text in [nested(0), nested(100), r#"{"a":"}}[\\\"","b":["\\"]}"#.to_owned()] {
            for size in [1, 3, 7, 1_000] {
                let mut cutter = Cutter::default();
                let kept: Vec<u8> =
                    text.as_bytes().chunks(size).flat_map(|part| cutter.feed(part)).collect();
                assert_eq!(String::from_utf8(kept).unwrap(), text);
            }
        }
    }

    #[test]
    fn what_is_too_deep_is_replaced_and_what_follows_is_read() {
        let text = format!("{{\"bad\":{},\"good\":[2]}}\n{{\"next\":3}}\n", nested(5_000));
        let kept = Cutter::default().feed(text.as_bytes());
        let documents: Vec<Value> = kept
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(documents[0]["good"][0], 2);
        assert!(documents[0]["bad"].to_string().contains("nested too deeply"));
        assert_eq!(documents[1]["next"], 3);
    }
}
