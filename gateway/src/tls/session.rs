//! One connection's TLS, without sockets: bytes in, plaintext and bytes out.
//!
//! rustls' unbuffered connection, which holds no buffer of its own: idle, a session owns its keys and nothing else. What
//! must hold: plaintext that was encrypted is never encrypted again, so that whoever writes here treats it as sent; and at
//! most a record waits in either direction.

use std::io::{self, IoSlice, Write};
use std::mem;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic,
};

/// Plaintext that is encrypted at once: one record. What a slow socket does not take of it waits encrypted.
pub(crate) const RECORD: usize = 16 << 10;

/// Room for what a record adds (TLS 1.2: 29 bytes), and for a change of keys on either side before it.
const OVERHEAD: usize = 128;

/// Bytes that may wait for the rest of a record, or of a ClientHello: the largest record of any version and its head.
const MOST_INCOMING: usize = (16 << 10) + (2 << 10) + 5;

/// The session is over: the peer broke the protocol, or there are no keys left. No text of rustls is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS: the connection broke the protocol")]
pub(crate) struct Broken;

/// The TLS of one connection.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// The beginning of a record.
    incoming: Vec<u8>,
    /// Records that the socket has not taken, and how much of them it has.
    outgoing: Vec<u8>,
    sent: usize,
    /// The peer says nothing more.
    ended: bool,
    /// We say nothing more.
    closed: bool,
    /// Nobody does: rustls must not be called again, since it may remember bytes that are gone.
    broken: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Session").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Session {
    /// The server's side of a connection that begins.
    pub(crate) fn accept(config: Arc<ServerConfig>) -> Result<Box<Self>, Broken> {
        let connection = UnbufferedServerConnection::new(config).map_err(|_| Broken)?;
        Ok(Box::new(Self {
            connection,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            ended: false,
            closed: false,
            broken: false,
        }))
    }

    /// Whether the handshake has not ended.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer has said that nothing follows.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Memory of what waits in either direction.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        (self.incoming.capacity(), self.outgoing.capacity())
    }

    /// Bytes that wait for the rest of their record.
    pub(crate) fn partial(&self) -> usize {
        self.incoming.len()
    }

    /// Bytes that wait for the socket.
    pub(crate) fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Takes bytes of the peer; adds what they say to `plain`. Afterwards something may wait for the socket, an alert too.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
        let received = self.try_receive(bytes, plain);
        self.broken |= received.is_err();
        received
    }

    fn try_receive(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Broken> {
        if self.broken {
            return Err(Broken);
        }
        if self.incoming.is_empty() {
            let used = self.process(bytes, plain)?;
            self.incoming.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut all = mem::take(&mut self.incoming);
            all.extend_from_slice(bytes);
            let used = self.process(&mut all, plain)?;
            self.incoming = all;
            self.discard(used);
        }
        if self.incoming.len() > MOST_INCOMING { Err(Broken) } else { Ok(()) }
    }

    /// So many bytes that came are done with.
    fn discard(&mut self, count: usize) {
        drop(self.incoming.drain(..count));
        if self.incoming.is_empty() {
            // Idle, nothing is held.
            self.incoming = Vec::new();
        }
    }

    /// Acts on every whole record; returns how many bytes are done with.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Broken> {
        let Self { connection, outgoing, ended, .. } = self;
        let mut used = 0;
        loop {
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let (step, discard) = read(connection, rest, outgoing, plain);
            used += discard;
            match step {
                Step::Again => {}
                Step::PeerClosed => *ended = true,
                Step::Idle => return Ok(used),
                Step::Failed => {
                    // What rustls has to say of it leaves before the end: an alert, behind what it had said before.
                    say_all(connection, bytes.get_mut(used..).unwrap_or_default(), outgoing);
                    return Err(Broken);
                }
            }
        }
    }

    /// Encrypts the beginning of what is to be sent, a record at most, behind what waits. Returns how much that is.
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> Result<usize, Broken> {
        let plain = plain.get(..RECORD).unwrap_or(plain);
        if !plain.is_empty() {
            self.write(plain.len() + OVERHEAD, |traffic, out| traffic.encrypt(plain, out))?;
        }
        Ok(plain.len())
    }

    /// Says that nothing follows, once.
    pub(crate) fn close(&mut self) {
        if !mem::replace(&mut self.closed, true) {
            // Without it the connection ends all the same.
            let _closed = self.write(2 + OVERHEAD, |traffic, out| traffic.queue_close_notify(out));
        }
    }

    /// Writes into so much room, after everything that rustls has to say before.
    fn write<E>(
        &mut self,
        room: usize,
        mut write: impl FnMut(&mut Writer<'_>, &mut [u8]) -> Result<usize, E>,
    ) -> Result<(), Broken> {
        while !self.broken {
            let Self { connection, incoming, outgoing, .. } = self;
            // Of the beginning of a record rustls may remember something: it must see the same bytes again.
            let (step, discard) = put(connection, incoming, outgoing, (room, &mut write));
            self.discard(discard);
            match step {
                Step::Again => {}
                Step::PeerClosed => self.ended = true,
                Step::Idle => return Ok(()),
                Step::Failed => self.broken = true,
            }
        }
        Err(Broken)
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// Any error of the socket but `WouldBlock`.
    pub(crate) fn send(&mut self, mut socket: impl Write) -> io::Result<()> {
        while self.waiting() > 0 {
            match socket.write(self.unsent()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What waits for the socket.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// The socket has taken so many bytes.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.outgoing.len() {
            // Idle, nothing is held.
            (self.outgoing, self.sent) = (Vec::new(), 0);
        }
    }

    /// A writer of plaintext over a socket.
    pub(crate) fn over<'a, W: Write>(&'a mut self, socket: &'a mut W) -> Encrypting<'a, W> {
        Encrypting { session: self, socket }
    }
}

/// Writes plaintext as a socket does: it takes what it can, and blocks while something waits. What it has taken may wait
/// encrypted, see [`Session::waiting`].
pub(crate) struct Encrypting<'a, W> {
    session: &'a mut Session,
    socket: &'a mut W,
}

impl<W: Write> Write for Encrypting<'_, W> {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        loop {
            self.session.send(&mut *self.socket)?;
            let rest = plain.get(written..).unwrap_or_default();
            if self.session.waiting() > 0 || rest.is_empty() {
                break;
            }
            written += self.session.encrypt(rest).map_err(io::Error::other)?;
        }
        match written {
            0 if !plain.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(written),
        }
    }

    /// Frames that leave together share a record.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut slices = slices.iter().filter(|slice| !slice.is_empty()).peekable();
        let Some(first) = slices.next() else { return Ok(0) };
        if slices.peek().is_none() || first.len() >= RECORD {
            return self.write(first);
        }
        self.session.send(&mut *self.socket)?;
        if self.session.waiting() > 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut record = first.to_vec();
        for slice in slices {
            let room = RECORD - record.len();
            record.extend_from_slice(slice.get(..room).unwrap_or(slice));
            if record.len() == RECORD {
                break;
            }
        }
        self.write(&record)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.session.send(&mut *self.socket)
    }
}

/// What lets plaintext be written.
type Writer<'a> = WriteTraffic<'a, ServerConnectionData>;

/// What one call of rustls came to.
enum Step {
    /// There may be more.
    Again,
    /// The peer says nothing more; there may be more for it.
    PeerClosed,
    /// Nothing is left to be done; what was to be written is.
    Idle,
    Failed,
}

/// Lets rustls act on bytes of the peer once. Returns how many of them are done with.
fn read(
    connection: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    outgoing: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> (Step, usize) {
    let UnbufferedStatus { mut discard, state } = connection.process_tls_records(bytes);
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut step = Step::Again;
            while let Some(record) = traffic.next_record() {
                let Ok(record) = record else {
                    step = Step::Failed;
                    break;
                };
                plain.extend_from_slice(record.payload);
                discard += record.discard;
            }
            step
        }
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Step::Again
        }
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        Ok(
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed,
        ) => Step::Idle,
        // Early data is off, and a state that is not known means nothing good.
        Ok(_) | Err(_) => Step::Failed,
    };
    (step, discard)
}

/// Takes everything that rustls has to say after an error, and has it read nothing more.
fn say_all(connection: &mut UnbufferedServerConnection, bytes: &mut [u8], outgoing: &mut Vec<u8>) {
    while connection.wants_write() {
        let (step, _) = read(connection, bytes, outgoing, &mut Vec::new());
        if !matches!(step, Step::Again) {
            return;
        }
    }
}

/// Lets rustls write once, into so much room; `incoming` is the beginning of a record.
fn put<E>(
    connection: &mut UnbufferedServerConnection,
    incoming: &mut [u8],
    outgoing: &mut Vec<u8>,
    (room, write): (usize, &mut impl FnMut(&mut Writer<'_>, &mut [u8]) -> Result<usize, E>),
) -> (Step, usize) {
    let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
    let step = match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            match append(outgoing, room, |out| write(&mut traffic, out)) {
                true => Step::Idle,
                false => Step::Failed,
            }
        }
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Step::Again
        }
        Ok(ConnectionState::PeerClosed) => Step::PeerClosed,
        Ok(_) | Err(_) => Step::Failed,
    };
    (step, discard)
}

/// Adds a record of the handshake.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) -> Step {
    let needed = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Step::Failed,
    };
    match append(outgoing, needed, |out| data.encode(out)) {
        true => Step::Again,
        false => Step::Failed,
    }
}

/// Lets something be written behind `outgoing`, into so much room; false if it did not fit.
fn append<E>(
    outgoing: &mut Vec<u8>,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> bool {
    let start = outgoing.len();
    outgoing.resize(start + room, 0);
    let written = write(outgoing.get_mut(start..).unwrap_or_default()).ok();
    outgoing.truncate(start + written.unwrap_or(0));
    written.is_some()
}
