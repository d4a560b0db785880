//! Shard: one thread, one epoll, its own connections, index, timers and share of the outbox memory.
//!
//! A turn reads what sockets have, takes the inbox's batch, marks each message for its receivers, then writes once
//! per connection that something is due to. No lock, no allocation and no wake-up per delivery. What must hold:
//! a connection's output leaves in the order in which this thread produced it, so an acknowledgement's offset is
//! exactly the position after which deliveries follow.

mod deliver;
mod drain;
mod due;
mod input;
mod lifecycle;
mod output;
mod replay;
mod session;
mod settings;
mod timers;
mod unfinished;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use wsgateway_proto::deflate::Inflater;
use wsgateway_runtime::readiness::Pulse;

use super::counters::{Counters, Totals};
use super::inbox::{Entry, Inbox};
use super::index::Index;
use super::wheel::{Deadline, Timer, Wheel};
use crate::conn::Connection;
use crate::conn::outbox::memory::Meter;
use crate::history::Past;
use drain::Drain;
use due::Due;
use replay::Replays;
use settings::ticks;
pub(crate) use settings::{Session, Settings};
use unfinished::Unfinished;

/// Time a client gets to read its close frame and hang up.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolution of heartbeats and deadlines: coarse, so that an idle shard wakes ten times a second at most.
const TICK: Duration = Duration::from_millis(100);

/// Socket events taken per poll: enough to amortise the system call, few enough to reach the inbox soon.
const EVENTS: usize = 1_024;

/// Bytes read from a socket at once. One buffer per shard, not per connection.
const INPUT: usize = 64 << 10;

/// An empty shard shows that it lives this often: six times within the time after which it counts as stuck.
const IDLE: Duration = Duration::from_secs(5);

const WAKE: Token = Token(usize::MAX);

/// The shard's time, read several times a turn.
#[derive(Debug)]
struct Clock {
    start: Instant,
    now_us: u64,
    tick: u32,
}

impl Clock {
    fn update(&mut self) {
        self.now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.tick = u32::try_from(self.now_us / TICK.as_micros() as u64).unwrap_or(u32::MAX);
    }

    fn until_next_tick(&self) -> Duration {
        let tick_us = TICK.as_micros() as u64;
        Duration::from_micros(tick_us - self.now_us % tick_us)
    }
}

/// One thread's worth of connections.
#[derive(Debug)]
pub(crate) struct Shard {
    settings: Settings,
    number: usize,
    poll: Poll,
    inbox: Arc<Inbox>,
    published: Arc<Counters>,
    totals: Totals,
    clock: Clock,
    connections: Slab<Connection>,
    index: Index,
    wheel: Wheel,
    due: Due,
    /// What was before, and those who look back at it.
    past: Past,
    replays: Replays,
    /// Memory of what waits for slow clients.
    outbox_memory: Meter,
    /// Memory of what clients have begun to send.
    unfinished: Unfinished,
    /// Identity of the stream, and the offset of the last message marked for its receivers.
    epoch: Arc<str>,
    position: u64,
    /// Number of the last connection adopted.
    serial: u32,
    drain: Option<Drain>,
    scratch: Scratch,
    /// Made when the first client sends something compressed.
    inflater: Option<Inflater>,
    /// The inbox has called since it was last emptied.
    woken: bool,
    stopping: bool,
}

/// Buffers that every turn uses again.
#[derive(Debug)]
struct Scratch {
    events: Events,
    ready: Vec<Ready>,
    batch: Vec<Entry>,
    timers: Vec<(Timer, Deadline)>,
    /// Sockets that had more to read than one turn takes.
    unread: Vec<Timer>,
    input: Vec<u8>,
    control: Vec<u8>,
}

impl Drop for Shard {
    /// However the thread ends, nobody waits for it.
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    conn: u32,
    readable: bool,
    writable: bool,
    hung_up: bool,
}

impl Shard {
    /// A shard, and the two ends that others hold of it.
    pub(crate) fn new(
        settings: Settings,
        number: usize,
        past: Past,
    ) -> io::Result<(Self, Arc<Inbox>, Arc<Counters>)> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), WAKE)?));
        let published = Arc::new(Counters::default());
        let shard = Self {
            index: Index::new(settings.name_bytes),
            settings,
            number,
            poll,
            inbox: Arc::clone(&inbox),
            published: Arc::clone(&published),
            totals: Totals::default(),
            clock: Clock { start: Instant::now(), now_us: 0, tick: 0 },
            connections: Slab::new(),
            wheel: Wheel::new(),
            due: Due::default(),
            past,
            replays: Replays::default(),
            outbox_memory: Meter::default(),
            unfinished: Unfinished::default(),
            epoch: "".into(),
            position: 0,
            serial: 0,
            drain: None,
            scratch: Scratch {
                events: Events::with_capacity(EVENTS),
                ready: Vec::with_capacity(EVENTS),
                batch: Vec::new(),
                timers: Vec::new(),
                unread: Vec::new(),
                input: vec![0; INPUT],
                control: Vec::with_capacity(4 << 10),
            },
            inflater: None,
            woken: false,
            stopping: false,
        };
        Ok((shard, inbox, published))
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// When epoll itself fails: then nothing can be served any more.
    pub(crate) fn run(mut self, pulse: &Pulse) -> io::Result<()> {
        while !self.stopping {
            pulse.beat();
            if let Err(error) = self.turn(self.patience()) {
                tracing::error!(shard = self.number, %error, "the shard cannot wait for its sockets");
                return Err(error);
            }
        }
        Ok(())
    }

    /// How long the next poll may wait.
    fn patience(&self) -> Option<Duration> {
        if self.woken || !self.scratch.unread.is_empty() || !self.replays.is_idle() {
            Some(Duration::ZERO)
        } else if self.connections.is_empty() {
            Some(IDLE)
        } else if self.due.held.is_empty() {
            Some(self.clock.until_next_tick())
        } else {
            let left = self.due.hold_until_us.saturating_sub(self.clock.now_us);
            Some(self.clock.until_next_tick().min(Duration::from_micros(left)))
        }
    }

    /// One round of everything, waiting at most `patience` for something to do.
    pub(crate) fn turn(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.poll(patience)?;
        self.clock.update();
        let begun_us = self.clock.now_us;
        self.sockets(input::PER_TURN);
        self.work_inbox();
        self.clock.update();
        self.flush_held();
        self.tick();
        self.replay();
        self.totals.connections = self.connections.len() as u64;
        self.totals.outbox_memory = self.outbox_memory.bytes() as u64;
        self.totals.unfinished_bytes = self.unfinished.bytes() as u64;
        self.clock.update();
        self.published.turn(self.clock.now_us - begun_us);
        self.published.publish(&self.totals);
        Ok(())
    }

    fn poll(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.scratch.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Serves sockets between two writes of a long flush, without waiting.
    fn look_at_sockets(&mut self) {
        // An epoll that fails for good fails again in the turn to come, and ends the shard there.
        if self.poll(Some(Duration::ZERO)).is_ok() {
            self.clock.update();
            self.sockets(input::PER_LOOK);
        }
    }

    /// What sockets have for us, as far as a budget of bytes goes: live messages wait for no flood.
    fn sockets(&mut self, mut budget: usize) {
        let mut ready = std::mem::take(&mut self.scratch.ready);
        self.woken |= self.scratch.events.iter().any(|event| event.token() == WAKE);
        ready.extend(self.scratch.events.iter().filter(|event| event.token() != WAKE).map(
            |event| Ready {
                conn: event.token().0 as u32,
                readable: event.is_readable() || event.is_error(),
                writable: event.is_writable(),
                hung_up: event.is_read_closed() || event.is_error(),
            },
        ));
        // First those that were cut short last time, so that nobody is starved by fresh events.
        self.read_unread(&mut budget);
        for event in ready.drain(..) {
            if event.writable {
                self.writable(event.conn);
            }
            if event.readable {
                self.read(event.conn, event.hung_up, &mut budget);
            }
        }
        self.scratch.ready = ready;
    }

    /// A socket takes bytes again. What is left of a chunk of somebody who looks back leaves in the turns of the replays,
    /// not between two live messages.
    fn writable(&mut self, conn: u32) {
        match self.connections.get_mut(conn as usize) {
            Some(connection) if connection.outbox.is_some() && self.replays.has(conn) => {
                // However often the socket says so, it is in the line once.
                if !std::mem::replace(&mut connection.writes_later, true) {
                    self.replays.writable.push_back(Timer { conn, serial: connection.serial });
                }
            }
            _ => self.write_outbox(conn),
        }
    }

    /// Everything that the rest of the process has for us, in order.
    fn work_inbox(&mut self) {
        self.woken = false;
        let mut batch = std::mem::take(&mut self.scratch.batch);
        self.inbox.take(&mut batch);
        for entry in batch.drain(..) {
            if let Entry::Deliver(delivery) = entry {
                self.mark(delivery);
                continue;
            }
            // What is not a delivery must find the deliveries before it done.
            self.flush();
            match entry {
                Entry::Deliver(_) => {}
                Entry::Adopt(handover) => self.adopt(*handover),
                Entry::Opened { epoch, position } => self.opened(epoch, position),
                Entry::Lost { gap, position } => {
                    self.position = self.position.max(position);
                    self.broadcast_gap(&gap);
                }
                Entry::Fetched { query, fetched } => self.fetched(&query, &fetched),
                Entry::Drain { window, reason } => self.start_drain(window, reason),
                Entry::Stop => self.stopping = true,
            }
        }
        self.flush();
        self.scratch.batch = batch;
    }

    /// The source is live at `position`. If it is another stream than before, its offsets mean nothing to the
    /// clients we hold: they reconnect and learn the new epoch.
    fn opened(&mut self, epoch: Arc<str>, position: u64) {
        let replaced = !self.epoch.is_empty() && self.epoch != epoch;
        self.epoch = epoch;
        self.position = position;
        if replaced {
            let draining = self.drain.take();
            self.start_drain(Duration::ZERO, "restart");
            // Whoever arrives during a shutdown is still to be sent away.
            self.drain = draining;
        }
    }

    fn is_current(&self, timer: Timer) -> bool {
        self.connections.get(timer.conn as usize).is_some_and(|conn| conn.serial == timer.serial)
    }

    fn register(&mut self, conn: u32, interest: Interest, again: bool) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return Ok(()) };
        let (registry, token) = (self.poll.registry(), Token(conn as usize));
        if again {
            registry.reregister(&mut connection.stream, token, interest)
        } else {
            registry.register(&mut connection.stream, token, interest)
        }
    }
}
