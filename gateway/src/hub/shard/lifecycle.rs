//! How a connection begins and ends.

use std::net::Shutdown;

use mio::Interest;
use wsgateway_config::Protocol;
use wsgateway_proto::decoder::Decoder;
use wsgateway_proto::frame::{self, Role};
use wsgateway_proto::{odin, v1};

use super::{CLOSE_TIMEOUT, Session, Shard, ticks};
use crate::conn::rate::Rate;
use crate::conn::{Connection, Form, Phase};
use crate::hub::NONE;
use crate::hub::inbox::Handover;
use crate::hub::wheel::{Deadline, Timer};

impl Shard {
    /// Takes over an upgraded socket: greets it, then treats what it has sent already.
    pub(super) fn adopt(&mut self, handover: Handover) {
        self.totals.adopted += 1;
        self.serial = self.serial.wrapping_add(1);
        let connection = Connection {
            stream: mio::net::TcpStream::from_std(handover.stream),
            decoder: Decoder::new(Role::Server),
            outbox: None,
            sequence: None,
            subscriptions: Vec::new(),
            rate: Rate::default(),
            stamp: 0,
            due_first: NONE,
            due_last: NONE,
            urgent: false,
            on_hold: false,
            replays: false,
            writes_later: false,
            form: Form { deflate: handover.deflate, batch: false, protocol: handover.protocol },
            serial: self.serial,
            heard: self.clock.tick,
            close_by: 0,
            phase: Phase::Open,
            pinged: false,
            owes_pong: false,
            unread: false,
            unfinished_since: None,
            message_timer: false,
            _permit: handover.permit,
        };
        let conn = self.connections.insert(connection) as u32;
        if let Err(error) = self.register(conn, Interest::READABLE, false) {
            tracing::warn!(%error, "cannot watch a new connection");
            return self.remove(conn, 1006);
        }
        let timer = Timer { conn, serial: self.serial };
        self.wheel.insert(timer, Deadline::Liveness, self.clock.tick + self.settings.ping_after);
        if self.settings.session == Session::Clients {
            self.greet(conn, &handover.response);
            if handover.protocol == Protocol::Odin {
                self.subscribe_initially(conn);
            }
        }
        if !handover.leftover.is_empty() {
            let mut leftover = Vec::from(handover.leftover);
            self.consume(conn, &mut leftover);
        }
        if self.drain.is_some() {
            self.dismiss(timer);
        }
    }

    /// Answers the client's request, if nobody has, and says hello, where the protocol has a word for it: in one write.
    fn greet(&mut self, conn: u32, response: &[u8]) {
        let established = match self.protocol(conn) {
            Protocol::WsGateway => v1::established,
            Protocol::Odin if self.settings.greets_odin => odin::established,
            Protocol::Odin | Protocol::Symbols if response.is_empty() => return,
            Protocol::Odin | Protocol::Symbols => return self.send_bytes(conn, response),
        };
        let settings = &self.settings;
        let connection_id = format!("{:08x}-{}-{}", settings.boot, self.number, self.serial);
        let (pod, epoch, limits) = (settings.pod.clone(), self.epoch.clone(), settings.hello);
        let heartbeat_ms = settings.heartbeat_ms;
        self.send(conn, |out| {
            out.extend_from_slice(response);
            established(
                out,
                &v1::Hello {
                    connection_id: &connection_id,
                    pod: &pod,
                    epoch: &epoch,
                    heartbeat_ms,
                    limits,
                    ts: crate::source::unix_ms(),
                },
            );
        });
    }

    /// Ends a connection politely: nothing but the close frame follows what was begun.
    pub(super) fn close(&mut self, conn: u32, code: u16, reason: &str) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        connection.phase = Phase::Closing;
        connection.close_by = self.clock.tick + ticks(CLOSE_TIMEOUT);
        connection.due_first = NONE;
        self.unfinished.take_out(&connection.decoder);
        connection.decoder = Decoder::new(Role::Server);
        let (timer, deadline) = (Timer { conn, serial: connection.serial }, connection.close_by);
        // Whoever is sent elsewhere still gets what was due before: the time for it is bounded, as its amount is.
        if let Some(outbox) = connection.outbox.as_mut().filter(|_| code != 1012) {
            let before = outbox.cost();
            outbox.keep_started();
            self.totals.outbox_bytes -= (before - outbox.cost()) as u64;
            if outbox.frames() == 0 {
                connection.outbox = None;
                self.totals.outboxes -= 1;
            }
        }
        self.totals.count_close(code);
        self.unsubscribe_all(conn);
        self.wheel.insert(timer, Deadline::Liveness, deadline);
        self.send(conn, |out| frame::close(out, code, reason));
        let done = |connection: &Connection| !connection.is_blocked();
        if self.connections.get(conn as usize).is_some_and(done) {
            self.finish_output(conn);
        }
    }

    /// Everything is out: tell the client that nothing follows, and wait for it to hang up.
    pub(super) fn finish_output(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        if connection.stream.shutdown(Shutdown::Write).is_err() {
            self.remove(conn, 1006);
        }
    }

    /// Forgets a connection; its socket is closed by the drop.
    pub(super) fn remove(&mut self, conn: u32, code: u16) {
        self.unsubscribe_all(conn);
        let Some(mut connection) = self.connections.try_remove(conn as usize) else { return };
        self.unfinished.take_out(&connection.decoder);
        if connection.phase == Phase::Open {
            self.totals.count_close(code);
        }
        if let Some(outbox) = &connection.outbox {
            self.totals.outbox_bytes -= outbox.cost() as u64;
            self.totals.outboxes -= 1;
        }
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            tracing::debug!(%error, "deregistering a closed socket");
        }
    }
}
