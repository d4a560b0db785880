//! Other settings for connections that are there. None of them ends because a limit was lowered: what a client was
//! granted before, and has used, it may keep until it is used no more.

use super::clock::tick_at;
use super::wheel::{Deadline, Timer};
use super::{Clients, Settings};
use crate::conn::Phase;
use crate::conn::rate::Rate;

/// What all clients of a shard may take together: as configured, or as much as they held when that was lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of memory for what waits for slow clients.
    pub outboxes: usize,
    /// Bytes of messages that have begun and not ended.
    pub unfinished: usize,
}

impl Room {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { outboxes: settings.bounds.per_shard, unfinished: settings.unfinished_bytes }
    }

    /// At least as much as is held.
    fn with(self, held: Self) -> Self {
        Self {
            outboxes: self.outboxes.max(held.outboxes),
            unfinished: self.unfinished.max(held.unfinished),
        }
    }

    /// The next room after this one, on the way down to what is configured: what is given back is gone.
    fn follow(self, configured: Self, held: Self) -> Self {
        let now = Self {
            outboxes: self.outboxes.min(held.outboxes),
            unfinished: self.unfinished.min(held.unfinished),
        };
        now.with(configured)
    }
}

impl Clients {
    /// Takes up other settings. Heartbeats begin anew, spread as ever; whoever is under pressure has the whole of another
    /// grace; rates count from nothing.
    pub(crate) fn reconfigure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        self.room = Room::of(&settings).with(self.held());
        let now = self.clock.tick;
        let is_other_heartbeat = before.heartbeat != settings.heartbeat;
        let is_other_grace = before.bounds.grace != settings.bounds.grace;
        for (_, connection) in &mut self.connections {
            connection.rate = Rate::default();
            if let Some(outbox) = &mut connection.outbox {
                outbox.grant(before.bounds.per_connection);
                if is_other_grace && outbox.pressed_since().is_some() {
                    outbox.relieve();
                    outbox.press(now);
                }
            }
            if is_other_heartbeat && connection.phase == Phase::Open {
                (connection.heard, connection.pinged) = (now, false);
            }
        }
        if is_other_heartbeat || is_other_grace {
            self.set_timers_anew();
        }
    }

    /// Lets what was lowered below what is held go down with it.
    pub(super) fn settle_room(&mut self) {
        self.room = self.room.follow(Room::of(&self.settings), self.held());
    }

    fn held(&self) -> Room {
        Room { outboxes: self.outbox_memory.bytes(), unfinished: self.unfinished.bytes() }
    }

    /// Puts every timer where it belongs by the settings as they are now.
    fn set_timers_anew(&mut self) {
        self.timers.clear();
        self.wheel.clear();
        let (now, settings) = (self.clock.tick, self.settings);
        for (conn, connection) in &mut self.connections {
            let timer = Timer { conn: conn as u32, serial: connection.serial };
            let liveness = match connection.phase {
                Phase::Ended => continue,
                Phase::Closing => connection.close_by,
                // Who was pinged is given the time for an answer once more.
                Phase::Open if connection.pinged => now + settings.heartbeat.timeout(),
                Phase::Open => settings.heartbeat.ping_at(connection.heard, connection.serial),
            };
            self.wheel.insert(timer, Deadline::Liveness, liveness);
            if connection.message_timer {
                let timeout = settings.message_timeout.unwrap_or(u32::MAX);
                let since = connection.unfinished_since.map_or(now, |since| since.get());
                self.wheel.insert(timer, Deadline::Message, since.saturating_add(timeout));
            }
            if let Some(at) = connection.poll.as_ref().and_then(|poll| poll.timer_at) {
                self.wheel.insert(timer, Deadline::Answer, tick_at(at));
            }
            if let Some(identity) = &mut connection.identity {
                identity.visit_at = now + 1;
                self.wheel.insert(timer, Deadline::Token, now + 1);
            }
            if let Some(outbox) = connection.outbox.as_ref().filter(|outbox| outbox.timer) {
                let since = outbox.pressed_since().unwrap_or(now);
                self.wheel.insert(timer, Deadline::Grace, since + settings.bounds.grace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_made_smaller_goes_down_with_what_is_held_and_not_up_again() {
        let room = |outboxes, unfinished| Room { outboxes, unfinished };
        let (configured, mut now) = (room(100, 10), room(100, 10).with(room(250, 5)));
        assert_eq!(now, room(250, 10));
        for (held, expected) in [(250, 250), (180, 180), (200, 180), (90, 100), (300, 100)] {
            now = now.follow(configured, room(held, 0));
            assert_eq!(now, room(expected, 10), "with {held} held");
        }
    }
}
