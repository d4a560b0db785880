//! How a connection ends: politely, with a close frame, or at once.

use std::net::Shutdown;

use wsgateway_proto::frame;

use super::clock::ticks;
use super::wheel::{Deadline, Timer};
use super::{CLOSE_TIMEOUT, Clients, active, secured};
use crate::admission::Permit;
use crate::conn::due::List;
use crate::conn::{CLOSED, Connection, Phase};
use crate::disconnects::{Disconnects, Ending};
use crate::time::unix_ms_u64;

impl Clients {
    /// Ends a connection politely: nothing but the close frame follows what was begun.
    pub(crate) fn close(&mut self, conn: u32, code: u16, reason: &str) {
        if self.get(conn).is_some_and(|connection| connection.form.is_poll()) {
            return self.close_poll(conn, code, reason);
        }
        let tick = self.clock.tick;
        let Some(connection) = self.get_mut(conn).filter(|connection| connection.is_open()) else {
            return;
        };
        connection.phase = Phase::Closing;
        // Its user may come back at once.
        if let Some(permit) = &mut connection.permit {
            permit.leave_user();
        }
        connection.close_by = tick + ticks(CLOSE_TIMEOUT);
        connection.stamp = CLOSED;
        connection.due = List::default();
        let (timer, deadline) = (Timer { conn, serial: connection.serial }, connection.close_by);
        drop(self.take_decoder(conn));
        // A client that is sent elsewhere still gets what was due before: the time for it is bounded, as its amount is.
        if code != 1012 {
            self.keep_started(conn);
        }
        self.totals.count_close(code);
        self.ended.push_back(conn);
        self.wheel.insert(timer, Deadline::Liveness, deadline);
        self.send(conn, |out| frame::close(out, code, reason));
        if self.get(conn).is_some_and(|connection| !connection.is_blocked()) {
            self.finish_output(conn);
        }
    }

    /// Closes connections that their users have too many; `numbers` of their places are sorted.
    pub(crate) fn close_users(&mut self, numbers: &[u32]) {
        let is_named = |connection: &Connection| {
            let user = connection.permit.as_ref().and_then(Permit::user);
            user.is_some_and(|place| numbers.binary_search(&place.number()).is_ok())
        };
        let named: Vec<u32> = self
            .open()
            .filter(|(_, connection)| is_named(connection))
            .map(|(conn, _)| conn)
            .collect();
        for conn in named {
            self.close(conn, 4010, "too many connections of this user");
        }
    }

    /// Closes the connections that disconnects name; how many those were.
    pub(crate) fn disconnect(&mut self, disconnects: &Disconnects) -> usize {
        if disconnects.len() == 0 {
            return 0;
        }
        let now_ms = unix_ms_u64();
        let ending = |connection: &Connection| {
            disconnects.ending(&connection.identity.as_ref()?.grant, now_ms)
        };
        let named: Vec<(u32, Ending)> = self
            .open()
            .filter_map(|(conn, connection)| Some((conn, ending(connection)?)))
            .collect();
        for (conn, ending) in &named {
            let (code, reason) = ending.close();
            self.close(*conn, code, reason);
        }
        named.len()
    }

    /// Drops what waits for a connection, but for the rest of a frame that has begun.
    fn keep_started(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let before = outbox.cost();
        outbox.keep_started();
        self.totals.outbox_bytes -= (before - outbox.cost()) as u64;
        if outbox.is_empty() {
            connection.outbox = None;
            self.totals.outboxes -= 1;
        }
    }

    /// Everything is out: tells the client that nothing follows, and waits for it to hang up.
    pub(super) fn finish_output(&mut self, conn: u32) {
        let Some(connection) = self.get_mut(conn) else { return };
        if connection.form.is_poll() {
            return self.detach(conn);
        }
        if connection.tls.is_some() && !self.close_session(conn) {
            return; // what is left of it comes first
        }
        let Some(connection) = self.get_mut(conn) else { return };
        if connection.stream.shutdown(Shutdown::Write).is_err() {
            self.remove(conn, 1006);
        }
    }

    /// Ends a connection at once. Its socket is closed with the release of its slot.
    pub(crate) fn remove(&mut self, conn: u32, code: u16) {
        drop(self.take_decoder(conn));
        let Some(connection) = active(&mut self.connections, conn) else { return };
        if connection.is_open() {
            self.totals.count_close(code);
        }
        end(connection);
        secured::say_goodbye(connection);
        if let Some(outbox) = connection.outbox.take() {
            self.totals.outbox_bytes -= outbox.cost() as u64;
            self.totals.outboxes -= 1;
        }
        self.ended.push_back(conn);
        if let Err(error) = self.registry.deregister(&mut connection.stream) {
            tracing::debug!(%error, "deregistering a closed socket");
        }
    }
}

/// Nothing is read from it and nothing is due to it any more.
fn end(connection: &mut Connection) {
    connection.phase = Phase::Ended;
    connection.stamp = CLOSED;
    connection.due = List::default();
    connection.poll = None;
}
