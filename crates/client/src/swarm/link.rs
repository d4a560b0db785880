//! The way to the server: a socket, or TLS on one.
//!
//! Both are read and written as a socket that does not block is: what cannot go on says [`WouldBlock`](io::ErrorKind::WouldBlock),
//! and what has been busy for long enough [`Interrupted`](io::ErrorKind::Interrupted).
//! A fault of TLS is [`InvalidData`](io::ErrorKind::InvalidData).

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// Pieces of TLS, of 4 KiB each, that one read takes in while none of them holds data: enough for the largest record. A server
/// that sends nothing else, such as tickets without end, holds up neither the other connections nor the deadline of its own.
const ROUNDS: usize = 5;

/// TLS with a server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What certificates are held against, and versions.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must be for.
    pub name: ServerName<'static>,
}

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Link {
    pub(super) fn new(socket: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        let begin = |tls: &Tls| ClientConnection::new(Arc::clone(&tls.config), tls.name.clone());
        let session = tls.map(begin).transpose().map_err(fault)?;
        Ok(Self { socket, session: session.map(Box::new) })
    }

    /// Whether a short read may leave bytes behind, which no event of the socket will tell of.
    pub(super) fn keeps_bytes(&self) -> bool {
        self.session.is_some()
    }

    /// Says that nothing more will be written.
    pub(super) fn finish(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        // The server may be gone already.
        let _ = self.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Read for Link {
    fn read(&mut self, input: &mut [u8]) -> io::Result<usize> {
        let Self { socket, session: Some(session) } = self else { return self.socket.read(input) };
        for _ in 0..ROUNDS {
            match session.reader().read(input) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An end without a word of TLS is an end; what is missing shows above.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let ended = session.read_tls(socket)? == 0;
            let outcome = session.process_new_packets();
            // Parts of the handshake, and the alert that says what is wrong. A server that takes none shows by reading.
            let _ = write_waiting(session, socket);
            outcome.map_err(fault)?;
            if ended && session.is_handshaking() {
                return Ok(0);
            }
        }
        // There may be more, once others had their turn.
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { socket, session: Some(session) } = self else { return self.socket.write(bytes) };
        let count = session.writer().write(bytes)?;
        match write_waiting(session, socket) {
            Err(error) if !is_later(&error) => Err(error),
            // The session keeps as much as it may.
            _ if count == 0 && !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => write_waiting(session, &mut self.socket),
            None => Ok(()),
        }
    }
}

/// Gives the socket what the session wants to send.
fn write_waiting(session: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}

/// Before it is connected, a socket takes nothing.
fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

fn fault(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
