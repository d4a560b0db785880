//! What time brings: pings, the end of silent and of closing connections, verdicts on slow clients, the next part
//! of a drain.

use wsgateway_proto::frame::{self, Opcode};

use super::Shard;
use crate::conn::Phase;
use crate::hub::wheel::{Deadline, Timer};

impl Shard {
    /// Visits every timer that is due, as far as the turn's share of pings goes; the next turn continues there.
    pub(super) fn tick(&mut self) {
        self.burst.next_turn();
        let mut timers = std::mem::take(&mut self.scratch.timers);
        while !self.burst.is_enough()
            && (!timers.is_empty() || self.wheel.advance(self.clock.tick, &mut timers))
        {
            let Some((timer, deadline)) = timers.pop() else { continue };
            match deadline {
                _ if !self.is_current(timer) => {}
                Deadline::Liveness => self.visit(timer),
                Deadline::Grace => self.grace_over(timer),
                Deadline::Message => self.message_over(timer),
            }
        }
        self.scratch.timers = timers;
        self.continue_drain();
    }

    fn visit(&mut self, timer: Timer) {
        let Some(connection) = self.connections.get_mut(timer.conn as usize) else { return };
        let now = self.clock.tick;
        let heartbeat = &self.settings.heartbeat;
        let ping_at = heartbeat.ping_at(connection.heard, connection.serial);
        let end_at = ping_at + heartbeat.timeout();
        match connection.phase {
            Phase::Closing if now >= connection.close_by => self.remove(timer.conn, 1006),
            Phase::Closing => self.wheel.insert(timer, Deadline::Liveness, connection.close_by),
            Phase::Open if now < ping_at => {
                self.wheel.insert(timer, Deadline::Liveness, ping_at);
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
                    self.burst.ping(self.clock.now_us);
                    self.send(timer.conn, |out| frame::write(out, Opcode::Ping, &[]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
