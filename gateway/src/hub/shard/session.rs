//! Sessions: what a client asks for, in each protocol, and what it is told unasked.
//!
//! In: commands. Out: answers, and changes of what is delivered: live ([`Live`]) or from the past ([`Replays`]).

mod identity;
mod odin;
mod subscribe;
mod symbols;
mod v1;

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_config::Protocol;
use wsgateway_proto::v1::Id;
use wsgateway_proto::{odin as odin_wire, symbols as symbols_wire, v1 as v1_wire};

use super::live::Live;
use super::replay::Replays;
use super::settings::{SessionSettings, Settings};
use crate::auth::Guard;
use crate::clients::wheel::Timer;
use crate::disconnects::Disconnects;
use crate::time::unix_ms;

/// Clients told to reconnect in the same tick spread themselves over this time.
const JITTER_MS: u64 = 1_000;

/// Writes the first push of a session.
type Hello = fn(&mut Vec<u8>, &v1_wire::Hello<'_>);

/// The sessions of a shard: what its clients ask for, in every protocol.
#[derive(Debug)]
pub(crate) struct Sessions {
    settings: Arc<SessionSettings>,
    /// What verifies the tokens of clients, if they need any.
    guard: Option<Arc<Guard>>,
    disconnects: Arc<Disconnects>,
    /// The shard's.
    number: usize,
    pub(super) replays: Replays,
}

impl Sessions {
    pub(super) fn new(settings: &Settings, number: usize, replays: Replays) -> Self {
        let (session, guard) = (Arc::clone(&settings.session), settings.guard.clone());
        let disconnects = Arc::clone(&settings.disconnects);
        Self { settings: session, guard, disconnects, number, replays }
    }

    /// Takes up other settings, for what is asked from now on.
    pub(super) fn configure(&mut self, settings: &Settings) {
        self.settings = Arc::clone(&settings.session);
        self.guard.clone_from(&settings.guard);
        self.disconnects = Arc::clone(&settings.disconnects);
    }

    /// Acts on one command, in the protocol of the connection.
    pub(super) fn command(&mut self, live: &mut Live, conn: u32, text: &str) {
        match protocol(live, conn) {
            Protocol::WsGateway => self.v1_command(live, conn, text),
            Protocol::Odin => self.odin_command(live, conn, text),
            Protocol::Symbols => self.symbols_command(live, conn, text),
        }
    }

    /// Begins a session: answers the client's request, if nobody has, and says hello, where the protocol has a word for
    /// it: in one write.
    pub(super) fn open(&mut self, live: &mut Live, conn: u32, response: &[u8]) {
        let protocol = protocol(live, conn);
        let events = live.clients.get(conn).is_some_and(|connection| connection.form.is_events());
        let established = match protocol {
            Protocol::WsGateway => Some(v1_wire::established as Hello),
            Protocol::Odin if self.settings.greets_odin => Some(odin_wire::established as _),
            Protocol::Odin | Protocol::Symbols => None,
        };
        match established {
            Some(established) if events => {
                live.clients.send_raw(conn, response);
                self.greet(live, conn, &[], established);
            }
            Some(established) => self.greet(live, conn, response, established),
            None if response.is_empty() => {}
            None => live.clients.send_raw(conn, response),
        }
        self.subscribe_unasked(live, conn);
        if protocol == Protocol::Odin {
            self.subscribe_initially(live, conn);
        }
    }

    fn greet(&self, live: &mut Live, conn: u32, response: &[u8], established: Hello) {
        let (settings, epoch) = (&self.settings, Arc::clone(live.epoch()));
        let serial = live.clients.get(conn).map_or(0, |connection| connection.serial);
        let connection_id = format!("{:08x}-{}-{serial}", settings.boot, self.number);
        let grant = live.clients.grant(conn).cloned();
        let grant = grant.as_deref();
        let subscribed: Vec<&str> =
            self.unasked(live, conn, grant).map(|(pattern, _)| pattern).collect();
        let has_some = !subscribed.is_empty();
        let hello = v1_wire::Hello {
            connection_id: &connection_id,
            pod: &settings.pod,
            epoch: &epoch,
            heartbeat_ms: settings.heartbeat_ms,
            limits: settings.limits,
            ts: unix_ms(),
            user: grant.and_then(|grant| grant.user.as_deref()),
            expires_at: grant.and_then(|grant| grant.expires_at_ms),
            subscribed: has_some.then_some(&subscribed),
            offset: has_some.then_some(live.position),
        };
        live.clients.send(conn, |out| {
            out.extend_from_slice(response);
            established(out, &hello);
        });
    }

    /// Reports to a client up to where it has been sent everything.
    pub(super) fn report_position(&self, live: &mut Live, conn: u32) {
        let offset = self.sent_up_to(live, conn, &[]);
        live.clients.send_position(conn, offset);
    }

    /// A connection has ended: nothing is delivered to it any more.
    pub(super) fn end(&mut self, live: &mut Live, conn: u32) {
        self.replays.remove_all(conn);
        live.release_all(conn);
    }

    /// Reports messages that are lost to everybody, after what is due already; `frame` is for those who know gaps.
    pub(super) fn report_gap(&self, live: &mut Live, frame: &Bytes) {
        let open: Vec<u32> = live.clients.open().map(|(conn, _)| conn).collect();
        for conn in open {
            match protocol(live, conn) {
                Protocol::WsGateway | Protocol::Odin => live.clients.send_bytes(conn, frame),
                Protocol::Symbols => live.clients.send(conn, |out| {
                    symbols_wire::error(out, "Some trades were lost", unix_ms());
                }),
            }
        }
    }

    /// Asks one client to reconnect, and closes with 1012.
    pub(super) fn dismiss(&self, live: &mut Live, timer: Timer, reason: &str) {
        if !live.clients.is_current_and_open(timer) {
            return;
        }
        live.clients.totals.sent_away += 1;
        let after_ms = fastrand::u64(0..JITTER_MS);
        // Clients of symbols.v1 know no such advice: they take it from the close frame.
        if protocol(live, timer.conn) != Protocol::Symbols {
            live.clients.send(timer.conn, |out| v1_wire::reconnect(out, after_ms, reason));
        }
        live.clients.close(timer.conn, 1012, reason);
    }

    fn too_many_replays(&mut self, live: &mut Live, conn: u32, id: Option<Id<'_>>) {
        let message = "replays of this connection are under way: wait for one to end";
        self.refuse(live, conn, id, "too_many_replays", message);
    }

    fn refuse(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        code: &str,
        message: &str,
    ) {
        live.clients.totals.command_errors += 1;
        let is_symbols = protocol(live, conn) == Protocol::Symbols;
        live.clients.send(conn, |out| match is_symbols {
            true => symbols_wire::error(out, message, unix_ms()),
            false => v1_wire::error(out, id, code, message),
        });
    }
}

/// What is spoken with a connection.
fn protocol(live: &Live, conn: u32) -> Protocol {
    live.clients.get(conn).map_or(Protocol::default(), |connection| connection.form.protocol)
}
