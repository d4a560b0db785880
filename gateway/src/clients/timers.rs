//! What time brings: pings, the end of silent and of closing connections, verdicts on slow clients, and the end of
//! messages that take too long.

use std::num::NonZeroU32;
use std::time::Duration;

use wsgateway_proto::frame::{self, Opcode};

use super::wheel::{Deadline, Timer};
use super::{Clients, active};
use crate::conn::Phase;

impl Clients {
    /// Visits every timer that is due, as far as the turn's share of pings goes; the next turn continues there.
    pub(crate) fn tick(&mut self) {
        self.settle_room();
        self.pings.next_turn();
        let mut timers = std::mem::take(&mut self.timers);
        while !self.pings.is_enough()
            && (!timers.is_empty() || self.wheel.advance(self.clock.tick, &mut timers))
        {
            let Some((timer, deadline)) = timers.pop() else { continue };
            match deadline {
                _ if !self.is_current(timer) => {}
                Deadline::Liveness => self.visit(timer),
                Deadline::Grace => self.grace_over(timer),
                Deadline::Message => self.message_over(timer),
                Deadline::Answer => self.answer_over(timer),
                Deadline::Token => self.token_over(timer),
            }
        }
        self.timers = timers;
    }

    fn visit(&mut self, timer: Timer) {
        let Some(connection) = active(&mut self.connections, timer.conn) else { return };
        let now = self.clock.tick;
        let heartbeat = &self.settings.heartbeat;
        let ping_at = heartbeat.ping_at(connection.heard, connection.serial);
        let end_at = ping_at + heartbeat.timeout();
        match connection.phase {
            Phase::Ended => {}
            Phase::Closing if now >= connection.close_by => self.remove(timer.conn, 1006),
            Phase::Closing => self.wheel.insert(timer, Deadline::Liveness, connection.close_by),
            Phase::Open if now < ping_at => {
                self.wheel.insert(timer, Deadline::Liveness, ping_at);
            }
            Phase::Open if connection.form.is_events() => {
                // It never says anything: a client that has gone is seen by what is sent to it.
                connection.heard = now;
                self.silent.push_back(timer.conn);
                let again = heartbeat.ping_at(now, connection.serial);
                self.wheel.insert(timer, Deadline::Liveness, again);
            }
            Phase::Open if connection.form.is_poll() && connection.is_blocked() => {
                // It is answered and does not read. What waits is too little for a verdict on its size.
                match now >= end_at {
                    true => self.remove(timer.conn, 4008),
                    false => self.wheel.insert(timer, Deadline::Liveness, end_at),
                }
            }
            Phase::Open if connection.form.is_poll() => {
                // It waits, and says nothing; the kernel reports a client that hangs up.
                connection.heard = now;
                let again = heartbeat.ping_at(now, connection.serial);
                self.wheel.insert(timer, Deadline::Liveness, again);
            }
            Phase::Open if now >= end_at && connection.pinged => {
                self.close(timer.conn, 4011, "no answer to a ping");
            }
            Phase::Open => {
                // A ping that went out late, in a busy shard, still leaves the client its time.
                let again = end_at.max(now + heartbeat.timeout());
                self.wheel.insert(timer, Deadline::Liveness, again);
                if !connection.pinged {
                    connection.pinged = true;
                    connection.owes_pong = true;
                    self.pings.ping(self.clock.now_us);
                    self.send(timer.conn, |out| frame::write(out, Opcode::Ping, &[]));
                }
            }
        }
    }

    /// A message of this connection may have begun or ended: one that has begun has a time to end in.
    pub(crate) fn watch_message(&mut self, conn: u32) {
        let (now, timeout) = (self.clock.tick, self.settings.message_timeout);
        let Some(connection) = active(&mut self.connections, conn) else { return };
        let begun = connection.decoder.is_unfinished() || connection.unfinished() > 0;
        let Some(timeout) = timeout.filter(|_| begun) else {
            connection.unfinished_since = None;
            return;
        };
        connection.unfinished_since = connection.unfinished_since.or(NonZeroU32::new(now.max(1)));
        if !std::mem::replace(&mut connection.message_timer, true) {
            let timer = Timer { conn, serial: connection.serial };
            self.wheel.insert(timer, Deadline::Message, now + timeout);
        }
    }

    /// The time of a message may be over. One timer serves all messages of a connection.
    fn message_over(&mut self, timer: Timer) {
        let timeout = self.settings.message_timeout.unwrap_or(u32::MAX);
        let Some(connection) = active(&mut self.connections, timer.conn) else { return };
        let end = connection.unfinished_since.map(|since| since.get().saturating_add(timeout));
        match end {
            None => connection.message_timer = false,
            Some(end) if self.clock.tick < end => {
                self.wheel.insert(timer, Deadline::Message, end);
            }
            Some(_) => self.close(timer.conn, 1008, "a message was begun and not ended in time"),
        }
    }

    /// When the next timer is due, `reach` ticks ahead at most.
    pub(crate) fn until_next_timer(&self, reach: u32) -> Duration {
        self.clock.until(self.wheel.next_within(reach))
    }

    /// Whether timers that are due wait for the next turn.
    pub(crate) fn has_late_timers(&self) -> bool {
        !self.timers.is_empty() || self.wheel.is_behind(self.clock.tick)
    }

    /// Time that sockets may be left alone, so that the pongs of a burst arrive together; `idle` is the time until
    /// something else is to be done.
    pub(crate) fn wait_for_pongs(&self, idle: Duration) -> Option<Duration> {
        self.pings.wait(self.clock.now_us, idle)
    }

    /// A client has sent a pong; false if it was not asked for one.
    pub(crate) fn take_pong(&mut self, conn: u32) -> bool {
        let Some(connection) = active(&mut self.connections, conn) else { return true };
        let asked = std::mem::take(&mut connection.owes_pong);
        if asked {
            self.pings.pong();
        }
        asked
    }
}
