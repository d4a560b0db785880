//! JetStream, with our own position: the consumer is disposable, the cursor is ours.
//!
//! One ephemeral push consumer per process, always created to start right behind our cursor. Whatever goes wrong
//! (silence, a hole in its deliveries, a new connection, a deleted consumer) has the same answer: make another one.
//! Flow control bounds what the server sends ahead of us, so a slow gateway holds messages back in the stream.

mod connect;
mod feed;
mod lookup;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, stream};
use async_nats::{Client, Subscriber};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::Connection;

use connect::Complaint;
use feed::{Feed, HEARTBEAT, SILENCE};
pub(crate) use lookup::look_up;

use super::position::{Begin, Cursor, Observed, begin};
use super::status::State;
use super::{Sink, ack};
use crate::encode::Message;

/// How long the server keeps a consumer that nobody listens to any more.
const INACTIVE: Duration = Duration::from_secs(30);

/// Longest wait for an answer of the JetStream API.
const REQUEST: Duration = Duration::from_secs(5);

/// Pause between two attempts, from the first to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why a consumer was given up. Each is tried again; the name is logged.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("connected to NATS again")]
    Reconnected,
    #[error("no sign of life from the consumer for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a delivery is missing: expected {expected} of the consumer, got {got}")]
    Hole { expected: u64, got: u64 },
    #[error("what was to be read back was discarded meanwhile")]
    Emptied,
    #[error("the last message that was read is another one now")]
    Replaced,
    #[error("the subscription ended")]
    Closed,
    #[error("the stream {0} does not exist")]
    NoStream(String),
    #[error("{what}: {why}")]
    Refused { what: &'static str, why: String },
}

impl Ended {
    fn refused(what: &'static str) -> impl Fn(Box<dyn std::error::Error>) -> Self {
        move |why| Self::Refused { what, why: why.to_string() }
    }
}

/// Reads the stream until cancelled, through every loss of the connection.
pub(crate) async fn run(
    source: JetStreamSource,
    name: String,
    warmup: u64,
    sink: Sink,
    stop: CancellationToken,
) {
    let (connected, complaint) = (Arc::new(Notify::new()), Complaint::default());
    let connection = connect::connect(&source, &name, &sink.status, &connected, &complaint).await;
    let Connection { client, renewal } = match connection {
        Ok(connection) => connection,
        // The addresses were never usable; say so until somebody changes the configuration.
        Err(error) => return sink.status.set(State::Error, Some(error.to_string())),
    };
    let reader = Reader {
        jetstream: jetstream::with_prefix(client.clone(), "$JS.API"),
        client,
        source,
        warmup,
        sink,
        cursor: None,
        renamed: None,
        restored: 0,
        connected,
        complaint,
    };
    let work = async { tokio::join!(reader.run(), renewal.run()) };
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Owner of the position in the stream.
struct Reader {
    client: Client,
    jetstream: jetstream::Context,
    source: JetStreamSource,
    warmup: u64,
    sink: Sink,
    cursor: Option<Cursor>,
    /// A stream that lost its tail: the epoch by its creation time, and the one that we gave it instead.
    renamed: Option<(String, Arc<str>)>,
    /// How often it lost the same tail again.
    restored: u64,
    connected: Arc<Notify>,
    complaint: Complaint,
}

/// A consumer as the server made it.
struct Made {
    name: String,
    /// Messages that wait behind its start.
    waiting: u64,
}

impl Reader {
    async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let started = Instant::now();
            let Err(ended) = self.session().await;
            self.sink.status.restarted();
            match &ended {
                Ended::NoStream(_) => {
                    self.sink.status.set(State::WaitingForStream, Some(ended.to_string()))
                }
                Ended::Refused { .. } if self.is_connected() => {
                    let why = match self.complaint.take() {
                        Some(complaint) => format!("{ended} (NATS says: {complaint})"),
                        None => ended.to_string(),
                    };
                    self.sink.status.set(State::Error, Some(why));
                }
                Ended::Refused { .. } => {} // the connection's own state says more
                _ => {
                    tracing::info!(reason = %ended, "reading the stream again from our own position")
                }
            }
            if started.elapsed() > PAUSE.1 {
                pause = PAUSE.0;
            }
            // A new connection ends the wait: it is what most pauses wait for.
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())) => {}
                () = self.connected.notified() => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// One consumer's life.
    async fn session(&mut self) -> Result<Infallible, Ended> {
        while !self.is_connected() {
            self.connected.notified().await;
        }
        let stream = self.find_stream().await?;
        let (plan, epoch) = self.plan(stream.cached_info());
        let stored = self.cursor.as_ref().and_then(|cursor| cursor.stored);
        let inbox = self.client.new_inbox();
        let refused = Ended::refused("cannot subscribe");
        let deliveries =
            self.client.subscribe(inbox.clone()).await.map_err(|error| refused(error.into()))?;
        let made = self.create_consumer(&stream, inbox, plan.start).await?;
        if plan.fresh {
            self.sink.reset(&epoch, plan.start - 1);
            self.sink.status.set(State::Warming, None);
        }
        if let Some((from, to)) = plan.lost {
            self.sink.lost(from, to);
        }
        self.read(deliveries, (plan, stored.filter(|_| plan.known)), epoch, made).await
    }

    /// Where to go on, and under which epoch.
    fn plan(&mut self, info: &stream::Info) -> (Begin, Arc<str>) {
        let created = wsgateway_nats::epoch(info.created);
        let mut epoch: Arc<str> = match &self.renamed {
            Some((from, to)) if *from == created => Arc::clone(to),
            _ => created.as_str().into(),
        };
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let plan =
            begin(self.cursor.as_ref(), Observed { epoch: &epoch, first, last }, self.warmup);
        if plan.regressed {
            epoch = self.rename(created, last);
        }
        (plan, epoch)
    }

    /// Gives a stream that lost its tail another epoch: same creation time, but other messages under the same numbers.
    /// For a client this is another stream.
    fn rename(&mut self, created: String, last: u64) -> Arc<str> {
        tracing::error!(
            last,
            "the stream lost its tail: its numbers come again, so clients start anew"
        );
        let mut epoch: Arc<str> = format!("{created}-{last}").into();
        if self.cursor.as_ref().is_some_and(|cursor| cursor.epoch == epoch) {
            // Restored from the same copy once more.
            self.restored += 1;
            epoch = format!("{created}-{last}-{}", self.restored).into();
        }
        self.renamed = Some((created, Arc::clone(&epoch)));
        epoch
    }

    async fn find_stream(&self) -> Result<stream::Stream, Ended> {
        let request = tokio::time::timeout(REQUEST, self.jetstream.get_stream(&self.source.stream));
        let Ok(answer) = request.await else {
            return Err(Ended::Refused {
                what: "cannot look up the stream",
                why: "no answer from NATS".into(),
            });
        };
        answer.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(inner)
                if inner.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                Ended::NoStream(self.source.stream.clone())
            }
            _ => Ended::refused("cannot look up the stream")(error.into()),
        })
    }

    async fn create_consumer(
        &self,
        stream: &stream::Stream,
        inbox: String,
        start: u64,
    ) -> Result<Made, Ended> {
        let config = push::Config {
            deliver_subject: inbox,
            description: Some("wsgateway: fan-out to browsers".to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start },
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let request = tokio::time::timeout(REQUEST, stream.create_consumer(config));
        let Ok(answer) = request.await else {
            return Err(Ended::Refused {
                what: "cannot create a consumer",
                why: "no answer from NATS".into(),
            });
        };
        let consumer =
            answer.map_err(|error| Ended::refused("cannot create a consumer")(error.into()))?;
        let info = consumer.cached_info();
        Ok(Made { name: info.name.clone(), waiting: info.num_pending })
    }

    /// Reads deliveries until something is wrong with them.
    async fn read(
        &mut self,
        deliveries: Subscriber,
        (plan, stored): (Begin, Option<i64>),
        epoch: Arc<str>,
        made: Made,
    ) -> Result<Infallible, Ended> {
        let mut expected = 1;
        let mut position = plan.start - u64::from(stored.is_none());
        // Nothing to read back: live at once, at the end of what the stream ever held.
        let mut warm = plan.fresh && made.waiting > 0;
        if !warm {
            position = self.go_live(&epoch, position, plan.warm_until);
        }
        let mut feed = Feed::new(deliveries, Arc::clone(&self.connected));
        loop {
            let delivery = feed.next().await?;
            let reply = delivery.reply.as_deref();
            let meta = reply.and_then(|reply| ack::parse(reply, &self.source.stream, &made.name));
            let Some(meta) = meta else {
                self.answer_control(&delivery).await;
                self.sink.tell_losses();
                if warm && feed::is_idle(&delivery) {
                    // The server has nothing to say: what waited for us has expired since we asked.
                    return Err(Ended::Emptied);
                }
                continue;
            };
            if meta.consumer_sequence != expected {
                return Err(Ended::Hole { expected, got: meta.consumer_sequence });
            }
            expected += 1;
            if meta.stream_sequence <= position {
                let stored = stored.filter(|_| meta.stream_sequence == plan.start);
                self.compare(stored, meta.timestamp, &epoch, position)?;
                continue;
            }
            let before = std::mem::replace(&mut position, meta.stream_sequence);
            // No delivery is missing: what is between was discarded before the consumer came to it.
            let missing = (position > before + 1).then_some((before + 1, position - 1));
            let message = Message {
                subject: delivery.subject.as_str().into(),
                sequence: position,
                timestamp: meta.timestamp,
                payload: delivery.payload,
                deleted: None,
            };
            if warm {
                if let Some((from, to)) = missing {
                    self.sink.missing(from, to);
                }
                self.sink.warm(&message);
                if position >= plan.warm_until || meta.pending == 0 {
                    warm = false;
                    position = self.go_live(&epoch, position, plan.warm_until);
                }
                continue;
            }
            if let Some((from, to)) = missing {
                self.sink.lost(from, to);
            }
            self.sink.message(&message, meta.pending).await;
            self.advance(position, meta.timestamp);
        }
    }

    /// A message that we have had: the last one before this consumer is the same as it was then, or the stream is not.
    fn compare(
        &mut self,
        stored: Option<i64>,
        now: i64,
        epoch: &str,
        position: u64,
    ) -> Result<(), Ended> {
        match stored {
            None => self.sink.status.duplicate(),
            Some(then) if then == now => {}
            Some(_) => {
                let created = epoch.split('-').next().unwrap_or_default();
                self.rename(created.to_owned(), position - 1);
                return Err(Ended::Replaced);
            }
        }
        Ok(())
    }

    /// Everything up to `position` has been read; what the stream had up to `end` besides is gone. Returns the
    /// position to go on from.
    fn go_live(&mut self, epoch: &Arc<str>, position: u64, end: u64) -> u64 {
        if end > position {
            self.sink.missing(position + 1, end);
        }
        let position = position.max(end);
        let same = |cursor: &Cursor| cursor.epoch == *epoch && cursor.position == position;
        let stored = self.cursor.take().filter(same).and_then(|cursor| cursor.stored);
        self.cursor = Some(Cursor { epoch: Arc::clone(epoch), position, stored });
        self.sink.live(epoch, position);
        position
    }

    fn advance(&mut self, position: u64, stored: i64) {
        if let Some(cursor) = &mut self.cursor {
            (cursor.position, cursor.stored) = (position, Some(stored));
        }
    }

    /// Flow control asks for an answer before more is sent; a heartbeat of a stalled consumer repeats the question.
    async fn answer_control(&self, delivery: &async_nats::Message) {
        if let Some(reply) = feed::flow_control(delivery)
            && let Err(error) = self.client.publish(reply.to_owned(), bytes::Bytes::new()).await
        {
            tracing::debug!(%error, "answering flow control");
        }
    }
}
