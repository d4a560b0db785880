//! Writing: a connection's own frames, its outbox, and the verdict when it reads too slowly.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use mio::Interest;

use super::Shard;
use crate::conn::outbox::Outbox;
use crate::conn::slow::{Situation, Verdict};
use crate::conn::{Connection, Phase};
use crate::encode::Delivery;
use crate::hub::wheel::{Deadline, Timer};

/// Memory that the buffer of own frames keeps between two uses: one large answer is no reason to hold it for ever.
const CONTROL_KEPT: usize = 64 << 10;

/// How a write ended, in bytes of what was to be written.
pub(super) enum Written {
    All,
    Part(usize),
    Failed,
}

impl Shard {
    /// Sends a frame of the connection's own, behind everything produced for it before.
    pub(super) fn send(&mut self, conn: u32, build: impl FnOnce(&mut Vec<u8>)) {
        if self.connections.get(conn as usize).is_some_and(Connection::has_due) {
            self.flush_one(conn);
        }
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let control = &mut self.scratch.control;
        control.clear();
        build(control);
        let written = if connection.is_blocked() {
            Written::Part(0)
        } else {
            write_all(&mut connection.stream, control)
        };
        let rest = match written {
            Written::Part(written) => control.get(written..).map(Bytes::copy_from_slice),
            Written::All | Written::Failed => None,
        };
        control.shrink_to(CONTROL_KEPT);
        match (written, rest) {
            (Written::Part(written), Some(rest)) => {
                self.enqueue(conn, rest, written > 0);
            }
            (Written::Failed, _) => self.remove(conn, 1006),
            _ => {}
        }
    }

    /// One frame for everybody, behind what is due already.
    pub(super) fn broadcast(&mut self, frame: &Bytes) {
        for conn in 0..self.connections.capacity() as u32 {
            if self
                .connections
                .get(conn as usize)
                .is_some_and(|connection| connection.phase == Phase::Open)
            {
                self.send(conn, |out| out.extend_from_slice(frame));
            }
        }
    }

    /// Puts a frame into the outbox, or closes a client that reads too slowly; false when it did. `started`: the
    /// beginning of this frame is already out.
    pub(super) fn enqueue(&mut self, conn: u32, frame: Bytes, started: bool) -> bool {
        self.grow(conn, |outbox| match started {
            true => outbox.push_rest(frame),
            false => outbox.push(frame),
        })
    }

    /// The same for a message that a newer one of its channel may replace.
    pub(super) fn enqueue_latest(
        &mut self,
        conn: u32,
        frame: Bytes,
        delivery: Arc<Delivery>,
    ) -> bool {
        self.grow(conn, |outbox| outbox.push_latest(frame, delivery))
    }

    fn grow(&mut self, conn: u32, add: impl FnOnce(&mut Outbox)) -> bool {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return false };
        let fresh = connection.outbox.is_none();
        let outbox = connection.outbox.get_or_insert_with(Box::default);
        let before = outbox.bytes();
        add(outbox);
        self.totals.outbox_bytes += (outbox.bytes() - before) as u64;
        if fresh {
            self.totals.outboxes += 1;
            if self.register(conn, Interest::READABLE | Interest::WRITABLE, true).is_err() {
                self.remove(conn, 1006);
                return false;
            }
        }
        match self.judge(conn) {
            Verdict::Fine => true,
            Verdict::Pressed => {
                self.press(conn);
                true
            }
            Verdict::Close(reason) => {
                self.close(conn, 4008, reason);
                false
            }
        }
    }

    /// The verdict on a client, after conflation where that can help.
    fn judge(&mut self, conn: u32) -> Verdict {
        let (bounds, now) = (self.settings.bounds, self.clock.tick);
        let Some(connection) = self.connections.get_mut(conn as usize) else {
            return Verdict::Fine;
        };
        // A connection that closes has its close frame to send, however full it is.
        let Some(outbox) = connection.outbox.as_mut().filter(|_| connection.phase == Phase::Open)
        else {
            return Verdict::Fine;
        };
        let totals = &mut self.totals;
        let mut verdict = Verdict::Fine;
        for conflated in [false, true] {
            verdict = bounds.judge(Situation {
                waiting: outbox.bytes(),
                frames: outbox.frames(),
                shard: totals.outbox_bytes as usize,
                pressed_for: outbox.pressed_since().map(|since| now.saturating_sub(since)),
            });
            let last_resort = matches!(verdict, Verdict::Close(_));
            if conflated || verdict == Verdict::Fine {
                break;
            }
            if last_resort || outbox.is_worth_conflating() {
                let before = outbox.bytes();
                totals.conflated += outbox.conflate();
                totals.outbox_bytes -= (before - outbox.bytes()) as u64;
            }
        }
        if verdict == Verdict::Fine {
            outbox.relieve();
        }
        verdict
    }

    /// Lets the grace run, if it does not already.
    fn press(&mut self, conn: u32) {
        let now = self.clock.tick;
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        if connection.outbox.as_mut().is_some_and(|outbox| outbox.press(now)) {
            let timer = Timer { conn, serial: connection.serial };
            let end = now.saturating_add(self.settings.bounds.grace);
            self.wheel.insert(timer, Deadline::Grace { since: now }, end);
        }
    }

    /// The grace of the pressure that began at `since` may be over. A later pressure has a timer of its own.
    pub(super) fn grace_over(&mut self, timer: Timer, since: u32) {
        let outbox = self.connections.get(timer.conn as usize).and_then(|c| c.outbox.as_ref());
        if outbox.and_then(|outbox| outbox.pressed_since()) != Some(since) {
            return;
        }
        let end = since.saturating_add(self.settings.bounds.grace);
        if self.clock.tick < end {
            self.wheel.insert(timer, Deadline::Grace { since }, end); // further than the wheel reaches
        } else if let Verdict::Close(reason) = self.judge(timer.conn) {
            self.close(timer.conn, 4008, reason);
        }
    }

    /// The socket takes bytes again.
    pub(super) fn write_outbox(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let before = outbox.bytes() as u64;
        let outcome = outbox.write_to(&mut connection.stream);
        let after = outbox.bytes() as u64;
        self.totals.writes += 1;
        self.totals.outbox_bytes = self.totals.outbox_bytes - before + after;
        if outcome.is_err() {
            return self.remove(conn, 1006);
        }
        if after > 0 {
            if after as usize <= self.settings.bounds.pressure() {
                outbox.relieve();
            }
            return;
        }
        connection.outbox = None;
        self.totals.outboxes -= 1;
        let closing = connection.phase == Phase::Closing;
        if self.register(conn, Interest::READABLE, true).is_err() {
            self.remove(conn, 1006);
        } else if closing {
            self.finish_output(conn);
        }
    }
}

pub(super) fn write_all(stream: &mut mio::net::TcpStream, bytes: &[u8]) -> Written {
    loop {
        return match stream.write(bytes) {
            Ok(written) if written == bytes.len() => Written::All,
            Ok(written) => Written::Part(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Part(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Written::Failed,
        };
    }
}
