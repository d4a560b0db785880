//! Long-polls: the frames of a session as one HTTP answer, after which the connection goes back to the HTTP server.
//!
//! In: what the session sends, and the time of the shard. Out: the bytes of the answer. A small answer leaves whole, and
//! its client's place is free before it does; a large one leaves in pieces as the client reads, so that nobody holds it
//! in memory. No sockets. What must hold: while a request waits, nothing is read from its connection, so that whatever
//! follows it is still there for the HTTP server.

pub(crate) mod answer;
mod gaps;

use std::fmt::Debug;
use std::time::Duration;

use super::outbox::memory::{Charge, Meter};
use crate::tls::Link;
use answer::{Answer, Broken, Expired, Terms};

/// The largest answer that leaves whole: a socket takes it at once. Larger ones begin when they have so many bytes.
const WHOLE: usize = 32 << 10;

/// The headers of every answer.
pub(crate) const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
];

/// The HTTP connection that a long-poll is a request of.
pub(crate) trait Origin: Debug + Send {
    /// Whether the connection is kept for another request, as things are now.
    fn keeps(&self) -> bool;

    /// Takes the socket back, non-blocking. The place of the client is free.
    fn take_back(self: Box<Self>, link: Link, outcome: Outcome);
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is answered, but for these bytes: as a rule none. `keep`: another request may follow.
    Answered { rest: Vec<u8>, keep: bool },
    /// Nothing has been written: say why there is no answer.
    Refused(Broken),
}

/// A request that is to be answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub terms: Terms,
    /// Whether the client knows the chunked transfer coding (HTTP/1.1). Other connections must end with the answer.
    pub chunked: bool,
    pub origin: Box<dyn Origin>,
    /// Lines of the head that say which pages may read the answer.
    pub cors: Box<str>,
}

/// A long-poll under way. There is one only in connections that are one.
#[derive(Debug)]
pub(crate) struct Poll {
    answer: Answer,
    /// Text of the answer that has not been sent.
    body: String,
    charge: Charge,
    /// The head has been sent, and the body follows in pieces.
    begun: bool,
    chunked: bool,
    /// What the head says about the connection.
    keep: bool,
    origin: Box<dyn Origin>,
    cors: Box<str>,
    /// The earliest time at which a timer looks at it.
    pub timer_at: Option<Duration>,
}

impl Poll {
    /// A request that came at `now`, in the time of its shard. Its memory is charged to this meter.
    pub(crate) fn new(request: Request, meter: &Meter, now: Duration) -> Self {
        Self {
            answer: Answer::new(request.terms, now),
            body: String::new(),
            charge: Charge::new(meter),
            begun: false,
            chunked: request.chunked,
            keep: false,
            origin: request.origin,
            cors: request.cors,
            timer_at: None,
        }
    }

    /// Takes a push of the session.
    pub(crate) fn push(&mut self, push: &[u8], now: Duration) {
        if let Ok(push) = std::str::from_utf8(push) {
            self.answer.push(push, &mut self.body, now);
        }
    }

    /// Takes a live message.
    pub(crate) fn message(&mut self, message: &[u8], offset: u64, now: Duration) {
        if let Ok(message) = std::str::from_utf8(message) {
            self.answer.message(message, offset, &mut self.body, now);
        }
    }

    /// The session ends.
    pub(crate) fn cut(&mut self, reason: &str) {
        self.answer.cut(reason, &mut self.body);
    }

    /// Ends the answer with what it has, if that is worth anything.
    pub(crate) fn end_early(&mut self) {
        self.answer.end_early(&mut self.body);
    }

    /// The session has been sent everything up to an offset.
    pub(crate) fn reach(&mut self, offset: u64) {
        self.answer.reach(offset, &mut self.body);
    }

    /// When [`Poll::expire`] is to be called.
    pub(crate) fn until(&self) -> Option<Duration> {
        self.answer.until()
    }

    /// The time of the answer is over.
    pub(crate) fn expire(&mut self) -> Expired {
        self.answer.expire(&mut self.body)
    }

    /// Whether nothing is added any more.
    pub(crate) fn is_done(&self) -> bool {
        self.answer.is_done()
    }

    /// Whether its client has the beginning of an answer that will never be whole.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.begun && self.answer.broken().is_some()
    }

    /// Whether everything fits one write, so that the connection is done with at once.
    pub(crate) fn is_small(&self) -> bool {
        !self.begun && (self.body.len() <= WHOLE || self.answer.broken().is_some())
    }

    /// Charges the memory of what waits here.
    pub(crate) fn settle_charge(&mut self) {
        self.charge.set(self.body.capacity());
    }

    /// The next piece of a large answer, if it is worth sending.
    pub(crate) fn piece(&mut self) -> Option<Vec<u8>> {
        if self.body.len() <= WHOLE {
            return None;
        }
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.keep = self.chunked && self.keeps();
            self.write_head(None, &mut out);
        }
        self.write_body(&mut out);
        Some(out)
    }

    /// The end of the answer: all of it, if none has been sent.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.begun {
            if !self.body.is_empty() {
                self.write_body(&mut out);
            }
            if self.chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
            return out;
        }
        self.begun = true;
        self.keep = self.keeps();
        self.write_head(Some(self.body.len()), &mut out);
        out.append(&mut std::mem::take(&mut self.body).into_bytes());
        out
    }

    /// Gives the socket back. `rest`: what it has not taken of the answer.
    pub(crate) fn give_back(self, link: Link, rest: Vec<u8>) {
        let outcome = match self.answer.broken() {
            Some(broken) => Outcome::Refused(broken.clone()),
            None => Outcome::Answered { rest, keep: self.keep },
        };
        self.origin.take_back(link, outcome);
    }

    /// Whether there is nothing to write: the HTTP server says why.
    pub(crate) fn is_refused(&self) -> bool {
        self.answer.broken().is_some()
    }

    fn keeps(&self) -> bool {
        !self.answer.leaving && self.origin.keeps()
    }

    /// The status line and the headers. Without a length the body is chunked, or ends with the connection.
    fn write_head(&self, length: Option<usize>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        let header = |out: &mut Vec<u8>, name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        for (name, value) in HEADERS {
            header(out, name, value);
        }
        out.extend_from_slice(self.cors.as_bytes());
        if !self.keep {
            header(out, "connection", "close");
        }
        match length {
            Some(length) => header(out, "content-length", &length.to_string()),
            None if self.chunked => header(out, "transfer-encoding", "chunked"),
            None => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    fn write_body(&mut self, out: &mut Vec<u8>) {
        let body = std::mem::take(&mut self.body);
        if self.chunked {
            out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
        }
        out.append(&mut body.into_bytes());
        if self.chunked {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that is kept.
    #[derive(Debug)]
    struct Kept;

    impl Origin for Kept {
        fn keeps(&self) -> bool {
            true
        }

        fn take_back(self: Box<Self>, _: Link, _: Outcome) {}
    }

    /// A poll that has its acknowledgement, and a cursor at 1.
    fn poll(chunked: bool) -> Poll {
        let terms = Terms { begins: false, values: false, wait: Duration::from_secs(1) };
        let request = Request { terms, chunked, origin: Box::new(Kept), cors: CORS.into() };
        let mut poll = Poll::new(request, &Meter::default(), Duration::ZERO);
        poll.push(br#"{"type":"connection:established","epoch":"e"}"#, Duration::ZERO);
        let ack = br#"{"type":"subscription_ack","subscribed":["a"],"recovered":true,"offset":1}"#;
        poll.push(ack, Duration::ZERO);
        poll
    }

    const CORS: &str = "access-control-allow-origin: *\r\n";

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
                        x-content-type-options: nosniff\r\naccess-control-allow-origin: *\r\n";

    #[test]
    fn a_small_answer_is_one_piece_of_known_length() {
        let mut poll = poll(true);
        poll.message(b"{}", 2, Duration::ZERO);
        assert_eq!(poll.piece(), None);
        poll.end_early();
        assert!(poll.is_done() && poll.is_small());
        let body = r#"{"messages":[{}],"recovered":true,"cursor":"e:2"}"#;
        let length = body.len();
        assert_eq!(text(poll.end()), format!("{HEAD}content-length: {length}\r\n\r\n{body}"));
    }

    #[test]
    fn a_large_answer_is_chunked_and_of_http_1_0_ends_with_its_connection() {
        let large = format!("\"{}\"", "x".repeat(WHOLE));
        for chunked in [true, false] {
            let mut poll = poll(chunked);
            poll.message(large.as_bytes(), 2, Duration::ZERO);
            let body = format!(r#"{{"messages":[{large}"#);
            let piece = text(poll.piece().unwrap());
            poll.end_early();
            let rest = r#"],"recovered":true,"cursor":"e:2"}"#;
            if chunked {
                let (first, last) = (body.len(), rest.len());
                let head = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
                assert_eq!(piece, format!("{head}{first:x}\r\n{body}\r\n"));
                assert_eq!(text(poll.end()), format!("{last:x}\r\n{rest}\r\n0\r\n\r\n"));
            } else {
                assert_eq!(piece, format!("{HEAD}connection: close\r\n\r\n{body}"));
                assert_eq!(text(poll.end()), rest);
            }
        }
    }

    #[test]
    fn what_waits_in_an_answer_is_charged() {
        let meter = Meter::default();
        let mut poll = poll(true);
        poll.charge = Charge::new(&meter);
        poll.message(b"{}", 2, Duration::ZERO);
        poll.settle_charge();
        assert!(meter.bytes() > 0);
        drop(poll);
        assert_eq!(meter.bytes(), 0);
    }
}
