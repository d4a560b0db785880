//! Publishes to JetStream: many messages in flight, each kept until the stream confirms it.
//!
//! A message that is not confirmed is sent again with the same `Nats-Msg-Id`, until it is: the stream drops the second one
//! within its duplicate window. While one is to be sent again, none that follows it is sent, so that the order of a subject
//! is broken by a lost connection at most. `wsgw market` and `wsgw dev` publish with it.
//!
//! What is in flight is a ring by number ([`in_flight`]), and the number is the end of the reply subject: one subscription
//! takes all confirmations, and a message costs no channel, no task and no timer. What has failed is in [`retries`]. Both
//! belong to the pipeline, and no wait takes anything out of them: it may be given up at any time.

mod answer;
mod in_flight;
mod retries;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::client::traits::Publisher as _;
use async_nats::client::{PublishError, PublishErrorKind};
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, Subject, Subscriber};
use futures_util::FutureExt as _;
use futures_util::stream::StreamExt as _;
use tokio::task::coop::unconstrained;
use tokio::time::{sleep, timeout};
use wsgateway_market::Message;

use crate::server::Server;
use answer::Answer;
use in_flight::InFlight;
use retries::{Found, PAUSE, Retries};

/// Messages in flight: 100,000 a second over a round trip of 40 ms.
const UNCONFIRMED: usize = 4_096;
/// How long a confirmation may take; what was in flight when a connection broke is sent again after this.
const ANSWER: Duration = Duration::from_secs(2);

type Lookup = Pin<Box<dyn Future<Output = (Arc<str>, Found)> + Send>>;

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

/// Why an attempt has failed.
enum Failure {
    /// No answer in time: the connection is watched elsewhere, and its loss is no trouble of the message.
    Silence,
    NoStream,
    Refused(String),
    /// No server of these limits takes it, however often.
    TooLarge(String),
}

/// Messages on their way to a stream.
pub(crate) struct Pipeline {
    server: Arc<Server>,
    progress: Arc<dyn Progress>,
    /// Confirmations go to this subject and the number of their attempt.
    inbox: String,
    answers: Option<Subscriber>,
    in_flight: InFlight<Message>,
    retries: Retries,
    lookup: Option<Lookup>,
}

impl Pipeline {
    pub(crate) fn new(server: Arc<Server>, progress: Arc<dyn Progress>) -> Self {
        Self {
            inbox: server.client.new_inbox(),
            server,
            progress,
            answers: None,
            in_flight: InFlight::new(UNCONFIRMED),
            retries: Retries::new(Instant::now()),
            lookup: None,
        }
    }

    /// Whether a further message may be sent now.
    pub(crate) fn has_room(&self) -> bool {
        self.retries.is_empty() && self.in_flight.has_room() && self.is_connected()
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.retries.is_empty() && self.in_flight.is_empty()
    }

    fn is_connected(&self) -> bool {
        self.server.client.connection_state() == State::Connected
    }

    /// Sends as much of the queue as there is room for.
    pub(crate) async fn push(&mut self, queue: &mut VecDeque<Message>) {
        // A connection that takes nothing more is lost, perhaps, and must not hold up everything else.
        drop(timeout(ANSWER, self.send_all(queue)).await);
    }

    async fn send_all(&mut self, queue: &mut VecDeque<Message>) {
        let now = Instant::now();
        while self.has_room() {
            let Some(message) = queue.pop_front() else { return };
            self.send(message, now).await;
        }
    }

    /// Sends a message; only the confirmation is waited for later. It is in flight before anything is waited for here.
    async fn send(&mut self, message: Message, now: Instant) {
        if self.retries.is_muted(&message.subject, now) {
            self.progress.dropped();
            return;
        }
        let number = self.in_flight.next_number();
        let outbound = outbound(&message, &self.inbox, number);
        self.in_flight.add(message, now);
        if let Err(error) = self.transmit(outbound).await
            && let Some(message) = self.in_flight.take(number)
        {
            self.failed(message, failure(&error), now);
        }
    }

    async fn transmit(&mut self, outbound: OutboundMessage) -> Result<(), PublishError> {
        if self.answers.is_none() {
            let inbox = Subject::from(format!("{}.*", self.inbox));
            let subscribed = self.server.client.subscribe(inbox).await;
            let failed = |error| PublishError::with_source(PublishErrorKind::Send, error);
            self.answers = Some(subscribed.map_err(failed)?);
        }
        self.server.client.publish_message(outbound).await
    }

    /// Takes what is here already: confirmations, and the stream of a subject that was looked up.
    pub(crate) async fn collect(&mut self) {
        self.progress.connected(self.is_connected());
        if !self.is_connected()
            && let Some(trouble) = self.server.trouble()
        {
            self.progress.trouble(trouble);
        }
        let now = Instant::now();
        self.take_answers(now);
        while let Some(message) = self.in_flight.expired(now, ANSWER) {
            self.failed(message, Failure::Silence, now);
        }
        if let Some((subject, found)) = done(&mut self.lookup).now_or_never() {
            self.looked_up(&subject, found);
        }
        if self.lookup.is_none()
            && let Some(subject) = self.retries.to_look_up()
        {
            self.lookup = Some(look_up(Arc::clone(&self.server), Arc::clone(subject)));
        }
        drop(timeout(ANSWER, self.send_again()).await);
    }

    /// At most what the subscription holds: the task that fills it runs when this one waits.
    fn take_answers(&mut self, now: Instant) {
        while let Some(answers) = &mut self.answers {
            match unconstrained(answers.next()).now_or_never() {
                Some(Some(answer)) => self.answered(&answer, now),
                // The client has ended; the next message says so.
                Some(None) => self.answers = None,
                None => return,
            }
        }
    }

    /// Waits for a confirmation, or until it is time for another attempt. May be given up at any time.
    pub(crate) async fn wait(&mut self) {
        let now = Instant::now();
        let expires = self.in_flight.oldest().map(|since| (since + ANSWER).duration_since(now));
        let pause = expires.map_or(PAUSE, |expires| expires.min(PAUSE));
        tokio::select! {
            Some(answer) = next(&mut self.answers) => self.answered(&answer, Instant::now()),
            (subject, found) = done(&mut self.lookup) => self.looked_up(&subject, found),
            () = sleep(pause) => {}
        }
    }

    fn answered(&mut self, answer: &async_nats::Message, now: Instant) {
        let number = answer::number(&answer.subject, &self.inbox);
        // Too late, it was for an attempt that has been repeated.
        let Some(message) = number.and_then(|number| self.in_flight.take(number)) else { return };
        match Answer::read(answer.status, &answer.payload) {
            Answer::Stored { is_duplicate } => self.progress.published(is_duplicate),
            Answer::NoStream => self.failed(message, Failure::NoStream, now),
            Answer::Refused(why) => self.failed(message, Failure::Refused(why), now),
        }
    }

    fn failed(&mut self, message: Message, failure: Failure, now: Instant) {
        self.progress.failed();
        let is_missing = matches!(failure, Failure::NoStream);
        match failure {
            Failure::Silence | Failure::NoStream => {
                tracing::debug!(is_missing, subject = &*message.subject, "not published");
            }
            Failure::Refused(why) => {
                self.progress.trouble(format!("{}: {why}", message.subject));
            }
            Failure::TooLarge(why) => {
                self.progress.dropped();
                self.progress.trouble(format!("{}: {why}", message.subject));
                return;
            }
        }
        self.retries.add(message, is_missing, now);
    }

    fn looked_up(&mut self, subject: &Arc<str>, found: Found) {
        self.lookup = None;
        let dropped = self.retries.looked_up(subject, found, Instant::now());
        for _ in 0..dropped {
            self.progress.dropped();
        }
        if found == Found::Nothing {
            self.progress.trouble(format!("no stream takes {subject}"));
        }
    }

    /// Sends once more what has failed, in its order, when nothing else is in flight.
    async fn send_again(&mut self) {
        let now = Instant::now();
        if self.in_flight.is_empty() && self.is_connected() {
            self.retries.gather(now);
        }
        while self.is_connected()
            && let Some(message) = self.retries.pop()
        {
            self.progress.retried();
            self.send(message, now).await;
        }
    }
}

/// The message as the client library takes it; whoever stores it answers to the number.
fn outbound(message: &Message, inbox: &str, number: u64) -> OutboundMessage {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.nonce.as_str());
    // A dot and the longest number.
    let mut reply = String::with_capacity(inbox.len() + 21);
    reply.push_str(inbox);
    // Writing to a string cannot fail.
    let _written = write!(reply, ".{number}");
    OutboundMessage {
        subject: Subject::from(&*message.subject),
        reply: Some(reply.into()),
        payload: message.payload.clone(),
        headers: Some(headers),
    }
}

fn failure(error: &PublishError) -> Failure {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => Failure::TooLarge(error.to_string()),
        PublishErrorKind::InvalidSubject | PublishErrorKind::Send => {
            Failure::Refused(error.to_string())
        }
    }
}

/// A stream without a leader answers like none at all: whether there is one decides.
fn look_up(server: Arc<Server>, subject: Arc<str>) -> Lookup {
    Box::pin(async move {
        let found = match server.stream_of(&subject).await {
            Ok(Some(_)) => Found::Stream,
            Ok(None) => Found::Nothing,
            Err(_) => Found::Unknown,
        };
        (subject, found)
    })
}

async fn next(answers: &mut Option<Subscriber>) -> Option<async_nats::Message> {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}

async fn done(lookup: &mut Option<Lookup>) -> (Arc<str>, Found) {
    match lookup {
        Some(lookup) => lookup.await,
        None => std::future::pending().await,
    }
}
