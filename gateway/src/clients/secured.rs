//! Connections with TLS among the others: what differs for them, so that nothing does for those without.
//!
//! What was encrypted and is not taken by the socket waits in the session and counts in the outbox, so that every rule for
//! slow clients holds. The beginning of a record counts with the unfinished messages.

use std::io::{self, Write as _};

use mio::net::TcpStream;

use super::output::Written;
use super::{Clients, active};
use crate::conn::Connection;
use crate::conn::outbox::Outbox;
use crate::tls::{Broken, Session};

/// What bytes of a client were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// It goes on.
    Open,
    /// Nothing follows.
    Ended,
    /// It broke the protocol.
    Broken,
}

impl Clients {
    /// Takes the session of a new connection into account: what has begun in it, and what it has still to send. False when
    /// that closed the connection.
    pub(super) fn begin_session(&mut self, conn: u32) -> bool {
        let Some(session) = self.session(conn) else { return true };
        let (partial, waiting) = (session.partial(), session.waiting());
        self.unfinished.replace(0, partial);
        waiting == 0 || self.hold(conn)
    }

    /// The slot of a connection is released.
    pub(super) fn end_session(&mut self, conn: u32) {
        let session = self.connections.get(conn as usize).and_then(|one| one.tls.as_ref());
        if let Some(partial) = session.map(|session| session.partial()) {
            self.unfinished.replace(partial, 0);
        }
    }

    fn session(&mut self, conn: u32) -> Option<&mut Session> {
        active(&mut self.connections, conn)?.tls.as_deref_mut()
    }

    /// Adds what bytes of a client say to `plain`.
    pub(crate) fn decrypt(&mut self, conn: u32, bytes: &mut [u8], plain: &mut Vec<u8>) -> Received {
        let Some(session) = self.session(conn) else { return Received::Open };
        let before = session.partial();
        let received = session.receive(bytes, plain);
        let (after, ended) = (session.partial(), session.has_ended());
        self.unfinished.replace(before, after);
        match received {
            Err(Broken) => Received::Broken,
            Ok(()) if ended => Received::Ended,
            Ok(()) => {
                self.bound_unfinished();
                Received::Open
            }
        }
    }

    /// Writes the end of a session; false while some of it waits for the socket, or if the connection is done with.
    pub(super) fn close_session(&mut self, conn: u32) -> bool {
        let Some(connection) = active(&mut self.connections, conn) else { return false };
        let Some(session) = &mut connection.tls else { return true };
        session.close();
        if session.send(&mut connection.stream).is_err() {
            self.remove(conn, 1006);
            return false;
        }
        if session.waiting() > 0 {
            self.hold(conn);
            return false;
        }
        true
    }
}

/// Says that nothing follows, or what the client did wrong, if the socket takes that at once.
pub(super) fn say_goodbye(connection: &mut Connection) {
    if let Some(session) = &mut connection.tls {
        session.close();
        let _sent = session.send(&mut connection.stream);
    }
}

/// Encrypts and writes as much as the socket takes, and a record more.
pub(super) fn write_all(session: &mut Session, stream: &mut TcpStream, bytes: &[u8]) -> Written {
    let written = session.over(stream).write(bytes);
    match written {
        Ok(written) if written < bytes.len() => Written::Part(written),
        Ok(_) if session.waiting() > 0 => Written::Encrypted,
        Ok(_) => Written::All,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Part(0),
        Err(_) => Written::Failed,
    }
}

/// Writes what waits, encrypted first.
pub(super) fn write_outbox(
    outbox: &mut Outbox,
    session: &mut Session,
    stream: &mut TcpStream,
) -> io::Result<()> {
    let written = outbox.write_to(session.over(stream)).and_then(|()| session.send(stream));
    outbox.set_encrypted(session.waiting());
    written
}
