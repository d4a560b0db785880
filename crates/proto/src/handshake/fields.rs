//! The header fields of a head that [`head`](super::head()) found clean, for those who judge more than the handshake.

use super::Fields;
use super::head::MAX_LINES;

/// The header fields of a request, as they stand in its bytes.
#[derive(Debug)]
pub struct HeadFields<'b> {
    lines: [httparse::Header<'b>; MAX_LINES],
    count: usize,
}

impl<'b> HeadFields<'b> {
    /// Reads a whole head; None when it is none.
    pub fn of(head: &'b [u8]) -> Option<Self> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
        let mut request = httparse::Request::new(&mut lines);
        let is_whole = request.parse(head).is_ok_and(|status| status.is_complete());
        let count = request.headers.len();
        is_whole.then_some(Self { lines, count })
    }
}

impl Fields for HeadFields<'_> {
    fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let named = move |line: &&httparse::Header<'_>| line.name.eq_ignore_ascii_case(name);
        self.lines.iter().take(self.count).filter(named).map(|line| line.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_field_are_found_in_order_whatever_their_case() {
        let head =
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a\r\nx-forwarded-for: b, c\r\n\r\n\x81";
        let fields = HeadFields::of(head).unwrap();
        let lines: Vec<&[u8]> = fields.lines("x-forwarded-for").collect();
        assert_eq!(lines, [&b"a"[..], b"b, c"]);
        assert_eq!(fields.lines("origin").count(), 0);
        assert!(HeadFields::of(b"GET / HTTP/1.1\r\nHost: h\r\n").is_none());
    }
}
