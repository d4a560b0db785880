//! Who a client is while it is connected: what it is subscribed to without asking, and tokens that it shows later.

use std::sync::Arc;

use wsgateway_access::{Grant, RefusedToken};
use wsgateway_config::Protocol;
use wsgateway_proto::channel::{self, Kind};
use wsgateway_proto::handshake::Token;
use wsgateway_proto::symbols::{self as symbols_wire, Change};
use wsgateway_proto::v1::{self, Id};

use super::subscribe::NOT_ALLOWED;
use super::symbols::confirm;
use super::{Sessions, protocol};
use crate::auth::{AuthMetrics, Guard};
use crate::clients::wheel::Timer;
use crate::conn::Transport;
use crate::disconnects::{Disconnects, Ending};
use crate::hub::shard::live::Live;
use crate::time::{unix_ms, unix_ms_u64};

/// The reason for which a client is no longer subscribed to what only its token before has set.
const NOT_SET: &str = "not_set";

/// Why another token of a client changes nothing.
enum Refused {
    /// It is not good.
    Token(RefusedToken),
    /// It is another user's.
    OtherUser,
    /// The one before was bad, a moment ago.
    TooSoon,
    /// Its user has as many connections as may be.
    UserFull,
    /// It, or its user, is kept out.
    Banned,
}

impl Refused {
    /// Counts it; the code and the words for the client.
    fn count(self, metrics: &AuthMetrics) -> (&'static str, String) {
        let (code, message) = match self {
            Self::Token(refused) => {
                metrics.refused(refused);
                return (refused.code(), refused.to_string());
            }
            Self::OtherUser => {
                metrics.wrong_user.inc();
                ("wrong_user", "the token is another user's: open a new connection")
            }
            Self::UserFull => (
                "user_connections",
                "you have as many connections as you may have: close another one",
            ),
            Self::Banned => {
                metrics.banned.inc();
                ("banned", "this user or this token is banned")
            }
            Self::TooSoon => ("too_many_tokens", "the last token was bad: wait a second"),
        };
        (code, message.to_owned())
    }
}

/// What another token of a client grants.
fn shown(live: &mut Live, conn: u32, guard: &Guard, token: &Token) -> Result<Arc<Grant>, Refused> {
    if !live.clients.may_show_token(conn) {
        return Err(Refused::TooSoon);
    }
    let grant = guard.verify(token).map_err(Refused::Token)?;
    let before = live.clients.grant(conn).and_then(|grant| grant.user.as_deref());
    if before.is_some() && grant.user.as_deref() != before {
        return Err(Refused::OtherUser);
    }
    // The process's list: this shard may be about to take it up.
    if guard.ban(&grant).is_some() {
        return Err(Refused::Banned);
    }
    // Somebody who had no token counts for a user from now on.
    if before.is_none() {
        let place = guard.count(&grant).map_err(|_| Refused::UserFull)?;
        live.clients.count_for_user(conn, place);
    }
    Ok(grant)
}

impl Sessions {
    /// A client that came while nobody was asked for a token, if everybody is now.
    pub(in crate::hub::shard) fn stranger(&self, live: &Live, conn: u32) -> Option<Timer> {
        let connection = live.clients.get(conn)?;
        let is_stranger = self.guard.is_some() && connection.identity.is_none();
        is_stranger.then_some(Timer { conn, serial: connection.serial })
    }

    /// The disconnects of these settings that this shard has not acted on.
    pub(in crate::hub::shard) fn fresh_disconnects(&self, all: &Disconnects) -> Disconnects {
        all.since(&self.disconnects)
    }

    /// Closes a client that was let in just before its ban came.
    pub(in crate::hub::shard) fn turn_out(&self, live: &mut Live, conn: u32) {
        let grant = live.clients.grant(conn);
        if grant.is_some_and(|grant| self.is_banned(grant)) {
            let (code, reason) = Ending::Banned.close();
            live.clients.close(conn, code, reason);
        }
    }

    fn is_banned(&self, grant: &Grant) -> bool {
        self.disconnects.ban(grant, unix_ms_u64()).is_some()
    }

    /// What a client is subscribed to without asking. Event streams and long-polls ask for it in their request.
    pub(super) fn unasked<'a>(
        &self,
        live: &Live,
        conn: u32,
        grant: Option<&'a Grant>,
    ) -> impl Iterator<Item = (&'a str, Kind)> {
        let transport = live.clients.get(conn).map(|connection| connection.form.transport);
        let grant = grant.filter(|_| transport == Some(Transport::WebSocket));
        let set =
            grant.map_or(&[][..], |grant| &grant.set).iter().take(self.settings.subscriptions);
        // A grant holds valid patterns only.
        set.filter_map(|pattern| Some((&**pattern, channel::validate(pattern).ok()?)))
    }

    /// Subscribes a new connection to it.
    pub(super) fn subscribe_unasked(&self, live: &mut Live, conn: u32) {
        let grant = live.clients.grant(conn).cloned();
        let unasked: Vec<_> = self.unasked(live, conn, grant.as_deref()).collect();
        for (pattern, kind) in unasked {
            live.hold(conn, pattern, kind);
        }
    }

    /// Acts on another token of a client that is connected.
    pub(super) fn refresh(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        token: &Token,
    ) {
        let Some(guard) = self.guard.clone() else {
            let message = "auth is not supported by this gateway";
            return self.refuse(live, conn, id, "not_supported", message);
        };
        match shown(live, conn, &guard, token) {
            Ok(grant) => self.take_up(live, conn, id, grant),
            Err(refused) => {
                live.clients.refuse_token(conn);
                let (code, message) = refused.count(&guard.metrics);
                self.refuse(live, conn, id, code, &message);
            }
        }
    }

    /// Goes on with another grant: acknowledges it, and ends what it does not allow or set any more.
    fn take_up(&mut self, live: &mut Live, conn: u32, id: Option<Id<'_>>, grant: Arc<Grant>) {
        let over = live.clients.renew_grant(conn, Arc::clone(&grant));
        let subscribed = self.subscribe_fresh(live, conn, &grant);
        let fresh: Vec<&str> = subscribed.iter().map(String::as_str).collect();
        let (end, offset) = (grant.expires_at_ms, live.position);
        let is_symbols = protocol(live, conn) == Protocol::Symbols;
        live.clients.send(conn, |out| match is_symbols {
            true => symbols_wire::authenticated(out, end, unix_ms()),
            false => v1::auth_ack(out, id, end, (&fresh, offset)),
        });
        self.end_what_is_not_allowed(live, conn);
        self.end_subscriptions(live, conn, over.iter().map(|pattern| &**pattern), NOT_SET);
    }

    /// Subscribes a client to what another token sets, as far as it is not yet.
    fn subscribe_fresh(&self, live: &mut Live, conn: u32, grant: &Grant) -> Vec<String> {
        let opening = self.replays.openings(conn);
        let known = |pattern: &str| live.holds(conn, pattern) || opening.contains_key(pattern);
        let room =
            self.settings.subscriptions.saturating_sub(self.replays.subscription_count(live, conn));
        let unasked = self.unasked(live, conn, Some(grant));
        let fresh: Vec<_> = unasked.filter(|(pattern, _)| !known(pattern)).take(room).collect();
        for (pattern, kind) in &fresh {
            live.hold_fresh(conn, pattern, *kind);
        }
        fresh.into_iter().map(|(pattern, _)| pattern.to_owned()).collect()
    }

    /// Ends subscriptions, live or on their way, that a client's token does not allow any more.
    fn end_what_is_not_allowed(&mut self, live: &mut Live, conn: u32) {
        let held: Vec<String> = live.held(conn).map(str::to_owned).collect();
        let opening = self.replays.openings(conn);
        let opening: Vec<String> = opening.keys().map(|pattern| pattern.to_string()).collect();
        let mut refused: Vec<String> = held.into_iter().chain(opening).collect();
        refused.retain(|pattern| !live.clients.may_hear(conn, pattern));
        self.end_subscriptions(live, conn, refused.iter().map(String::as_str), NOT_ALLOWED);
    }

    /// Ends subscriptions that a client has, and reports them with a reason.
    fn end_subscriptions<'a>(
        &mut self,
        live: &mut Live,
        conn: u32,
        patterns: impl Iterator<Item = &'a str>,
        reason: &str,
    ) {
        let ended: Vec<&str> =
            patterns.filter(|pattern| self.release(live, conn, pattern)).collect();
        if ended.is_empty() {
            return;
        }
        if protocol(live, conn) != Protocol::Symbols {
            live.clients.send(conn, |out| v1::unsubscribed(out, &ended, reason));
            return;
        }
        let settings = Arc::clone(&self.settings);
        let symbols: Vec<(&str, String)> = ended
            .iter()
            .filter_map(|&channel| {
                Some((settings.names.symbols.name(channel)?, channel.to_owned()))
            })
            .collect();
        if !symbols.is_empty() {
            confirm(live, conn, &settings.names, Change::Unsubscribed, &symbols);
        }
    }
}
