//! A second opinion: tungstenite reads the same frames.
//!
//! Where it differs on purpose, the sequences here leave the matter out, and the tables of the
//! decoder hold it: it puts up with lengths that are not in their shortest form, which RFC 6455
//! section 5.2 forbids; it refuses close code 1014, which IANA has assigned since; it keeps no
//! count of fragments; and it reports a close code that may not be sent as code 1002 with a
//! reason of its own, where we report a violation.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use proptest::sample::select;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};
use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

const MESSAGE_BYTES: usize = 300;
const LIMITS: Limits = Limits { message_bytes: MESSAGE_BYTES, fragments: u32::MAX, deflate: false };

/// What a reader makes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Refused,
}

fn ours(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let (mut decoder, mut input, mut pos) = (Decoder::new(role), bytes.to_vec(), 0);
    let mut seen = Vec::new();
    loop {
        seen.push(match decoder.next(&mut input, &mut pos, &LIMITS) {
            Ok(None) => return seen,
            Ok(Some(Event::Text(text))) => Seen::Text(text.into()),
            Ok(Some(Event::Binary(bytes))) => Seen::Binary(bytes.into()),
            Ok(Some(Event::Deflated(..))) => unreachable!("compression was not agreed on"),
            Ok(Some(Event::Ping(bytes))) => Seen::Ping(bytes.into()),
            Ok(Some(Event::Pong(bytes))) => Seen::Pong(bytes.into()),
            Ok(Some(Event::Close(close))) => Seen::Close(close.map(|c| (c.code, c.reason.into()))),
            Err(_) => {
                seen.push(Seen::Refused);
                return seen;
            }
        });
    }
}

/// Bytes to read; what is written is dropped.
struct Stream(Cursor<Vec<u8>>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(role: Role, bytes: &[u8]) -> Vec<Seen> {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let stream = Stream(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, role, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.as_str().into()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(bytes)) => Seen::Pong(bytes.to_vec()),
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                Seen::Refused
            }
            Ok(Message::Close(close)) => {
                Seen::Close(close.map(|c| (c.code.into(), c.reason.as_str().into())))
            }
            Ok(Message::Frame(_)) => unreachable!("frames are not read raw"),
            // The end of the bytes, with or without a close frame before.
            Err(Error::ConnectionClosed)
            | Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return seen,
            Err(_) => Seen::Refused,
        });
        if matches!(seen.last(), Some(Seen::Refused | Seen::Close(_))) {
            return seen;
        }
    }
}

/// One frame, good or bad.
#[derive(Clone, Debug)]
struct Sent {
    first: u8,
    wrong_mask: bool,
    payload: Vec<u8>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let opcode = prop_oneof![
        12 => select(vec![0x0u8, 0x1, 0x2]),
        4 => select(vec![0x8u8, 0x9, 0xA]),
        1 => 0..16u8,
    ];
    let bits = prop_oneof![30 => Just(0u8), 1 => 1..8u8];
    let payload = prop_oneof![
        6 => ".{0,20}".prop_map(String::into_bytes),
        // Pieces of characters, which make whole ones with some luck.
        4 => select(vec![&b"\xE2"[..], b"\x82", b"\xAC", b"\xE2\x82", b"\x82\xAC", b"", b"a\xE2"])
            .prop_map(<[u8]>::to_vec),
        2 => prop::collection::vec(any::<u8>(), 0..140),
        1 => prop::collection::vec(b'a'..=b'z', 120..=MESSAGE_BYTES + 5),
        2 => (900..1_020u16, "[a-z]{0,5}").prop_map(|(code, reason)| close(code, &reason)),
        1 => (any::<u16>(), "[a-z]{0,5}").prop_map(|(code, reason)| close(code, &reason)),
    ];
    (opcode, bits, prop::bool::weighted(0.8), prop::bool::weighted(0.02), payload)
        .prop_map(|(opcode, bits, fin, wrong_mask, payload)| Sent {
            first: u8::from(fin) << 7 | bits << 4 | opcode,
            wrong_mask,
            payload,
        })
        .prop_filter("1014 has been assigned since", |sent| {
            !(sent.first & 0x0F == 0x8 && sent.payload.starts_with(&1014u16.to_be_bytes()))
        })
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

fn encode(role: Role, frames: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    for Sent { first, wrong_mask, payload } in frames {
        let start = out.len();
        match (role == Role::Server) != *wrong_mask {
            true => frame::write_masked(&mut out, Opcode::Text, payload, [1, 2, 3, 4]),
            false => frame::write(&mut out, Opcode::Text, payload),
        }
        out[start] = *first;
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_sequence_of_frames_is_read_alike_or_refused_by_both(
        frames in prop::collection::vec(sent(), 0..12),
        client: bool,
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let bytes = encode(role, &frames);
        prop_assert_eq!(ours(role, &bytes), theirs(role, &bytes));
    }

    #[test]
    fn what_tungstenite_writes_is_read_and_what_is_written_is_read_by_it(
        messages in prop::collection::vec(message(), 0..8),
        client: bool,
    ) {
        // The reader's role; the writer has the other.
        let (role, writer) = match client {
            true => (Role::Client, TheirRole::Server),
            false => (Role::Server, TheirRole::Client),
        };
        let mut socket = WebSocket::from_raw_socket(Cursor::new(Vec::new()), writer, None);
        let mut bytes = Vec::new();
        for (theirs, opcode, payload) in &messages {
            socket.write(theirs.clone()).unwrap();
            match role {
                Role::Server => frame::write_masked(&mut bytes, *opcode, payload, [9, 8, 7, 6]),
                Role::Client => frame::write(&mut bytes, *opcode, payload),
            }
        }
        socket.flush().unwrap();
        let written = socket.get_ref().get_ref();
        prop_assert_eq!(ours(role, written), theirs(role, &bytes));
        prop_assert_eq!(written.len(), bytes.len());
    }
}

fn message() -> impl Strategy<Value = (Message, Opcode, Vec<u8>)> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..=most);
    prop_oneof![
        "[a-z€]{0,90}".prop_map(|t| (Message::text(t.clone()), Opcode::Text, t.into_bytes())),
        bytes(MESSAGE_BYTES).prop_map(|b| (Message::binary(b.clone()), Opcode::Binary, b)),
        bytes(125).prop_map(|b| (Message::Ping(b.clone().into()), Opcode::Ping, b)),
        bytes(125).prop_map(|b| (Message::Pong(b.clone().into()), Opcode::Pong, b)),
    ]
}
