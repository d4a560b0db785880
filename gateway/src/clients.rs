//! Clients: the connections of one shard, and everything that is written to them.
//!
//! In: messages with their subscribers, frames for single connections, and the time. Out: bytes, in the order in which
//! they were produced, as fast as each socket takes them; the rest waits in the connection's outbox, within bounds. Knows
//! neither channels nor commands. Owns the connections, what is due to them, their timers and their memory. What must
//! hold: a connection that has ended keeps its slot until its owner has been told ([`Clients::next_ended`]), so that no
//! subscription ever points at somebody else.

pub(crate) mod clock;
mod deliver;
pub(crate) mod heartbeat;
mod lifecycle;
mod output;
mod polls;
mod reconfigure;
pub(crate) mod secured;
mod timers;
mod tokens;
mod unfinished;
pub(crate) mod wheel;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::conn::due::Due;
use crate::conn::outbox::memory::Meter;
use crate::conn::slow::Bounds;
use crate::conn::{Connection, Phase, Socket};
use crate::counters::Totals;
use crate::trace::Traced;
use clock::Clock;
use heartbeat::{Heartbeat, Pings};
use reconfigure::Room;
use unfinished::Unfinished;
use wheel::{Deadline, Timer, Wheel};

/// Time a client gets to read its close frame and hang up.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What clients are given, in bytes and ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub bounds: Bounds,
    /// Most bytes that unfinished messages may hold.
    pub unfinished_bytes: usize,
    pub heartbeat: Heartbeat,
    /// Ticks from the first byte of a message to its last one; `None` for as long as it takes.
    pub message_timeout: Option<u32>,
}

/// The connections of one shard.
#[derive(Debug)]
pub(crate) struct Clients {
    settings: Settings,
    room: Room,
    registry: Registry,
    pub clock: Clock,
    pub totals: Totals,
    connections: Slab<Connection>,
    due: Due,
    /// Connections whose due messages leave in the flush under way.
    flushing: Vec<u32>,
    wheel: Wheel,
    /// Timers that are due and not visited yet.
    timers: Vec<(Timer, Deadline)>,
    pings: Pings,
    /// Memory of what waits for slow clients.
    outbox_memory: Meter,
    /// Memory of what clients have begun to send.
    unfinished: Unfinished,
    /// Number of the last connection.
    serial: u32,
    /// Connections that nothing is delivered to any more, until their owner has been told.
    ended: VecDeque<u32>,
    /// Connections whose sockets have taken everything that waited.
    drained: VecDeque<u32>,
    /// Event streams that are to hear something, and long-polls that are to hear how far they are.
    silent: VecDeque<u32>,
    /// Long-polls that are about to end, and when, in the time of the shard: in the order in which they were entered, so
    /// that one may be late by the least of these times.
    gathering: VecDeque<(Duration, Timer)>,
    /// The buffer of frames for single connections.
    control: Vec<u8>,
    /// Traced messages that are due and not written yet.
    pub traced: Traced,
}

impl Clients {
    /// No connections yet; their sockets will be watched by `registry`.
    pub(crate) fn new(settings: Settings, registry: Registry) -> Self {
        Self {
            settings,
            room: Room::of(&settings),
            registry,
            clock: Clock::new(),
            totals: Totals::default(),
            connections: Slab::new(),
            due: Due::default(),
            flushing: Vec::new(),
            wheel: Wheel::new(),
            timers: Vec::new(),
            pings: Pings::default(),
            outbox_memory: Meter::default(),
            unfinished: Unfinished::default(),
            serial: 0,
            ended: VecDeque::new(),
            drained: VecDeque::new(),
            silent: VecDeque::new(),
            gathering: VecDeque::new(),
            control: Vec::with_capacity(4 << 10),
            traced: Traced::default(),
        }
    }

    /// Takes over a socket; `None` when it cannot be watched, and is closed.
    pub(crate) fn insert(&mut self, socket: Socket) -> Option<Timer> {
        self.totals.adopted += 1;
        self.serial = self.serial.wrapping_add(1);
        let connection = Connection::new(socket, self.serial, self.clock.tick);
        let conn = self.connections.insert(connection) as u32;
        if let Err(error) = self.register(conn, Interest::READABLE, false) {
            tracing::warn!(%error, "cannot watch a new connection");
            self.remove(conn, 1006);
            return None;
        }
        if self.get(conn).is_some_and(|connection| connection.tls.is_some())
            && !self.begin_session(conn)
        {
            return None;
        }
        let timer = Timer { conn, serial: self.serial };
        let ping_at = self.settings.heartbeat.ping_at(self.clock.tick, self.serial);
        self.wheel.insert(timer, Deadline::Liveness, ping_at);
        self.watch_token(conn);
        Some(timer)
    }

    /// A connection whose socket is in use, open or closing.
    pub(crate) fn get(&self, conn: u32) -> Option<&Connection> {
        self.connections.get(conn as usize).filter(|connection| connection.phase != Phase::Ended)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, conn: u32) -> Option<&mut Connection> {
        active(&mut self.connections, conn)
    }

    /// Any connection that still has its slot: to set right what refers to it.
    pub(crate) fn slot_mut(&mut self, conn: u32) -> Option<&mut Connection> {
        self.connections.get_mut(conn as usize)
    }

    /// Whether a connection may be sent anything, as far as its phase goes.
    pub(crate) fn is_open(&self, conn: u32) -> bool {
        self.get(conn).is_some_and(Connection::is_open)
    }

    /// Whether a timer's connection is still there.
    pub(crate) fn is_current(&self, timer: Timer) -> bool {
        self.get(timer.conn).is_some_and(|connection| connection.serial == timer.serial)
    }

    /// Whether a timer's connection is still there and open.
    pub(crate) fn is_current_and_open(&self, timer: Timer) -> bool {
        self.is_current(timer) && self.is_open(timer.conn)
    }

    /// The connections that are open, each with its slot.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let all = self.connections.iter().map(|(conn, connection)| (conn as u32, connection));
        all.filter(|(_, connection)| connection.is_open())
    }

    /// Connections held, those that are closing included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// The tally, up to date.
    pub(crate) fn totals(&mut self) -> &Totals {
        self.totals.connections = self.connections.len() as u64;
        self.totals.outbox_memory = self.outbox_memory.bytes() as u64;
        self.totals.unfinished_bytes = self.unfinished.bytes() as u64;
        &self.totals
    }

    /// A connection that nothing is delivered to any more: its subscriptions are to be taken out of every index, then
    /// [`Clients::release`] it. It may come twice: when it begins to close, and when its socket is done with.
    pub(crate) fn next_ended(&mut self) -> Option<u32> {
        self.ended.pop_front()
    }

    /// Nothing refers to an ended connection any more. Its socket is closed if it is done with; that of a long-poll goes
    /// back to the HTTP server.
    pub(crate) fn release(&mut self, conn: u32) {
        let done = |connection: &Connection| connection.phase == Phase::Ended;
        if self.connections.get(conn as usize).is_some_and(done) {
            self.end_session(conn);
            self.totals.writes += polls::give_back(self.connections.remove(conn as usize));
        }
    }

    /// A connection whose socket has taken everything that waited for it.
    pub(crate) fn next_drained(&mut self) -> Option<u32> {
        self.drained.pop_front()
    }

    /// A connection whose client is to hear up to where it has been sent everything: [`Clients::send_position`].
    pub(crate) fn next_silent(&mut self) -> Option<u32> {
        self.silent.pop_front()
    }

    /// Identity of the stream that is delivered.
    pub(crate) fn epoch(&self) -> &Arc<str> {
        &self.due.epoch
    }

    /// What is delivered from now on is of another stream.
    pub(crate) fn set_epoch(&mut self, epoch: Arc<str>) {
        self.due.epoch = epoch;
    }

    fn register(&mut self, conn: u32, interest: Interest, again: bool) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return Ok(()) };
        let token = Token(conn as usize);
        if again {
            self.registry.reregister(&mut connection.stream, token, interest)
        } else {
            self.registry.register(&mut connection.stream, token, interest)
        }
    }
}

/// A connection whose socket is in use.
fn active(connections: &mut Slab<Connection>, conn: u32) -> Option<&mut Connection> {
    connections.get_mut(conn as usize).filter(|connection| connection.phase != Phase::Ended)
}
