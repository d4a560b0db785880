//! The handles: a client, and the streams of its subscriptions.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::{Notify, watch};

use crate::builder::{BuildError, Builder};
use crate::event::{Cursor, Event, Refused, Subscribed};
use crate::queue::{Bounds, Queues};
use crate::run::{Runner, Settings};
use crate::session::Session;

/// What the handles and the connection's task share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something has changed: what is wanted, or room in a queue.
    pub wake: Notify,
    closing: watch::Sender<bool>,
    done: watch::Sender<Option<Result<(), Refused>>>,
}

pub(crate) struct State {
    pub session: Session,
    queues: Queues,
    /// An event that a full queue has no room for, and the cursor before it.
    pending: Option<(Event, Option<Cursor>)>,
    settings: Option<Settings>,
    ended: bool,
}

/// What became of an event.
pub(crate) enum Pumped {
    /// There was none.
    Idle,
    /// A queue is full.
    Blocked,
    /// It is in the queues that it is for.
    Delivered(Event),
}

impl State {
    /// Moves one event into the queues.
    pub(crate) fn pump(&mut self) -> Pumped {
        let next = self.pending.take().or_else(|| {
            let before = self.session.cursor();
            Some((self.session.poll()?, before))
        });
        let Some((event, before)) = next else { return Pumped::Idle };
        if self.queues.is_blocked(&event) {
            self.pending = Some((event, before));
            return Pumped::Blocked;
        }
        self.queues.push(&event, &before);
        Pumped::Delivered(event)
    }

    fn cursor(&self) -> Option<Cursor> {
        let pending = self.pending.as_ref().map(|(_, before)| before);
        match self.queues.behind().or(pending) {
            Some(before) => before.clone(),
            None => self.session.cursor(),
        }
    }

    /// Queues, for a new subscription, that some of its channels are delivered already.
    fn acknowledge(&mut self, id: u64, patterns: &[String]) {
        let mut held = |pattern: &&String| {
            let entry = self.session.subscriptions.by_name(pattern);
            entry.is_some_and(|entry| entry.state == crate::subscriptions::State::Held)
        };
        let channels: Vec<_> = patterns.iter().filter(&mut held).cloned().collect();
        if let (Some(offset), false) = (self.session.high, channels.is_empty()) {
            let subscribed = Subscribed { channels, offset, resumed: false, recovered: false };
            let before = self.session.cursor();
            self.queues.push_to(id, Event::Subscribed(subscribed), before);
        }
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody closes the client.
    pub(crate) async fn closing(&self) {
        // The sender is here, so there is no error.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// The streams end, after what they hold.
    pub(crate) fn end(&self, result: Result<(), Refused>) {
        {
            let mut state = self.state();
            state.ended = true;
            state.queues.wake_all();
        }
        self.done.send_if_modified(|done| {
            let first = done.is_none();
            done.get_or_insert(result);
            first
        });
    }

    fn close(&self) {
        self.closing.send_replace(true);
        // Dropped without the lock: what a function for tokens holds is unknown.
        let unstarted = self.state().settings.take();
        if unstarted.is_some() {
            self.end(Ok(()));
        }
    }
}

/// Held by everybody who uses the connection: it ends with the last of them.
struct Handle {
    shared: Arc<Shared>,
    bounds: Bounds,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Receives channels from a gateway, over one connection at a time.
///
/// The connection lives as long as the client or one of its [`Subscription`]s, or until [`Client::close`].
pub struct Client {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the gateway at this URL: `ws://` or `wss://`, host, port and path.
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder::new(url.into())
    }

    pub(crate) fn new(settings: Settings, cursor: Option<Cursor>, bounds: Bounds) -> Self {
        let state = State {
            session: Session::new(cursor),
            queues: Queues::default(),
            pending: None,
            settings: Some(settings),
            ended: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            closing: watch::Sender::new(false),
            done: watch::Sender::new(None),
        });
        Self { handle: Arc::new(Handle { shared, bounds }) }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Begins to connect, in a task of the current runtime. A second call does nothing.
    ///
    /// # Errors
    /// When there is no Tokio runtime.
    pub fn connect(&self) -> Result<(), BuildError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let settings = self.shared().state().settings.take();
        if let Some(settings) = settings {
            runtime.spawn(Runner::new(Arc::clone(&self.handle.shared), settings).run());
        }
        Ok(())
    }

    /// Subscribes to channels or patterns: `*` is one token, `>` is all that follow. Dropping the stream unsubscribes.
    pub fn subscribe<C: Into<String>>(
        &self,
        channels: impl IntoIterator<Item = C>,
    ) -> Subscription {
        self.subscription(channels.into_iter().map(Into::into).collect(), false)
    }

    /// Subscribes, with the last value of each channel first, marked as `snapshot`.
    pub fn subscribe_with_snapshot<C: Into<String>>(
        &self,
        channels: impl IntoIterator<Item = C>,
    ) -> Subscription {
        self.subscription(channels.into_iter().map(Into::into).collect(), true)
    }

    /// Every event of every channel that comes, also of those that the token subscribes to; it subscribes to none itself.
    pub fn events(&self) -> Subscription {
        self.queue(Vec::new(), false)
    }

    fn subscription(&self, mut patterns: Vec<String>, snapshot: bool) -> Subscription {
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            // Nothing but states: a queue without patterns would get everything.
            patterns.push(String::new());
            return self.queue(patterns, snapshot);
        }
        let subscription = self.queue(patterns.clone(), snapshot);
        {
            let mut state = self.shared().state();
            state.acknowledge(subscription.id, &patterns);
            for pattern in &patterns {
                state.session.subscribe(pattern, snapshot);
            }
        }
        self.shared().wake.notify_one();
        subscription
    }

    fn queue(&self, patterns: Vec<String>, snapshot: bool) -> Subscription {
        let id = self.shared().state().queues.add(patterns, snapshot, self.handle.bounds);
        Subscription { handle: Arc::clone(&self.handle), id }
    }

    /// Where to resume: after the events that were taken from the streams. Store it when they are handled, and give it to
    /// the next client. None before anything was acknowledged.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.shared().state().cursor()
    }

    /// Messages that a gateway sent again, and that were dropped.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.shared().state().session.duplicates
    }

    /// Ends the connection. The streams end, after what they hold.
    ///
    /// # Errors
    /// When the client had given up before.
    pub async fn close(&self) -> Result<(), Refused> {
        self.shared().close();
        self.closed().await
    }

    /// Waits for the end: because of [`Client::close`], or because the gateway says that it is over (1000).
    ///
    /// # Errors
    /// When trying again would fail again: a token that cannot change, a limit, a ban.
    pub async fn closed(&self) -> Result<(), Refused> {
        let mut done = self.shared().done.subscribe();
        // The sender is here, so there is no error.
        let ended = done.wait_for(Option::is_some).await;
        ended.ok().and_then(|done| done.clone()).unwrap_or(Ok(()))
    }
}

/// The events of some channels, in order, and those of the connection. It ends when the client has.
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    handle: Arc<Handle>,
    id: u64,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The next event; none when the client has ended.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.handle.shared.state();
        let ended = state.ended;
        let blocked = state.pending.is_some();
        let Some(queue) = state.queues.queues.get_mut(&self.id) else { return Poll::Ready(None) };
        if let Some(event) = queue.pop() {
            drop(state);
            if blocked {
                self.handle.shared.wake.notify_one();
            }
            return Poll::Ready(Some(event));
        }
        if ended {
            return Poll::Ready(None);
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        {
            let mut state = self.handle.shared.state();
            for pattern in state.queues.remove(self.id) {
                state.session.unsubscribe(&pattern);
            }
        }
        self.handle.shared.wake.notify_one();
    }
}
