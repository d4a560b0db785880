//! What a NATS server sends, in any cut.

use bytes::BytesMut;
use wsgateway_nats_wire::{Headers, Op, Parser, Violation};

/// The first byte chooses the size of the reads; the rest is the stream.
///
/// The stream must be read alike whole and in pieces, and whatever is read must come from it; headers of any bytes can
/// be asked for.
pub fn nats(data: &[u8]) {
    let (flags, stream) = crate::split(data);
    let whole = read(stream, stream.len().max(1));
    let pieces = read(stream, usize::from(flags) + 1);
    assert_eq!(whole, pieces, "another cut, other operations");
    let mut total = 0;
    for op in &whole.0 {
        if let Op::Message(message) = op {
            total += message.subject.len() + message.header_block.len() + message.payload.len();
            assert!(!message.subject.is_empty());
            ask(message.headers());
        }
    }
    assert!(total <= stream.len(), "more than there was");
    ask(Headers::new(stream));
}

fn ask(headers: Headers<'_>) {
    let _ = (headers.status(), headers.description());
    for name in ["Nats-Sequence", "", "A"] {
        if let Some(value) = headers.last(name) {
            assert!(!value.ends_with(b" "), "a value is trimmed");
        }
    }
}

fn read(stream: &[u8], size: usize) -> (Vec<Op>, Option<Violation>) {
    let (mut parser, mut buffer, mut ops) = (Parser::default(), BytesMut::new(), Vec::new());
    for piece in stream.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => break,
                Err(violation) => return (ops, Some(violation)),
            }
        }
        assert!(buffer.len() <= stream.len(), "only what is not complete is held");
    }
    (ops, None)
}
