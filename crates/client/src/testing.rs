//! A small server for the tests of this crate: one thread a connection, the server role of the
//! codec, and whatever a test wants it to say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use wsgateway_proto::decoder::{Decoder, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};
use wsgateway_proto::{handshake, v1};

use crate::Received;

/// Long enough for a loaded machine; only a failing test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits { message_bytes: 1 << 20, fragments: 64, deflate: false };

/// The server's end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
    input: Vec<u8>,
    position: usize,
}

/// Serves every connection by its number in the order of acceptance, until the process ends.
pub(crate) fn serve(script: impl Fn(usize, Peer) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let script = script.clone();
            let peer = Peer {
                stream: stream.unwrap(),
                decoder: Decoder::new(Role::Server),
                input: Vec::new(),
                position: 0,
            };
            thread::spawn(move || script(number, peer));
        }
    });
    addr
}

impl Peer {
    /// Reads a request head.
    pub(crate) fn request(&mut self) -> http::HeaderMap {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        let mut lines = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut lines);
        assert!(request.parse(&head).unwrap().is_complete());
        request
            .headers
            .iter()
            .map(|header| {
                let name: http::HeaderName = header.name.parse().unwrap();
                (name, http::HeaderValue::from_bytes(header.value).unwrap())
            })
            .collect()
    }

    /// Accepts the upgrade.
    pub(crate) fn upgrade(&mut self) -> http::HeaderMap {
        let headers = self.request();
        let offered = [v1::PROTOCOL];
        let (method, version) = (http::Method::GET, http::Version::HTTP_11);
        let accepted =
            handshake::check(&method, version, &headers, &offered, v1::PROTOCOL, false).unwrap();
        self.raw(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accepted.accept
            )
            .as_bytes(),
        );
        headers
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what a push or frame writer appends.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.raw(&out);
    }

    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.push(|out| frame::write(out, opcode, payload));
    }

    pub(crate) fn message(&mut self, channel: &str, offset: u64, prev: u64, payload: &str) {
        let payload = payload.as_bytes();
        self.raw(&v1::message(&v1::Message {
            channel,
            offset,
            prev,
            ts: 0,
            payload,
            deleted: None,
        }));
    }

    /// Waits for a subscribe command and acknowledges it.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        let Received::Text(text) = self.next() else { panic!("no command") };
        match v1::parse(&text) {
            Ok(v1::Command::Subscribe { id, channels, .. }) => {
                let channels: Vec<&str> = channels.iter().map(AsRef::as_ref).collect();
                let count = channels.len();
                let ack = v1::Ack {
                    id,
                    subscribed: &channels,
                    rejected: &[],
                    rejected_count: 0,
                    count,
                    recovered: None,
                    offset,
                };
                self.push(|out| v1::subscription_ack(out, &ack));
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the client sends next.
    pub(crate) fn next(&mut self) -> Received {
        loop {
            let event = self.decoder.next(&mut self.input, &mut self.position, &LIMITS).unwrap();
            if let Some(event) = event {
                return event.into();
            }
            self.position = 0;
            self.input.resize(4096, 0);
            let count = self.stream.read(&mut self.input).unwrap_or(0);
            self.input.truncate(count);
            if count == 0 {
                return Received::End;
            }
        }
    }

    /// Reads until the client hangs up.
    pub(crate) fn until_end(&mut self) {
        while self.next() != Received::End {}
    }
}
