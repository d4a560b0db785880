//! Writing: a connection's own frames, its outbox, and the verdict when it reads too slowly.

use std::io::{self, Write};

use bytes::Bytes;
use mio::Interest;
use wsgateway_proto::deflate::Deflater;
use wsgateway_proto::frame::{self, Opcode};

use super::wheel::{Deadline, Timer};
use super::{Clients, active, secured};
use crate::conn::outbox::{Frame, Keep, Latest, Outbox};
use crate::conn::slow::{self, Bounds, Situation, Verdict, Waiting};
use crate::conn::{Phase, Transport};
use crate::encode::Skipped;
use crate::tls::Session;

/// Memory that the buffer of own frames keeps between two uses: one large answer is no reason to hold it for ever.
const CONTROL_KEPT: usize = 64 << 10;

/// How a write ended, in bytes of what was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// All of it was encrypted, and some of that waits for the socket: [`Clients::hold`].
    Encrypted,
    Part(usize),
    Failed,
}

impl Clients {
    /// Sends a frame of the connection's own, behind everything produced for it before.
    pub(crate) fn send(&mut self, conn: u32, build: impl FnOnce(&mut Vec<u8>)) {
        let mut control = std::mem::take(&mut self.control);
        control.clear();
        build(&mut control);
        self.send_bytes(conn, &control);
        control.clear();
        control.shrink_to(CONTROL_KEPT);
        self.control = control;
    }

    /// The compressor of the shard, created when it is needed first.
    pub(crate) fn deflater(&mut self) -> &mut Deflater {
        self.due.deflater()
    }

    /// Sends a message of the connection's own, compressed if that was agreed and pays.
    pub(crate) fn send_message(&mut self, conn: u32, opcode: Opcode, message: &[u8]) {
        let Some(form) = self.get(conn).map(|connection| connection.form) else { return };
        let mut twin = Vec::new();
        if form.deflate && self.deflater().frame(opcode, message, &mut twin) {
            return self.send_bytes(conn, &twin);
        }
        self.send(conn, |out| frame::write(out, opcode, message));
    }

    /// The same for frames that are ready. An event stream gets them as events, a long-poll in its answer.
    pub(crate) fn send_bytes(&mut self, conn: u32, frames: &[u8]) {
        let Some(connection) = self.get(conn) else { return };
        match connection.form.transport {
            Transport::WebSocket => return self.send_raw(conn, frames),
            Transport::Poll => return self.answer_frames(conn, frames),
            Transport::Events(_) => {}
        }
        // What is due comes before them; its ids depend on where the stream is now.
        if !self.flush_before(conn) {
            return;
        }
        let mut events = Vec::new();
        let Self { connections, due, .. } = self;
        if let Some(connection) = active(connections, conn)
            && let Transport::Events(stream) = &mut connection.form.transport
        {
            stream.translate(frames, &due.epoch, &mut events);
        }
        self.send_raw(conn, &events);
    }

    /// Reports to a client that everything up to `offset` has been sent: to an event stream as a sign of life, to a
    /// long-poll as the end of its answer.
    pub(crate) fn send_position(&mut self, conn: u32, offset: u64) {
        let stream = match self.get(conn).map(|connection| connection.form.transport) {
            Some(Transport::Events(stream)) => stream,
            Some(Transport::Poll) => return self.answer_position(conn, offset),
            Some(Transport::WebSocket) | None => return,
        };
        let mut event = Vec::new();
        stream.heartbeat(&self.due.epoch, offset, &mut event);
        self.send_raw(conn, &event);
    }

    /// Sends bytes as they are, after everything produced for the connection before.
    pub(crate) fn send_raw(&mut self, conn: u32, bytes: &[u8]) {
        if !self.flush_before(conn) {
            return;
        }
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let written = if connection.is_blocked() {
            Written::Part(0)
        } else {
            write(&mut connection.stream, &mut connection.tls, bytes)
        };
        match written {
            Written::Part(written) => {
                let rest = bytes.get(written..).unwrap_or_default();
                self.enqueue(conn, Bytes::copy_from_slice(rest).into(), written > 0);
            }
            Written::Encrypted => {
                self.hold(conn);
            }
            Written::Failed => self.remove(conn, 1006),
            Written::All => {}
        }
    }

    /// Writes what is due before a frame of the connection's own; false when that was too much for it: nothing may follow
    /// its close frame.
    pub(super) fn flush_before(&mut self, conn: u32) -> bool {
        if self.get(conn).is_none_or(|connection| connection.due.is_empty()) {
            return true;
        }
        self.flush_one(conn);
        self.is_open(conn)
    }

    /// Puts a frame into the outbox, or closes a client that reads too slowly; false when it did. `started`: the
    /// beginning of this frame is already out.
    pub(super) fn enqueue(&mut self, conn: u32, frame: Frame, started: bool) -> bool {
        self.grow(conn, |outbox| match started {
            true => outbox.push_rest(frame),
            false => outbox.push(frame),
        })
    }

    /// The same for a message that a newer one of its channel may replace.
    pub(super) fn enqueue_latest(
        &mut self,
        conn: u32,
        frame: Frame,
        latest: Latest,
        skipped: Option<Skipped>,
    ) -> bool {
        self.grow(conn, |outbox| outbox.push_latest(frame, latest, skipped))
    }

    /// What was encrypted for a connection and not taken waits in its outbox; false when that closed it.
    pub(super) fn hold(&mut self, conn: u32) -> bool {
        self.grow(conn, |_| ())
    }

    fn grow(&mut self, conn: u32, add: impl FnOnce(&mut Outbox)) -> bool {
        let Some(connection) = active(&mut self.connections, conn) else { return false };
        let fresh = connection.outbox.is_none();
        let (meter, events) = (&self.outbox_memory, connection.form.is_events());
        let outbox = connection.outbox.get_or_insert_with(|| Box::new(Outbox::new(meter, events)));
        let before = outbox.cost();
        if let Some(session) = &connection.tls {
            outbox.set_encrypted(session.waiting());
        }
        add(outbox);
        self.totals.outbox_bytes += (outbox.cost() - before) as u64;
        if fresh {
            self.totals.outboxes += 1;
            if self.register(conn, Interest::READABLE | Interest::WRITABLE, true).is_err() {
                self.remove(conn, 1006);
                return false;
            }
        }
        match self.judge(conn) {
            Verdict::Fine => {}
            Verdict::Pressed => self.press(conn),
            Verdict::Close(reason) => self.close(conn, 4008, reason),
        }
        if self.outbox_memory.bytes() > self.room.outboxes {
            self.make_room();
        }
        self.is_open(conn)
    }

    /// The memory of the shard's outboxes is used up: closes those with the most waiting until an eighth of it is free,
    /// so that the search for them is rare. The last one may hold more than the bound: one large frame.
    fn make_room(&mut self) {
        let enough = self.room.outboxes / 8 * 7;
        let mut waiting: Vec<Waiting> = self
            .open()
            .filter_map(|(conn, connection)| {
                let outbox = connection.outbox.as_deref()?;
                Some(Waiting { conn, bytes: outbox.cost(), pressed_since: outbox.pressed_since() })
            })
            .collect();
        slow::sort_by_burden(&mut waiting);
        waiting.pop();
        for Waiting { conn, .. } in waiting {
            if self.outbox_memory.bytes() <= enough {
                return;
            }
            self.close(conn, 4008, "slow consumer, and the pod is out of memory: resume");
        }
    }

    /// The verdict on a client, after conflation where that can help.
    fn judge(&mut self, conn: u32) -> Verdict {
        let (bounds, now) = (self.settings.bounds, self.clock.tick);
        let Some(connection) = active(&mut self.connections, conn) else {
            return Verdict::Fine;
        };
        // A connection that closes has its close frame to send, however full it is.
        let Some(outbox) = connection.outbox.as_mut().filter(|_| connection.phase == Phase::Open)
        else {
            return Verdict::Fine;
        };
        let totals = &mut self.totals;
        let per_connection = bounds.per_connection.max(outbox.granted());
        let bounds = Bounds { per_connection, ..bounds };
        let assess = |outbox: &Outbox| {
            bounds.judge(Situation {
                waiting: outbox.cost(),
                frames: outbox.frames(),
                pressed_for: outbox.pressed_since().map(|since| now.saturating_sub(since)),
            })
        };
        let mut conflate = |outbox: &mut Outbox, keep| {
            let before = outbox.cost();
            totals.conflated += outbox.conflate(keep);
            totals.outbox_bytes -= (before - outbox.cost()) as u64;
            assess(outbox)
        };
        let mut verdict = assess(outbox);
        if verdict != Verdict::Fine && outbox.is_worth_conflating() {
            verdict = conflate(outbox, Keep::Survivor);
        }
        if matches!(verdict, Verdict::Close(_)) {
            verdict = conflate(outbox, Keep::Newest);
        }
        if verdict == Verdict::Fine {
            outbox.relieve();
        }
        verdict
    }

    /// Lets the grace run, if it does not already.
    fn press(&mut self, conn: u32) {
        let now = self.clock.tick;
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        outbox.press(now);
        if !std::mem::replace(&mut outbox.timer, true) {
            let timer = Timer { conn, serial: connection.serial };
            self.wheel.insert(timer, Deadline::Grace, now + self.settings.bounds.grace);
        }
    }

    /// The grace of a client may be over. One timer looks at all its pressures, however often they come and go.
    pub(super) fn grace_over(&mut self, timer: Timer) {
        let Some(connection) = active(&mut self.connections, timer.conn) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let end = outbox.pressed_since().map(|since| since + self.settings.bounds.grace);
        match end {
            None => outbox.timer = false,
            Some(end) if self.clock.tick < end => {
                self.wheel.insert(timer, Deadline::Grace, end);
            }
            Some(_) => {
                outbox.timer = false;
                match self.judge(timer.conn) {
                    Verdict::Fine => {}
                    Verdict::Pressed => self.press(timer.conn),
                    Verdict::Close(reason) => self.close(timer.conn, 4008, reason),
                }
            }
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn write_outbox(&mut self, conn: u32) {
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let before = outbox.cost();
        let outcome = match &mut connection.tls {
            None => outbox.write_to(&mut connection.stream),
            Some(session) => secured::write_outbox(outbox, session, &mut connection.stream),
        };
        let after = outbox.cost();
        self.totals.writes += 1;
        self.totals.outbox_bytes = self.totals.outbox_bytes - before as u64 + after as u64;
        if outcome.is_err() {
            return self.remove(conn, 1006);
        }
        if after < before {
            // It reads: its answer to a ping may be behind all this.
            connection.heard = self.clock.tick;
            if connection.form.is_poll() {
                let silence = self.settings.heartbeat.longest_silence();
                connection.close_by = self.clock.tick.saturating_add(silence);
            }
        }
        if after > 0 {
            if after <= self.settings.bounds.pressure() {
                outbox.relieve();
            }
            return;
        }
        connection.outbox = None;
        self.totals.outboxes -= 1;
        let closing = connection.phase == Phase::Closing;
        self.drained.push_back(conn);
        if self.register(conn, Interest::READABLE, true).is_err() {
            self.remove(conn, 1006);
        } else if closing {
            self.finish_output(conn);
        }
    }
}

/// Writes as much as the socket takes, through TLS if it has a session.
pub(super) fn write(
    stream: &mut mio::net::TcpStream,
    tls: &mut Option<Box<Session>>,
    bytes: &[u8],
) -> Written {
    match tls {
        None => write_all(stream, bytes),
        Some(session) => secured::write_all(session, stream, bytes),
    }
}

fn write_all(stream: &mut mio::net::TcpStream, bytes: &[u8]) -> Written {
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
