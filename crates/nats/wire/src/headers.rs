//! A header block: a version line, lines of `Name: value`, and an empty line; but a publisher may send anything.

/// View of a header block. Lines that are no headers are passed over.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [u8]);

const VERSION: &[u8] = b"NATS/1.0";

impl<'a> Headers<'a> {
    /// Of a block as it came.
    pub fn new(block: &'a [u8]) -> Self {
        Self(block)
    }

    /// Whether there is no header block at all.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The status in the version line, such as 100 for control messages and 503 for "no responders". Publishers may
    /// send one too.
    pub fn status(self) -> Option<u16> {
        let digits = self.status_line()?.get(..3)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// What stands behind the status, such as `Idle Heartbeat`.
    pub fn description(self) -> &'a [u8] {
        let line = self.status_line().unwrap_or_default();
        line.get(3..).unwrap_or_default().trim_ascii()
    }

    /// Value of the last header of this name. The server's own headers stand behind those of the publisher, who may have
    /// used the same names.
    pub fn last(self, name: &str) -> Option<&'a [u8]> {
        // From the end: a block may be long, and the server's lines are the last ones.
        let mut block = self.0;
        while !block.is_empty() {
            let start = block.windows(2).rposition(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
            let line = &block[start..];
            if let Some(value) = line.strip_prefix(name.as_bytes())
                && let Some(value) = value.strip_prefix(b":")
            {
                return Some(value.trim_ascii());
            }
            block = &block[..start.saturating_sub(2)];
        }
        None
    }

    fn status_line(self) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(VERSION)?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap_or(rest.len());
        Some(rest[..end].trim_ascii_start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(block: &str) -> Headers<'_> {
        Headers(block.as_bytes())
    }

    #[test]
    fn a_status_is_read_with_its_description() {
        let control = headers("NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Stream: 7\r\n\r\n");
        assert_eq!((control.status(), control.description()), (Some(100), &b"Idle Heartbeat"[..]));
        assert_eq!(control.last("Nats-Last-Stream"), Some(&b"7"[..]));
        assert_eq!(headers("NATS/1.0 503\r\n\r\n").status(), Some(503));
        assert_eq!(headers("NATS/1.0\r\nA: b\r\n\r\n").status(), None);
        assert_eq!(headers("").status(), None);
    }

    #[test]
    fn the_last_of_several_headers_counts() {
        let block = headers("NATS/1.0\r\nNats-Sequence: 1\r\nX: y\r\nNats-Sequence: 2\r\n\r\n");
        assert_eq!(block.last("Nats-Sequence"), Some(&b"2"[..]));
        assert_eq!(block.last("X"), Some(&b"y"[..]));
        assert_eq!(block.last("Y"), None);
        assert_eq!(block.last("Nats"), None, "the whole name");
    }

    #[test]
    fn what_is_no_header_is_passed_over() {
        let block = headers("garbage\r\nMy Header: 1\r\nno colon\r\n\r\n\r\nNats-Sequence:9");
        assert_eq!(block.last("My Header"), Some(&b"1"[..]));
        assert_eq!(block.last("Nats-Sequence"), Some(&b"9"[..]));
        assert_eq!(block.last("no colon"), None);
        assert_eq!(block.status(), None);
    }
}
