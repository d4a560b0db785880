//! Drain: every connection is told to reconnect elsewhere, one after the other, evenly over a window, so that the
//! other pods never meet them all at once and nobody waits without data.

use std::time::Duration;

use wsgateway_config::Protocol;
use wsgateway_proto::v1;

use super::Shard;
use crate::hub::wheel::Timer;

/// Clients told in the same tick spread themselves over this time.
const JITTER_MS: u64 = 1_000;

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    waiting: Vec<Timer>,
    total: usize,
    started_us: u64,
    window_us: u64,
    reason: &'static str,
}

impl Drain {
    /// Connections that should have been told by `now_us`.
    fn target(&self, now_us: u64) -> usize {
        let elapsed = now_us.saturating_sub(self.started_us);
        if elapsed >= self.window_us {
            return self.total;
        }
        (self.total as u128 * u128::from(elapsed) / u128::from(self.window_us)) as usize + 1
    }
}

impl Shard {
    pub(super) fn start_drain(&mut self, window: Duration, reason: &'static str) {
        let mut waiting: Vec<Timer> = self
            .connections
            .iter()
            .map(|(conn, c)| Timer { conn: conn as u32, serial: c.serial })
            .collect();
        fastrand::shuffle(&mut waiting);
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let total = waiting.len();
        self.drain =
            Some(Drain { waiting, total, started_us: self.clock.now_us, window_us, reason });
        self.continue_drain();
    }

    /// Tells those whose time has come.
    pub(super) fn continue_drain(&mut self) {
        while let Some(drain) = &mut self.drain {
            if drain.total - drain.waiting.len() >= drain.target(self.clock.now_us) {
                return;
            }
            let Some(timer) = drain.waiting.pop() else { return };
            self.dismiss(timer);
        }
    }

    /// Advises one client to reconnect, and closes with 1012.
    pub(super) fn dismiss(&mut self, timer: Timer) {
        let reason = self.drain.as_ref().map_or("restart", |drain| drain.reason);
        if self.is_current(timer) {
            let after_ms = fastrand::u64(0..JITTER_MS);
            // Clients of symbols.v1 know no such advice: they take it from the close frame.
            if self.protocol(timer.conn) != Protocol::Symbols {
                self.send(timer.conn, |out| v1::reconnect(out, after_ms, reason));
            }
            self.close(timer.conn, 1012, reason);
        }
    }
}
