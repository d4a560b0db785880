//! The own publisher: a thread that keeps a schedule. Its messages carry when they were due, so a publisher that is held up
//! shows in the latency instead of hiding what it holds up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_nats::connection;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, message::PublishMessage};
use bytes::Bytes;
use tokio::runtime::Handle;
use wsgateway_config::JetStreamSource;
use wsgateway_load::clock::Clock;
use wsgateway_load::outcomes::{Outcome, Outcomes};
use wsgateway_load::payload::Stamp;
use wsgateway_load::plan::Publishing as Schedule;
use wsgateway_load::report::Published;

use super::LoadError;
use super::prepare::Preparation;
use crate::cli;
use crate::error::Error;
use crate::given::{self, Words};
use crate::server::Server;

/// Publishes that NATS has not confirmed yet.
const UNCONFIRMED: usize = 4_096;
/// How long the last confirmations may take, longer than any of them.
const CONFIRM: Duration = Duration::from_secs(15);
/// The longest sleep, so that the end is seen.
const NAP: Duration = Duration::from_millis(50);
/// From here to the first message: workers must have begun.
const HEAD_START: Duration = Duration::from_millis(300);
/// How long the server may take to name the stream.
const ANSWER: Duration = Duration::from_secs(10);
/// The flag with the address.
const FLAG: &str = "--publish";
const HINT: &str = "start one there, or give --publish another address";

/// A publisher that runs.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    outcomes: Mutex<Outcomes>,
}

impl Shared {
    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// Connects, asks for the stream, and starts; workers learn the schedule from the preparation.
    pub(super) async fn start(
        flags: &cli::Publishing,
        preparation: &mut Preparation,
    ) -> Result<Self, Error> {
        let url = flags.publish.as_deref();
        let source = given::source(FLAG, url, &flags.access, "unknown")?;
        let source = source.unwrap_or_else(|| JetStreamSource::new(Vec::new(), "unknown"));
        let server = Server::connect(&source, "wsgw load", Words::Flags(FLAG), HINT).await?;
        let context = jetstream::ContextBuilder::new()
            .max_ack_inflight(UNCONFIRMED)
            .timeout(ANSWER)
            .build(server.client.clone());
        let subject = |channel: &String| flags.subject.replace("{channel}", channel);
        let subjects: Vec<String> = preparation.channels.names.iter().map(subject).collect();
        if let Some(first) = subjects.first() {
            server.stream_of(first).await?.ok_or_else(|| LoadError::NoStream {
                url: server.url().to_owned(),
                subject: first.clone(),
            })?;
        }
        let clock = Clock::start();
        let schedule = Schedule {
            run: fastrand::u32(..),
            start_ns: clock.now_ns() + HEAD_START.as_nanos() as u64,
            rate: preparation.shape.rate,
            channels: subjects.len() as u32,
        };
        preparation.publishing = Some(schedule);
        let shared = Arc::new(Shared::default());
        let line = Line {
            shared: Arc::clone(&shared),
            client: server.client.clone(),
            context,
            handle: Handle::current(),
            clock,
            schedule,
            subjects: subjects.into_iter().map(Into::into).collect(),
            bytes: flags.payload as usize,
        };
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || line.publish())
            .map_err(Error::Threads)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What was published so far.
    pub(super) fn so_far(&self) -> Published {
        self.shared.outcomes().published()
    }

    /// Stops, and waits for confirmations. Returns also the numbers, first and last, of messages without one.
    pub(super) async fn finish(mut self) -> (Published, Vec<(u64, u64)>) {
        self.shared.stop.store(true, Ordering::Release);
        let end = tokio::time::Instant::now() + CONFIRM;
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
            || self.shared.outcomes().waits()
        {
            if tokio::time::Instant::now() >= end {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.thread = None;
        let mut outcomes = self.shared.outcomes();
        outcomes.end();
        (outcomes.published(), outcomes.unstored().to_vec())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// The publishing thread's own.
struct Line {
    shared: Arc<Shared>,
    client: async_nats::Client,
    context: jetstream::Context,
    handle: Handle,
    clock: Clock,
    schedule: Schedule,
    subjects: Vec<async_nats::Subject>,
    bytes: usize,
}

impl Line {
    fn publish(&self) {
        let mut k = 0;
        while !self.shared.stop.load(Ordering::Acquire) {
            let due_ns = self.schedule.due_ns(k);
            let wait = Duration::from_nanos(due_ns.saturating_sub(self.clock.now_ns()));
            if !wait.is_zero() {
                std::thread::sleep(wait.min(NAP));
                continue;
            }
            let (channel, number) = self.schedule.place(k);
            let Some(subject) = self.subjects.get(channel as usize) else { return };
            let stamp = Stamp { run: self.schedule.run, channel, number, due_ns };
            self.send(k, subject.clone(), &stamp);
            k += 1;
        }
    }

    /// Sends in order; only the confirmation is waited for elsewhere. A server that confirms nothing stops this thread, and
    /// what is due meanwhile is late by as much.
    fn send(&self, k: u64, subject: async_nats::Subject, stamp: &Stamp) {
        let message = PublishMessage::build().payload(Bytes::from(stamp.payload(self.bytes)));
        self.shared.outcomes().sent(k);
        let sent = self.handle.block_on(self.context.send_publish(subject, message));
        let (shared, client) = (Arc::clone(&self.shared), self.client.clone());
        match sent {
            Ok(confirmation) => drop(self.handle.spawn(async move {
                let outcome = match confirmation.await {
                    Ok(_) => Outcome::Stored,
                    Err(error) => outcome(&error, &client),
                };
                shared.outcomes().settled(k, outcome);
            })),
            Err(error) => shared.outcomes().settled(k, outcome(&error, &client)),
        }
    }
}

/// What became of a message that the stream has not confirmed.
fn outcome(error: &PublishError, client: &async_nats::Client) -> Outcome {
    match error.kind() {
        PublishErrorKind::BrokenPipe => Outcome::Disconnected,
        PublishErrorKind::TimedOut => match client.connection_state() {
            connection::State::Connected => Outcome::Unconfirmed,
            _ => Outcome::Disconnected,
        },
        _ => Outcome::Refused,
    }
}
