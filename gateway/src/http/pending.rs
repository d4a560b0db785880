//! Pending: HTTP connections of the client port that are not upgraded (yet), bounded in number and in time.
//!
//! A connection has a place from its acceptance to its end or upgrade. Event streams and long-polls last, and are counted
//! by admission like WebSocket clients: their sockets leave, and that of a long-poll takes a place again with its answer
//! ([`Return`]). When every place is taken, the connection that has been idle for longest ends for the next one, see
//! [`table`].

mod caller;
mod table;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::metrics::PendingMetrics;
use crate::peer::Peer;
use crate::tls::{Link, Wire, into_link};
use caller::Caller;
use table::{Table, Ticket};

/// Time to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The places of one port.
#[derive(Debug)]
pub(crate) struct Places {
    table: Mutex<Table<Arc<Notify>>>,
    /// In milliseconds.
    keep_alive: AtomicU64,
    metrics: PendingMetrics,
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Pending {
    places: Arc<Places>,
    peer: Peer,
    caller: Mutex<Caller>,
    state: Mutex<State>,
    /// Its place was given to another one.
    evicted: Arc<Notify>,
    /// It came back from a long-poll and found no place.
    crowded: Notify,
    /// There is a deadline that is earlier than the one before.
    sooner: Notify,
    /// What takes the socket over from HTTP, once there is something.
    takeover: Mutex<Option<Takeover>>,
    taken_over: Notify,
    /// The last write did not get rid of everything.
    blocked: AtomicBool,
}

/// Goes on with a socket; its first answer is still to be written.
pub(super) struct Takeover(Box<dyn FnOnce(Released) -> BoxFuture<'static, ()> + Send>);

/// A socket that leaves the HTTP server.
pub(super) struct Released {
    pub stream: Wire,
    /// What was read of it after the request.
    pub before: Bytes,
    /// What served it.
    pub routes: Router,
}

impl Released {
    /// The socket, what was read of it after the request, and what served it.
    ///
    /// # Errors
    /// It cannot be taken from the runtime.
    pub(super) fn into_parts(self) -> io::Result<(Link, Bytes, Router)> {
        let (link, decrypted) = into_link(self.stream)?;
        Ok((link, join(self.before, &decrypted), self.routes))
    }
}

/// Bytes in order.
pub(super) fn join(first: Bytes, second: &[u8]) -> Bytes {
    if second.is_empty() { first } else { [&first, second].concat().into() }
}

impl Takeover {
    pub(super) fn new<F>(serve: impl FnOnce(Released) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Box::new(|released| Box::pin(serve(released))))
    }

    pub(super) fn serve(self, released: Released) -> BoxFuture<'static, ()> {
        (self.0)(released)
    }
}

impl std::fmt::Debug for Takeover {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Takeover")
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    ticket: Option<Ticket>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its request's head is awaited.
    Head { since: Instant },
    /// It is kept between requests.
    Idle { since: Instant },
    /// It is answered.
    Answered,
}

/// Why a connection has to end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Evicted,
    TimedOut,
}

/// The way back to a place, for a socket that was released.
#[derive(Debug)]
pub(super) struct Return {
    places: Arc<Places>,
    peer: Peer,
    caller: Caller,
}

/// A request that is answered, until its drop.
#[derive(Debug)]
pub(super) struct Answering {
    pending: Arc<Pending>,
}

impl Phase {
    /// The phase after bytes came, if it is another one.
    fn heard(self, now: Instant) -> Option<Self> {
        matches!(self, Self::Idle { .. }).then_some(Self::Head { since: now })
    }

    /// When the connection ends by itself; while it is answered the kernel's timeout holds.
    fn deadline(self, keep_alive: Duration) -> Option<Instant> {
        match self {
            Self::Head { since } => Some(since + HEAD_TIMEOUT),
            Self::Idle { since } => Some(since + keep_alive),
            Self::Answered => None,
        }
    }
}

impl Places {
    /// So many places, and the time for which a connection is kept between requests.
    pub(crate) fn new(limit: usize, keep_alive: Duration, metrics: PendingMetrics) -> Arc<Self> {
        let keep_alive = AtomicU64::new(millis(keep_alive));
        Arc::new(Self { table: Mutex::new(Table::new(limit)), keep_alive, metrics })
    }

    /// Has so many places, and keeps connections for so long, from now on. Nobody leaves for it at once.
    pub(crate) fn resize(&self, limit: usize, keep_alive: Duration) {
        self.table().resize(limit);
        self.keep_alive.store(millis(keep_alive), Ordering::Relaxed);
    }

    fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive.load(Ordering::Relaxed))
    }

    /// Takes a place, from another connection if none is free.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Arc<Pending> {
        let (peer, evicted) = (Peer::from(address), Arc::new(Notify::new()));
        let ticket = self.take(peer, &evicted);
        let state = State { ticket: Some(ticket), phase: Phase::Head { since: now } };
        self.hold((peer, Caller::new(address)), evicted, state)
    }

    fn hold(
        self: &Arc<Self>,
        (peer, caller): (Peer, Caller),
        evicted: Arc<Notify>,
        state: State,
    ) -> Arc<Pending> {
        Arc::new(Pending {
            places: Arc::clone(self),
            peer,
            caller: Mutex::new(caller),
            state: Mutex::new(state),
            evicted,
            crowded: Notify::new(),
            sooner: Notify::new(),
            takeover: Mutex::new(None),
            taken_over: Notify::new(),
            blocked: AtomicBool::new(false),
        })
    }

    /// Whether connections should end with their answer.
    pub(super) fn is_pressed(&self) -> bool {
        self.table().is_pressed()
    }

    fn take(&self, peer: Peer, connection: &Arc<Notify>) -> Ticket {
        let mut table = self.table();
        let (ticket, other) = table.enter(peer, Arc::clone(connection));
        self.metrics.held.set(table.len() as i64);
        if let Some(other) = other {
            self.metrics.evicted.inc();
            other.notify_one();
        }
        ticket
    }

    fn leave(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let mut table = self.table();
            table.leave(ticket);
            self.metrics.held.set(table.len() as i64);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table<Arc<Notify>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Pending {
    /// Bytes came: between requests they begin the next head.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        if let Some(phase) = state.phase.heard(Instant::now()) {
            state.phase = phase;
            self.sooner.notify_one();
        }
    }

    /// A head is complete: no deadline until the answer has been taken.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        self.step(Phase::Answered);
        Answering { pending: Arc::clone(self) }
    }

    /// The way back, for a socket that leaves.
    pub(super) fn way_back(&self) -> Return {
        let caller = self.caller().clone();
        Return { places: Arc::clone(&self.places), peer: self.peer, caller }
    }

    /// Has the socket taken over, as soon as earlier answers have been written. The request's handler must not answer.
    pub(super) fn take_over(&self, takeover: Takeover) {
        *self.takeover.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
        self.taken_over.notify_one();
    }

    /// Waits until the socket is taken over, and everything before is written.
    pub(super) async fn taken_over(&self) -> Takeover {
        loop {
            self.taken_over.notified().await;
            if !self.blocked.load(Ordering::Relaxed) {
                let mut takeover = self.takeover.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(takeover) = takeover.take() {
                    return takeover;
                }
            }
        }
    }

    /// A write got rid of everything, or not.
    pub(super) fn wrote(&self, all: bool) {
        if self.blocked.swap(!all, Ordering::Relaxed) && all {
            self.taken_over.notify_one();
        }
    }

    /// Whether the connection should end with its answer.
    pub(super) fn is_pressed(&self) -> bool {
        self.places.is_pressed()
    }

    /// Waits until the connection has no place any more, and is not served beyond its present request.
    pub(super) async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// Waits until the connection has to end as it is.
    pub(super) async fn over(&self) -> Over {
        loop {
            let deadline = self.deadline();
            let expiry = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.evicted.notified() => return Over::Evicted,
                () = self.sooner.notified() => {}
                () = expiry => {
                    if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                        return Over::TimedOut;
                    }
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.state().phase.deadline(self.places.keep_alive())
    }

    fn step(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        if let Some(ticket) = state.ticket {
            state.ticket = self.places.table().step(ticket);
        }
    }

    /// Who is at the other end.
    pub(super) fn caller(&self) -> MutexGuard<'_, Caller> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let ticket = self.state().ticket;
        self.places.leave(ticket);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.pending.step(Phase::Idle { since: Instant::now() });
        self.pending.sooner.notify_one();
    }
}

impl Return {
    /// Whether there is a place to come back to, as things are now.
    pub(super) fn has_room(&self) -> bool {
        !self.places.is_pressed()
    }

    /// Takes a place again, between two requests. It takes nobody else's, since its client knows how to come back: if
    /// every place is taken, the connection is to end with its answer ([`Pending::crowded`]).
    pub(super) fn enter(self) -> Arc<Pending> {
        let Self { places, peer, caller } = self;
        let evicted = Arc::new(Notify::new());
        let is_full = places.table().is_full();
        let ticket = if is_full { None } else { Some(places.take(peer, &evicted)) };
        let phase = Phase::Idle { since: Instant::now() };
        let pending = places.hold((peer, caller), evicted, State { ticket, phase });
        if is_full {
            pending.crowded.notify_one();
        }
        pending
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    fn places(limit: usize) -> Arc<Places> {
        Places::new(
            limit,
            KEEP_ALIVE,
            PendingMetrics::register(&prometheus::Registry::new()).unwrap(),
        )
    }

    fn connection(places: &Arc<Places>) -> Arc<Pending> {
        places.enter(Ipv4Addr::LOCALHOST.into(), Instant::now())
    }

    fn held(places: &Arc<Places>) -> i64 {
        places.metrics.held.get()
    }

    #[test]
    fn a_socket_that_leaves_gives_its_place_up_and_takes_one_again_when_it_comes_back() {
        let places = places(4);
        let one = connection(&places);
        let back = one.way_back();
        drop(one);
        assert!(back.has_room());
        assert_eq!(held(&places), 0);
        let one = back.enter();
        assert_eq!(held(&places), 1);
        drop(one);
        assert_eq!(held(&places), 0);
    }

    #[tokio::test]
    async fn a_connection_that_comes_back_from_a_long_poll_to_no_place_ends() {
        let places = places(1);
        let back = connection(&places).way_back();
        let other = connection(&places);
        assert!(!back.has_room());
        let one = back.enter();
        one.crowded().await;
        drop(one);
        assert_eq!((held(&places), places.metrics.evicted.get()), (1, 0));
        drop(other);
    }

    #[tokio::test]
    async fn a_connection_ends_at_once_when_another_one_gets_its_place() {
        let places = places(1);
        let one = connection(&places);
        let other = connection(&places);
        assert_eq!(one.over().await, Over::Evicted);
        drop(one);
        assert_eq!((held(&places), places.metrics.evicted.get()), (1, 1));
        drop(other);
    }

    #[test]
    fn a_head_has_ten_seconds_and_an_idle_connection_its_keep_alive() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let left = |phase: Phase| phase.deadline(KEEP_ALIVE).map(|deadline| deadline - start);
        assert_eq!(left(Phase::Head { since: start }), Some(10 * second));
        assert_eq!(left(Phase::Idle { since: start }), Some(75 * second));
        assert_eq!(left(Phase::Answered), None);
    }

    #[test]
    fn the_next_head_has_ten_seconds_from_its_first_byte_on_however_slowly_it_comes() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let head = Phase::Idle { since: start }.heard(start + 3 * second).unwrap();
        assert_eq!(head, Phase::Head { since: start + 3 * second });
        assert_eq!(head.heard(start + 6 * second), None);
        assert_eq!(Phase::Answered.heard(start), None);
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_for_too_long_ends() {
        let metrics = PendingMetrics::register(&prometheus::Registry::new()).unwrap();
        let places = Places::new(9, Duration::from_millis(5), metrics);
        let one = connection(&places);
        drop(one.answer());
        assert_eq!(one.over().await, Over::TimedOut);
    }
}
