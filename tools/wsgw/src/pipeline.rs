//! Publishes to JetStream: many messages under way, each kept until the stream confirms it.
//!
//! A message that is not confirmed is sent again with the same `Nats-Msg-Id`, until it is: the stream drops the second one
//! within its duplicate window. While one is to be sent again, none that follows it is sent, so that the order of a subject
//! is broken by a lost connection at most. Bounded by [`UNCONFIRMED`]. `wsgw market` and `wsgw dev` publish with it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{Context, ContextBuilder, message::PublishMessage};
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep};
use wsgateway_market::Message;

use crate::server::Server;

/// Messages under way: 100,000 a second over a round trip of 40 ms.
const UNCONFIRMED: usize = 4_096;
/// How long a confirmation may take; what was under way when a connection broke is sent again after this.
const ANSWER: Duration = Duration::from_secs(2);
/// Pause before messages are sent again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a subject that no stream takes is dropped before streams are asked again.
const MUTED: Duration = Duration::from_secs(5);

type Answer = (Message, Result<PublishAck, PublishError>);
type Confirmation = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Counts what becomes of messages.
pub(crate) trait Progress: Send + Sync {
    /// The stream has confirmed one, which it may have had already.
    fn published(&self, is_duplicate: bool);
    /// One is sent once more.
    fn retried(&self);
    /// An attempt has failed.
    fn failed(&self);
    /// One was given up.
    fn dropped(&self);
    /// Whether a connection stands now.
    fn connected(&self, connected: bool);
    /// What is wrong, until a message is published.
    fn trouble(&self, trouble: String);
}

/// Messages on their way to a stream.
pub(crate) struct Pipeline {
    server: Arc<Server>,
    context: Context,
    progress: Arc<dyn Progress>,
    under_way: FuturesUnordered<Confirmation>,
    /// What came while somebody waited: to settle it takes time, and a wait that is given up must not lose it.
    answered: Vec<Answer>,
    /// What is to be sent again, and not before when.
    again: Vec<Message>,
    not_before: Instant,
    /// Subjects that no stream takes, and until when that is believed; as many as the market has.
    muted: HashMap<String, Instant>,
}

impl Pipeline {
    pub(crate) fn new(server: Arc<Server>, progress: Arc<dyn Progress>) -> Self {
        let context = ContextBuilder::new()
            .max_ack_inflight(2 * UNCONFIRMED)
            .ack_timeout(ANSWER)
            .build(server.client.clone());
        Self {
            server,
            context,
            progress,
            under_way: FuturesUnordered::new(),
            answered: Vec::new(),
            again: Vec::new(),
            not_before: Instant::now(),
            muted: HashMap::new(),
        }
    }

    /// Whether a further message may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        let unconfirmed = self.under_way.len() + self.answered.len();
        self.again.is_empty() && unconfirmed < UNCONFIRMED && self.is_connected()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.again.is_empty() && self.answered.is_empty() && self.under_way.is_empty()
    }

    fn is_connected(&self) -> bool {
        self.server.client.connection_state() == State::Connected
    }

    /// Sends as much of the queue as there is room for.
    pub(crate) async fn push(&mut self, queue: &mut VecDeque<Message>) {
        while self.has_room() {
            let Some(message) = queue.pop_front() else { return };
            self.send(message).await;
        }
    }

    /// Sends a message; only the confirmation is waited for later.
    async fn send(&mut self, message: Message) {
        if let Some(until) = self.muted.get(&message.subject) {
            if Instant::now() < *until {
                self.progress.dropped();
                return;
            }
            self.muted.remove(&message.subject);
        }
        let body =
            PublishMessage::build().payload(message.payload.clone()).message_id(&message.nonce);
        match self.context.send_publish(message.subject.clone(), body).await {
            Ok(confirmation) => {
                self.under_way.push(Box::pin(async move { (message, confirmation.await) }));
            }
            Err(error) => self.failed(message, &error).await,
        }
    }

    /// Takes the confirmations that are here already.
    pub(crate) async fn collect(&mut self) {
        self.progress.connected(self.is_connected());
        if !self.is_connected()
            && let Some(trouble) = self.server.trouble()
        {
            self.progress.trouble(trouble);
        }
        while let Some(Some(answer)) = self.under_way.next().now_or_never() {
            self.answered.push(answer);
        }
        while let Some((message, outcome)) = self.answered.pop() {
            self.settle(message, outcome).await;
        }
        self.send_again().await;
    }

    /// Waits for a confirmation, or until it is time for another attempt. May be given up at any time.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            Some(answer) = self.under_way.next() => self.answered.push(answer),
            () = sleep(PAUSE) => {}
        }
    }

    async fn settle(&mut self, message: Message, outcome: Result<PublishAck, PublishError>) {
        match outcome {
            Ok(ack) => self.progress.published(ack.duplicate),
            Err(error) => self.failed(message, &error).await,
        }
    }

    async fn failed(&mut self, message: Message, error: &PublishError) {
        self.progress.failed();
        tracing::debug!(%error, subject = message.subject, "not published");
        match error.kind() {
            // A stream without a leader answers like none at all: whether there is one decides.
            PublishErrorKind::StreamNotFound
                if no_stream_takes(&self.server, &message.subject).await =>
            {
                self.progress.dropped();
                self.progress.trouble(format!("no stream takes {}", message.subject));
                self.muted.insert(message.subject, Instant::now() + MUTED);
                return;
            }
            PublishErrorKind::MaxPayloadExceeded => {
                self.progress.dropped();
                self.progress.trouble(format!("{}: {error}", message.subject));
                return;
            }
            // The connection is watched elsewhere, and its loss is no trouble of the message.
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {}
            _ => self.progress.trouble(format!("{}: {error}", message.subject)),
        }
        self.again.push(message);
        self.not_before = Instant::now() + PAUSE;
    }

    /// Sends once more what has failed, in its order, when nothing else is under way.
    async fn send_again(&mut self) {
        let is_time = self.under_way.is_empty() && Instant::now() >= self.not_before;
        if self.again.is_empty() || !is_time || !self.is_connected() {
            return;
        }
        let mut again = std::mem::take(&mut self.again);
        again.sort_unstable_by_key(|message| message.number);
        for message in again {
            self.progress.retried();
            self.send(message).await;
        }
    }
}

async fn no_stream_takes(server: &Server, subject: &str) -> bool {
    matches!(server.stream_of(subject).await, Ok(None))
}
