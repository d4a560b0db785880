//! Shard: one thread, one epoll, its own connections, index, timers and share of the outbox memory.
//!
//! A turn reads what sockets have, takes the inbox's batch, marks each message for its receivers, then writes once
//! per connection that something is due to, and takes a few fresh connections in. No lock, no allocation and no wake-up per delivery. The shard is the order
//! of things; each part has its own state and knows only those before it: [`Clients`] (connections and what is written to
//! them), [`Live`] (who is subscribed to what), [`Sessions`] (commands and replays), [`Input`] (bytes to messages). What
//! must hold: a connection's output leaves in the order in which this thread produced it, so an acknowledgement's offset
//! is exactly the position after which deliveries follow.

mod arrive;
pub(crate) mod commands;
mod drain;
pub(crate) mod handler;
pub(crate) mod input;
pub(crate) mod live;
mod paced;
mod replay;
pub(crate) mod session;
mod settings;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use wsgateway_config::ShedReason;
use wsgateway_runtime::readiness::Pulse;

use super::arrivals::Handover;
use super::inbox::{Entry, Inbox, Who};
use crate::clients::Clients;
use crate::clients::clock::ticks;
use crate::clients::wheel::Timer;
use crate::conn::Connection;
use crate::counters::Counters;
use crate::history::Past;
use crate::trace::Traced;
use drain::{Cost, Drain, cheapest};
use handler::Handler;
use input::{Input, Listener, Message};
use live::Live;
use replay::Replays;
use session::Sessions;
pub(crate) use settings::Settings;

/// Socket events taken per poll: enough to amortise the system call, few enough to reach the inbox soon.
const EVENTS: usize = 1_024;

/// An idle shard with connections wakes after so many ticks, if no timer is due before.
const IDLE_TICKS: u32 = 10;

/// An empty shard shows that it lives this often: six times within the time after which it counts as stuck.
const IDLE: Duration = Duration::from_secs(5);

const WAKE: Token = Token(usize::MAX);

/// One thread's worth of connections.
#[derive(Debug)]
pub(crate) struct Shard {
    number: usize,
    poll: Poll,
    events: Events,
    ready: Vec<Ready>,
    inbox: Arc<Inbox>,
    batch: Vec<Entry>,
    arrivals: Vec<Handover>,
    published: Arc<Counters>,
    input: Input,
    parts: Parts,
    drain: Option<Drain>,
    /// Every connection is to go, since the process ends.
    leaves: bool,
    /// The inbox has called since it was last emptied.
    woken: bool,
    /// Connections wait that the last turn had no time for.
    crowded: bool,
    stopping: bool,
}

/// What acts on the messages of clients.
#[derive(Debug)]
struct Parts {
    live: Live,
    sessions: Sessions,
    handler: &'static dyn Handler,
}

impl Listener for Parts {
    fn clients(&mut self) -> &mut Clients {
        &mut self.live.clients
    }

    fn message(&mut self, conn: u32, message: Message<'_>) {
        self.handler.message(&mut self.sessions, &mut self.live, conn, message);
    }
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
        settings: &Settings,
        handler: &'static dyn Handler,
        number: usize,
        past: Past,
    ) -> io::Result<(Self, Arc<Inbox>, Arc<Counters>)> {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(Waker::new(poll.registry(), WAKE)?));
        let published = Arc::new(Counters::default());
        let mut clients = Clients::new(settings.clients, poll.registry().try_clone()?);
        clients.traced = Traced::of(number);
        let mut live = Live::new(clients, settings.name_bytes);
        live.paces = settings.paces;
        let replays = Replays::new(past, Arc::clone(&inbox));
        let sessions = Sessions::new(settings, number, replays);
        let shard = Self {
            number,
            poll,
            events: Events::with_capacity(EVENTS),
            ready: Vec::with_capacity(EVENTS),
            inbox: Arc::clone(&inbox),
            batch: Vec::new(),
            arrivals: Vec::new(),
            published: Arc::clone(&published),
            input: Input::new(settings.input),
            parts: Parts { live, sessions, handler },
            drain: None,
            leaves: false,
            woken: false,
            crowded: false,
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
            let timeout = self.gather_pongs();
            if let Err(error) = self.turn(timeout) {
                tracing::error!(shard = self.number, %error, "the shard cannot wait for its sockets");
                return Err(error);
            }
        }
        Ok(())
    }

    /// Time until there is something to do besides the rest of a burst of pings.
    fn idle_for(&self) -> Duration {
        let clients = &self.parts.live.clients;
        let has_work = self.woken || self.crowded || !self.input.is_idle();
        if has_work || !self.parts.sessions.replays.is_idle() {
            return Duration::ZERO;
        }
        if clients.len() == 0 {
            return IDLE;
        }
        // A drain continues with every tick.
        let timers = clients.until_next_timer(if self.drain.is_some() { 1 } else { IDLE_TICKS });
        let left_us = |until_us: u64| until_us.saturating_sub(clients.clock.now_us);
        let paced = self.parts.live.paced.next_us();
        let precise =
            clients.hold_until_us().into_iter().chain(clients.answer_at_us()).chain(paced).min();
        precise.map_or(timers, |until_us| Duration::from_micros(left_us(until_us)).min(timers))
    }

    /// Leaves sockets alone for a moment after a burst of pings, so that one poll finds many pongs. What the rest of the
    /// process has for the shard ends this at once. Returns how long the next poll may wait.
    fn gather_pongs(&mut self) -> Duration {
        let (idle, clients) = (self.idle_for(), &self.parts.live.clients);
        let waited = match clients.wait_for_pongs(idle) {
            Some(wait) if self.inbox.wait(wait) => return Duration::ZERO,
            Some(wait) => wait,
            None => Duration::ZERO,
        };
        if clients.has_late_timers() { Duration::ZERO } else { idle.saturating_sub(waited) }
    }

    /// One round of everything, waiting at most `timeout` for something to do.
    pub(crate) fn turn(&mut self, timeout: Duration) -> io::Result<()> {
        self.poll(timeout)?;
        self.clients().clock.update();
        let begun_us = self.clients().clock.now_us;
        self.serve_sockets(input::PER_TURN);
        self.serve_inbox();
        self.clients().clock.update();
        let worked_us = self.clients().clock.now_us - begun_us;
        self.welcome(worked_us);
        self.emit_paced();
        self.flush_held();
        self.end_answers();
        self.tick();
        self.parts.sessions.replays.turn(&mut self.parts.live);
        self.settle();
        let clients = &mut self.parts.live.clients;
        clients.clock.update();
        self.published.turn(clients.clock.now_us - begun_us);
        self.published.publish(clients.totals());
        Ok(())
    }

    fn clients(&mut self) -> &mut Clients {
        &mut self.parts.live.clients
    }

    fn poll(&mut self, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// What sockets have for us, as far as a budget of bytes goes: live messages wait for no flood.
    fn serve_sockets(&mut self, mut budget: usize) {
        self.woken |= self.events.iter().any(|event| event.token() == WAKE);
        self.ready.extend(self.events.iter().filter(|event| event.token() != WAKE).map(|event| {
            Ready {
                conn: event.token().0 as u32,
                readable: event.is_readable() || event.is_error(),
                writable: event.is_writable(),
                hung_up: event.is_read_closed() || event.is_error(),
            }
        }));
        // First those that were cut short last time, so that nobody is starved by fresh events.
        self.input.read_unread(&mut self.parts, &mut budget);
        for event in self.ready.drain(..) {
            if event.writable {
                let Parts { live, sessions, .. } = &mut self.parts;
                if !sessions.replays.defers(live, event.conn) {
                    live.clients.write_outbox(event.conn);
                }
            }
            if event.readable {
                self.input.read(&mut self.parts, event.conn, event.hung_up, &mut budget);
            }
        }
        self.settle();
    }

    /// Everything that the rest of the process has for us, in order.
    fn serve_inbox(&mut self) {
        self.woken = false;
        let mut batch = std::mem::take(&mut self.batch);
        self.inbox.take(&mut batch);
        for entry in batch.drain(..) {
            if let Entry::Deliver(delivery) = entry {
                self.parts.live.mark(delivery);
                if self.clients().is_full() {
                    self.flush(true);
                }
                continue;
            }
            // What is not a delivery must find the deliveries before it done.
            self.flush(false);
            self.serve_entry(entry);
            self.settle();
        }
        self.flush(false);
        self.batch = batch;
    }

    fn serve_entry(&mut self, entry: Entry) {
        let Parts { live, sessions, .. } = &mut self.parts;
        match entry {
            Entry::Deliver(_) => {}
            Entry::Opened { epoch, position } => self.opened(epoch, position),
            Entry::Lost { gap, position } => {
                live.position = live.position.max(position);
                sessions.report_gap(live, &gap);
            }
            Entry::Fetched { query, fetched } => sessions.replays.fetched(live, &query, &fetched),
            Entry::Drain { window, reason } => {
                self.drain = Some(Drain::new(&live.clients, window, reason));
                self.leaves = true;
                self.continue_drain();
            }
            Entry::Shed { count, window, who } => self.shed(count, window, who),
            Entry::CloseUsers(numbers) => live.clients.close_users(&numbers),
            Entry::Keep if !self.leaves => self.drain = None,
            Entry::Keep => {}
            Entry::Configure(settings) => self.configure(&settings),
            Entry::Stop => self.stopping = true,
        }
    }

    /// Takes up other settings, for connections that are there and for those that come.
    fn configure(&mut self, settings: &Settings) {
        self.input.configure(settings.input);
        let Parts { live, sessions, .. } = &mut self.parts;
        live.clients.reconfigure(settings.clients);
        live.index.set_budget(settings.name_bytes);
        let fresh = sessions.fresh_disconnects(&settings.disconnects);
        live.paces = settings.paces;
        sessions.configure(settings);
        let ended = live.clients.disconnect(&fresh);
        if ended > 0 {
            tracing::info!(shard = self.number, ended, "connections were disconnected by request");
        }
        self.dismiss_strangers();
    }

    /// Sends those away who came while nobody was asked for a token, if everybody is now.
    fn dismiss_strangers(&mut self) {
        let Parts { live, sessions, .. } = &self.parts;
        let strangers: Vec<Timer> =
            live.clients.open().filter_map(|(conn, _)| sessions.stranger(live, conn)).collect();
        for timer in strangers {
            self.parts.dismiss(timer, "auth");
        }
    }

    /// The source is live at `position`. If it is another stream than before, its offsets mean nothing to the
    /// clients we hold: they reconnect and learn the new epoch.
    fn opened(&mut self, epoch: Arc<str>, position: u64) {
        let live = &mut self.parts.live;
        let replaced = !live.epoch().is_empty() && *live.epoch() != epoch;
        live.clients.set_epoch(epoch);
        live.position = position;
        if replaced {
            live.paced.clear();
            let mut all = Drain::new(&live.clients, Duration::ZERO, "restart");
            while let Some(timer) = all.next(self.parts.live.clients.clock.now_us) {
                self.parts.dismiss(timer, all.reason);
            }
        }
    }

    /// Writes what leaves in this turn; `held`: and what is on hold. Sockets are served in between.
    fn flush(&mut self, held: bool) {
        self.clients().begin_flush(held);
        while self.clients().flush() {
            // An epoll that fails for good fails again in the turn to come, and ends the shard there.
            if self.poll(Duration::ZERO).is_ok() {
                self.clients().clock.update();
                self.serve_sockets(input::PER_PAUSE);
            }
        }
        self.settle();
    }

    /// Delivers what has waited for the interval of its channel.
    fn emit_paced(&mut self) {
        if self.parts.live.paced.is_empty() {
            return;
        }
        while self.parts.live.emit_due() {
            if self.clients().is_full() {
                self.flush(true);
            }
        }
        self.flush(false);
        let waiting = self.parts.live.paced.waiting() as u64;
        self.clients().totals.rate_waiting = waiting;
    }

    /// Writes what was on hold, if the time has come.
    fn flush_held(&mut self) {
        let clients = self.clients();
        if clients.hold_until_us().is_some_and(|until_us| clients.clock.now_us >= until_us) {
            self.flush(true);
        }
    }

    /// Ends the answers of long-polls whose time has come.
    fn end_answers(&mut self) {
        self.clients().end_answers();
        self.settle();
    }

    fn tick(&mut self) {
        self.clients().tick();
        self.continue_drain();
        self.settle();
    }

    /// Begins to send some connections away; those of the time before that are still there go at once.
    fn shed(&mut self, count: usize, window: Duration, Who { reason, min_age }: Who) {
        if self.leaves {
            return;
        }
        for timer in self.drain.take().map(Drain::rest).unwrap_or_default() {
            self.parts.dismiss(timer, reason.as_str());
        }
        let Parts { live, sessions, .. } = &self.parts;
        let (tick, youngest) = (live.clients.clock.tick, min_age.map_or(0, ticks));
        let is_old = |connection: &Connection| tick.saturating_sub(connection.opened) >= youngest;
        let old = live.clients.open().filter(|(_, connection)| is_old(connection));
        let costs = old.map(|(conn, connection)| {
            let timer = Timer { conn, serial: connection.serial };
            let catching_up = sessions.replays.has(conn) || connection.is_blocked();
            let cost = match reason {
                ShedReason::Rebalance => Cost {
                    catching_up,
                    subscriptions: connection.subscriptions.len(),
                    heard: connection.heard,
                },
                // All of them go in the end.
                ShedReason::Drain => {
                    Cost { catching_up, subscriptions: 0, heard: fastrand::u32(..) }
                }
            };
            (cost, timer)
        });
        let may_go = |cost: &Cost| reason == ShedReason::Drain || !cost.catching_up;
        let chosen = cheapest(costs.filter(|(cost, _)| may_go(cost)).collect(), count);
        let now_us = live.clients.clock.now_us;
        self.drain = Some(Drain::of(chosen, now_us, window, reason.as_str()));
        self.continue_drain();
    }

    /// Sends those away whose time has come.
    fn continue_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        while let Some(timer) = drain.next(self.parts.live.clients.clock.now_us) {
            self.parts.dismiss(timer, drain.reason);
        }
    }

    /// Follows up on what happened to connections: replays go on where a socket takes bytes again, and what has ended is
    /// subscribed to nothing.
    fn settle(&mut self) {
        let Parts { live, sessions, .. } = &mut self.parts;
        while let Some(conn) = live.clients.next_drained() {
            sessions.replays.wake(conn);
        }
        while let Some(conn) = live.clients.next_silent() {
            sessions.report_position(live, conn);
        }
        while let Some(conn) = live.clients.next_ended() {
            sessions.end(live, conn);
            live.clients.release(conn);
        }
    }
}

impl Parts {
    fn dismiss(&mut self, timer: Timer, reason: &'static str) {
        self.sessions.dismiss(&mut self.live, timer, reason);
    }
}

#[cfg(test)]
mod idle_tests;
#[cfg(test)]
mod poll_tests;
