//! Long-polls among the connections of a shard: what is sent to one goes into its answer, and the socket goes back to the
//! HTTP server with it.
//!
//! Times of less than a tick, which end most answers, have a line of their own; all others are timers of the wheel.

use std::time::Duration;

use wsgateway_proto::frame::{self, Opcode};

use super::clock::tick_at;
use super::output::{Written, write};
use super::wheel::{Deadline, Timer};
use super::{Clients, active};
use crate::conn::due::{List, NONE};
use crate::conn::poll::answer::{Expired, GATHER};
use crate::conn::poll::{Poll, Request};
use crate::conn::{CLOSED, Connection, Phase};
use crate::tls::Link;

impl Clients {
    /// Makes a new connection answer a request.
    pub(crate) fn begin_poll(&mut self, conn: u32, request: Request) {
        let now = self.now();
        let meter = &self.outbox_memory;
        if let Some(connection) = active(&mut self.connections, conn) {
            connection.poll = Some(Box::new(Poll::new(request, meter, now)));
        }
    }

    /// Adds frames to the answer of a long-poll.
    pub(super) fn answer_frames(&mut self, conn: u32, frames: &[u8]) {
        if !self.flush_before(conn) {
            return;
        }
        let now = self.now();
        let Some(poll) = self.poll_mut(conn) else { return };
        for (opcode, payload) in frame::split(frames) {
            if opcode == Opcode::Text {
                poll.push(payload, now);
            }
        }
        self.continue_poll(conn);
    }

    /// Adds due messages, from a link on, to the answer of a long-poll. What it has no room for is left to the next one.
    pub(super) fn answer_due(&mut self, conn: u32, mut link: u32) {
        let now = self.now();
        let Self { connections, due, totals, .. } = self;
        let connection = active(connections, conn).filter(|connection| connection.is_open());
        let Some(poll) = connection.and_then(|connection| connection.poll.as_deref_mut()) else {
            return;
        };
        while link != NONE
            && !poll.is_done()
            && let Some((delivery, next)) = due.message(link)
        {
            if let Some(gap) = delivery.gap_body() {
                poll.push(gap, now);
            }
            poll.message(delivery.body(), delivery.offset, now);
            totals.deliveries += 1;
            totals.delivered_bytes += delivery.body().len() as u64;
            link = next;
        }
        self.continue_poll(conn);
    }

    /// Tells a long-poll that everything up to `offset` has been sent.
    pub(super) fn answer_position(&mut self, conn: u32, offset: u64) {
        if self.flush_before(conn)
            && let Some(poll) = self.poll_mut(conn)
        {
            poll.reach(offset);
            self.continue_poll(conn);
        }
    }

    /// Ends a long-poll with what it has. What it has begun and cannot end well breaks off, so that no client takes it for
    /// whole; so does what waits for a client that reads too slowly (4008), whose memory is needed.
    pub(super) fn close_poll(&mut self, conn: u32, code: u16, reason: &str) {
        let Some(connection) = self.get_mut(conn).filter(|connection| connection.is_open()) else {
            return;
        };
        let blocked = connection.is_blocked();
        let Some(poll) = connection.poll.as_mut() else { return };
        poll.cut(reason);
        match poll.is_spoilt() || blocked && code == 4008 {
            true => self.remove(conn, code),
            false => self.finish_poll(conn, code),
        }
    }

    /// When the next answer ends that is not worth a timer (µs of the clock).
    pub(crate) fn answer_at_us(&self) -> Option<u64> {
        self.gathering.front().map(|(at, _)| u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
    }

    /// Ends the answers whose time has come.
    pub(crate) fn end_answers(&mut self) {
        let now = self.now();
        while let Some((_, timer)) = self.gathering.pop_front_if(|(at, _)| *at <= now) {
            self.answer_over(timer);
        }
    }

    /// The time of an answer may be over.
    pub(super) fn answer_over(&mut self, timer: Timer) {
        let (conn, now) = (timer.conn, self.now());
        if !self.is_current_and_open(timer) || !self.flush_before(conn) {
            return;
        }
        let Some(poll) = self.poll_mut(conn) else { return };
        poll.timer_at = None;
        if poll.until().is_some_and(|until| until <= now) && poll.expire() == Expired::NeedsPosition
        {
            self.silent.push_back(conn);
        }
        self.continue_poll(conn);
    }

    /// Everything of a long-poll is out: its socket goes back with the release of its slot.
    pub(super) fn detach(&mut self, conn: u32) {
        let Some(connection) = active(&mut self.connections, conn) else { return };
        connection.phase = Phase::Ended;
        self.ended.push_back(conn);
        if let Err(error) = self.registry.deregister(&mut connection.stream) {
            tracing::debug!(%error, "deregistering the socket of a long-poll");
            connection.poll = None;
        }
    }

    /// Sends what is worth sending after something was added, or ends the answer.
    fn continue_poll(&mut self, conn: u32) {
        let full = self.outbox_memory.bytes() > self.settings.bounds.per_shard;
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let blocked = connection.is_blocked();
        let Some(poll) = connection.poll.as_deref_mut().filter(|_| connection.phase == Phase::Open)
        else {
            return;
        };
        if blocked || full {
            poll.end_early();
        }
        let piece = if poll.is_done() { None } else { poll.piece() };
        poll.settle_charge();
        if let Some(piece) = piece {
            self.send_piece(conn, &piece);
        }
        match self.poll_mut(conn) {
            None => {}
            Some(poll) if poll.is_done() => self.finish_poll(conn, 1000),
            Some(_) => self.watch_answer(conn),
        }
    }

    /// Sends a piece of a large answer. A client that does not take it at once gets no more in this answer, so that little
    /// waits for it here.
    fn send_piece(&mut self, conn: u32, piece: &[u8]) {
        let was_blocked = self.get(conn).is_some_and(Connection::is_blocked);
        self.send_raw(conn, piece);
        let tick = self.clock.tick;
        let Some(connection) = self.get_mut(conn).filter(|connection| connection.is_blocked())
        else {
            return;
        };
        if !was_blocked {
            connection.heard = tick;
        }
        if let Some(poll) = &mut connection.poll {
            poll.end_early();
        }
    }

    /// Nothing is added to an answer any more: nothing is delivered, and what is left of it leaves.
    fn finish_poll(&mut self, conn: u32, code: u16) {
        let close_by = self.clock.tick.saturating_add(self.settings.heartbeat.longest_silence());
        let Some(connection) = self.get_mut(conn).filter(|connection| connection.is_open()) else {
            return;
        };
        connection.stamp = CLOSED;
        connection.due = List::default();
        connection.phase = Phase::Closing;
        connection.close_by = close_by;
        let timer = Timer { conn, serial: connection.serial };
        let Some(poll) = &mut connection.poll else { return };
        let end = if poll.is_small() { None } else { Some(poll.end()) };
        poll.settle_charge();
        self.totals.count_close(code);
        let Some(end) = end else { return self.detach(conn) };
        // Its place is held until the last byte is out; its subscriptions are not.
        self.ended.push_back(conn);
        self.wheel.insert(timer, Deadline::Liveness, close_by);
        self.send_raw(conn, &end);
        if self.get(conn).is_some_and(|connection| !connection.is_blocked()) {
            self.detach(conn);
        }
    }

    /// Has a timer look at an answer when its time is over, if none does so before.
    fn watch_answer(&mut self, conn: u32) {
        let now = self.now();
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let timer = Timer { conn, serial: connection.serial };
        let Some(poll) = &mut connection.poll else { return };
        let Some(until) = poll.until() else { return };
        if poll.timer_at.is_some_and(|at| at <= until) {
            return;
        }
        poll.timer_at = Some(until);
        if until <= now + GATHER {
            return self.gathering.push_back((until, timer));
        }
        self.wheel.insert(timer, Deadline::Answer, tick_at(until));
    }

    /// The answer of a connection that is open.
    fn poll_mut(&mut self, conn: u32) -> Option<&mut Poll> {
        let connection = self.get_mut(conn).filter(|connection| connection.is_open())?;
        connection.poll.as_deref_mut()
    }

    /// The time of the shard.
    fn now(&self) -> Duration {
        Duration::from_micros(self.clock.now_us)
    }
}

/// Gives the socket of a long-poll back to the HTTP server. Its place is free before the client has its answer, which it
/// may follow with its next request at once. Returns the writes that it took.
pub(super) fn give_back(connection: Connection) -> u64 {
    let Connection { mut stream, mut tls, poll, permit, .. } = connection;
    let Some(mut poll) = poll else { return 0 };
    drop(permit);
    let end = if poll.is_small() && !poll.is_refused() { poll.end() } else { Vec::new() };
    let written = match end.is_empty() {
        true => Written::All,
        false => write(&mut stream, &mut tls, &end),
    };
    let rest = match written {
        // What is encrypted goes with the socket.
        Written::All | Written::Encrypted => Vec::new(),
        Written::Part(written) => end.get(written..).unwrap_or_default().to_vec(),
        Written::Failed => return 1,
    };
    poll.give_back(Link { stream: stream.into(), session: tls }, rest);
    u64::from(!end.is_empty())
}
