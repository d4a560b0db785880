//! Tokens of clients that are connected: who they are, and what time brings.

use std::sync::Arc;
use std::time::Duration;

use wsgateway_access::Grant;
use wsgateway_config::Protocol;
use wsgateway_proto::v1;

use super::clock::ticks;
use super::wheel::{Deadline, Timer};
use super::{Clients, active};
use crate::conn::identity::{Identity, Next};
use crate::time::unix_ms_u64;
use crate::users::UserPlace;

/// After a token that is refused, no other one of the same connection is looked at for so long: a signature costs more than
/// any other command.
const PENALTY: Duration = Duration::from_secs(1);

impl Clients {
    /// Who a client is and what it may hear; `None` while nobody asks.
    pub(crate) fn grant(&self, conn: u32) -> Option<&Arc<Grant>> {
        Some(&self.get(conn)?.identity.as_ref()?.grant)
    }

    /// Whether a client may hear all that a valid pattern matches.
    pub(crate) fn may_hear(&self, conn: u32, pattern: &str) -> bool {
        self.grant(conn).is_none_or(|grant| grant.permits.allows(pattern))
    }

    /// Whether another token of a client is worth a look.
    pub(crate) fn may_show_token(&self, conn: u32) -> bool {
        let identity = self.get(conn).and_then(|connection| connection.identity.as_ref());
        identity.is_none_or(|identity| identity.closed_until <= self.clock.tick)
    }

    /// Has a client wait that has shown a bad one.
    pub(crate) fn refuse_token(&mut self, conn: u32) {
        let until = self.clock.tick + ticks(PENALTY);
        if let Some(identity) =
            self.get_mut(conn).and_then(|connection| connection.identity.as_mut())
        {
            identity.closed_until = until;
        }
    }

    /// Counts a client for its user from now on.
    pub(crate) fn count_for_user(&mut self, conn: u32, place: Option<UserPlace>) {
        let connection = active(&mut self.connections, conn);
        if let Some(permit) = connection.and_then(|connection| connection.permit.as_mut()) {
            permit.join_user(place);
        }
    }

    /// A client asks for channels that its token may set as well.
    pub(crate) fn note_asked<'a>(&mut self, conn: u32, patterns: impl Iterator<Item = &'a str>) {
        let connection = active(&mut self.connections, conn);
        let identity = connection.and_then(|connection| connection.identity.as_mut());
        if let Some(identity) = identity.filter(|identity| !identity.grant.set.is_empty()) {
            patterns.for_each(|pattern| identity.ask(pattern));
        }
    }

    /// Gives a client another grant; returns what it was subscribed to without asking and is not any more.
    pub(crate) fn renew_grant(&mut self, conn: u32, grant: Arc<Grant>) -> Vec<Box<str>> {
        let now_ms = unix_ms_u64();
        let Some(connection) = active(&mut self.connections, conn) else { return Vec::new() };
        let over = match &mut connection.identity {
            Some(identity) => identity.renew(grant, now_ms),
            None => {
                connection.identity = Some(Box::new(Identity::new(grant, now_ms)));
                Vec::new()
            }
        };
        self.watch_token(conn);
        over
    }

    /// Has time bring what is due for a client's token: from the next tick on, so that its greeting comes first.
    pub(super) fn watch_token(&mut self, conn: u32) {
        let Some(connection) = self.get(conn) else { return };
        let timer = Timer { conn, serial: connection.serial };
        self.visit_token_at(timer, 0);
    }

    /// A client's token may have ended, or be about to.
    pub(super) fn token_over(&mut self, timer: Timer) {
        let (now, now_ms) = (self.clock.tick, unix_ms_u64());
        let Some(connection) = active(&mut self.connections, timer.conn) else { return };
        let (form, is_open) = (connection.form, connection.is_open());
        let Some(identity) = connection.identity.as_mut() else { return };
        if !is_open || identity.visit_at > now {
            return;
        }
        identity.visit_at = u32::MAX;
        match identity.next(now_ms) {
            None => {}
            Some(Next::End) => self.close(timer.conn, 4004, "the token has expired"),
            Some(Next::Wait(at_ms)) => self.visit_token_at(timer, at_ms),
            Some(Next::Tell(end_ms)) => {
                self.visit_token_at(timer, end_ms);
                // Clients of symbols.v1 know no such push, and an answer has no room for one.
                if form.protocol != Protocol::Symbols && !form.is_poll() {
                    self.send(timer.conn, |out| v1::token_expiring(out, end_ms));
                }
            }
        }
    }

    /// Looks at a client's token at a time (Unix ms). A visit that comes earlier finds out by itself what is to be done then,
    /// so that visits do not pile up.
    fn visit_token_at(&mut self, timer: Timer, at_ms: u64) {
        let wait = Duration::from_millis(at_ms.saturating_sub(unix_ms_u64()));
        let tick = self.wheel.within_reach(self.clock.tick.saturating_add(ticks(wait)));
        let Some(connection) = active(&mut self.connections, timer.conn) else { return };
        if let Some(identity) = connection.identity.as_mut()
            && tick < identity.visit_at
        {
            identity.visit_at = tick;
            self.wheel.insert(timer, Deadline::Token, tick);
        }
    }
}
