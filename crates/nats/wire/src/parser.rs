//! Reads what a server sends, in whatever pieces it comes.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{MAX_LINE, MAX_MESSAGE, Message, Op};

/// Memory taken for a message ahead of its bytes: most fit, and a length alone costs no more.
const AHEAD: usize = 1 << 20;

/// What breaks the framing: nothing behind it can be read, so the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A line without end.
    #[error("the server sent a line of more than {MAX_LINE} bytes")]
    LongLine,
    /// A message larger than anything a server should hold.
    #[error("the server sent a message of more than {MAX_MESSAGE} bytes")]
    LargeMessage,
    /// An operation that is not known, or whose arguments cannot be read.
    #[error("the server sent what is no operation of the NATS protocol")]
    Malformed,
}

/// Reader of one connection. It holds no bytes itself: they stay in the caller's buffer until they are complete.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes of the buffer that hold no end of line.
    scanned: usize,
    /// A message whose payload is not complete.
    head: Option<Head>,
}

#[derive(Debug)]
struct Head {
    subject: Bytes,
    sid: u64,
    reply: Option<Bytes>,
    header_len: usize,
    total_len: usize,
}

impl Parser {
    /// Takes the next operation out of the buffer, if it is complete.
    ///
    /// # Errors
    /// When the framing is broken. What is in the buffer is then undefined.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Op>, Violation> {
        if self.head.is_none() {
            let Some(line) = self.line(buffer)? else { return Ok(None) };
            match operation(&line)? {
                Parsed::Op(op) => return Ok(Some(op)),
                Parsed::Head(head) => self.head = Some(head),
            }
        }
        Ok(self.payload(buffer)?.map(Op::Message))
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Violation> {
        let fresh = buffer.get(self.scanned..).unwrap_or_default();
        let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = buffer.len();
            return if self.scanned > MAX_LINE { Err(Violation::LongLine) } else { Ok(None) };
        };
        let end = self.scanned + at;
        self.scanned = 0;
        if end > MAX_LINE {
            return Err(Violation::LongLine);
        }
        let mut line = buffer.split_to(end + 1);
        line.truncate(if line[..end].ends_with(b"\r") { end - 1 } else { end });
        Ok(Some(line.freeze()))
    }

    fn payload(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, Violation> {
        let Some(head) = &self.head else { return Ok(None) };
        let needed = head.total_len + 2;
        if buffer.len() < needed {
            buffer.reserve((needed - buffer.len()).min(AHEAD));
            return Ok(None);
        }
        let Some(head) = self.head.take() else { return Ok(None) };
        let mut payload = buffer.split_to(head.total_len).freeze();
        if !buffer.starts_with(b"\r\n") {
            return Err(Violation::Malformed);
        }
        buffer.advance(2);
        let header_block = payload.split_to(head.header_len);
        let Head { subject, sid, reply, .. } = head;
        Ok(Some(Message { subject, sid, reply, header_block, payload }))
    }
}

enum Parsed {
    Op(Op),
    Head(Head),
}

fn operation(line: &Bytes) -> Result<Parsed, Violation> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(space).unwrap_or(line.len());
    let (name, arguments) = (&line[..end], line.slice(end..));
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // The most frequent ones first.
    if is(b"MSG") {
        return head(&arguments, false).map(Parsed::Head);
    }
    if is(b"HMSG") {
        return head(&arguments, true).map(Parsed::Head);
    }
    Ok(Parsed::Op(if is(b"PING") {
        Op::Ping
    } else if is(b"PONG") {
        Op::Pong
    } else if is(b"+OK") {
        Op::Ok
    } else if is(b"-ERR") {
        let quoted = arguments.slice_ref(arguments.trim_ascii());
        let bare = quoted.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
        Op::Err(bare.map_or(quoted.clone(), |bare| quoted.slice_ref(bare)))
    } else if is(b"INFO") {
        Op::Info(arguments.slice_ref(arguments.trim_ascii()))
    } else {
        return Err(Violation::Malformed);
    }))
}

/// Reads `subject sid [reply] [header bytes] total bytes`.
fn head(arguments: &Bytes, with_headers: bool) -> Result<Head, Violation> {
    let space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words: [&[u8]; 5] = [&[]; 5];
    let mut count = 0;
    for word in arguments.split(space).filter(|word| !word.is_empty()) {
        *words.get_mut(count).ok_or(Violation::Malformed)? = word;
        count += 1;
    }
    let numbers = if with_headers { 2 } else { 1 };
    let reply = match count.checked_sub(2 + numbers) {
        Some(0) => None,
        Some(1) => Some(arguments.slice_ref(words[2])),
        _ => return Err(Violation::Malformed),
    };
    let total_len = number(words[count - 1])?;
    let header_len = if with_headers { number(words[count - 2])? } else { 0 };
    if header_len > total_len {
        return Err(Violation::Malformed);
    }
    if total_len > MAX_MESSAGE as u64 {
        return Err(Violation::LargeMessage);
    }
    Ok(Head {
        subject: arguments.slice_ref(words[0]),
        sid: number(words[1])?,
        reply,
        header_len: header_len as usize,
        total_len: total_len as usize,
    })
}

fn number(digits: &[u8]) -> Result<u64, Violation> {
    let malformed = digits.is_empty() || digits.len() > 19;
    digits
        .iter()
        .try_fold(0u64, |number, digit| match digit {
            b'0'..=b'9' if !malformed => Ok(number * 10 + u64::from(digit - b'0')),
            _ => Err(Violation::Malformed),
        })
        .and_then(|number| if malformed { Err(Violation::Malformed) } else { Ok(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything in the stream, fed in pieces of this size.
    fn read(stream: &[u8], size: usize) -> Result<Vec<Op>, Violation> {
        let (mut parser, mut buffer, mut ops) = (Parser::default(), BytesMut::new(), Vec::new());
        for piece in stream.chunks(size) {
            buffer.extend_from_slice(piece);
            while let Some(op) = parser.next(&mut buffer)? {
                ops.push(op);
            }
        }
        assert!(buffer.is_empty() && parser.head.is_none(), "all is consumed");
        Ok(ops)
    }

    fn message(subject: &[u8], reply: Option<&[u8]>, headers: &[u8], payload: &[u8]) -> Op {
        let bytes = Bytes::copy_from_slice;
        Op::Message(Message {
            subject: bytes(subject),
            sid: 7,
            reply: reply.map(bytes),
            header_block: bytes(headers),
            payload: bytes(payload),
        })
    }

    #[test]
    fn every_operation_is_read_whole_and_byte_by_byte() {
        let stream = b"INFO {\"a\":1} \r\nPING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n\
            MSG a.b 7 2\r\nhi\r\nMSG a 7 _INBOX.x 0\r\n\r\nHMSG a 7 12 14\r\nNATS/1.0\r\n\r\nhi\r\n\
            hmsg\ta\t7  r 12 12\r\nNATS/1.0\r\n\r\n\r\n";
        let expected = vec![
            Op::Info("{\"a\":1}".into()),
            Op::Ping,
            Op::Pong,
            Op::Ok,
            Op::Err("Stale Connection".into()),
            message(b"a.b", None, b"", b"hi"),
            message(b"a", Some(b"_INBOX.x"), b"", b""),
            message(b"a", None, b"NATS/1.0\r\n\r\n", b"hi"),
            message(b"a", Some(b"r"), b"NATS/1.0\r\n\r\n", b""),
        ];
        for size in [1, 2, 3, 7, stream.len()] {
            assert_eq!(read(stream, size).as_ref(), Ok(&expected), "in pieces of {size}");
        }
    }

    #[test]
    fn subjects_headers_and_payloads_are_any_bytes() {
        let stream = b"HMSG t.a\xff\x01 7 6 12\r\nx\ny: z\r\n\x00\r\n\xfe\r\n";
        let expected = [message(b"t.a\xff\x01", None, b"x\ny: z", b"\r\n\x00\r\n\xfe")];
        assert_eq!(read(stream, 5).unwrap(), expected);
    }

    #[test]
    fn broken_framing_is_refused() {
        for stream in [
            "HELLO\r\n",
            "\r\n",
            "MSG a 7\r\n",
            "MSG a 7 b c 1\r\n",
            "MSG a x 1\r\n",
            "MSG a 7 -1\r\n",
            "MSG a 7 99999999999999999999\r\n",
            "HMSG a 7 5 4\r\n",
            "HMSG a 7 4\r\n",
            "MSG a 7 1\r\nxyz",
        ] {
            assert_eq!(read(stream.as_bytes(), 64), Err(Violation::Malformed), "{stream}");
        }
        assert_eq!(read(b"MSG a 7 99999999999\r\n", 64), Err(Violation::LargeMessage));
        let endless = vec![b'x'; MAX_LINE + 2];
        assert_eq!(read(&endless, 1 << 16), Err(Violation::LongLine));
    }
}
