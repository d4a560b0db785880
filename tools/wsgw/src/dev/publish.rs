//! The thin shell around the market: takes what is due and publishes it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway::MemoryPublisher;
use wsgateway_market::{Market, Message, Settings, Shape};
use wsgateway_proto::channel;

use crate::pipeline::{Pipeline, Progress};

/// Longest sleep between two looks at the clock, which may be set back meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// Where messages go.
pub(super) enum Target {
    /// The source inside of this process.
    Memory(MemoryPublisher, Arc<Counters>),
    /// The stream.
    JetStream(Box<Pipeline>),
}

impl Target {
    async fn collect(&mut self) {
        if let Self::JetStream(pipeline) = self {
            pipeline.collect().await;
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Memory(..) => true,
            Self::JetStream(pipeline) => pipeline.has_room(),
        }
    }

    async fn push(&mut self, queue: &mut VecDeque<Message>) {
        match self {
            Self::Memory(publisher, counters) => {
                for message in queue.drain(..) {
                    match publisher.publish(&message.subject, message.payload) {
                        Ok(_) => counters.published(false),
                        Err(error) => {
                            tracing::debug!(%error, "not published");
                            counters.dropped();
                        }
                    }
                }
            }
            Self::JetStream(pipeline) => pipeline.push(queue).await,
        }
    }

    async fn wait(&mut self) {
        match self {
            Self::Memory(..) => {}
            Self::JetStream(pipeline) => pipeline.wait().await,
        }
    }
}

/// What was published so far; read by the status line.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) published: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Progress for Counters {
    fn published(&self, _: bool) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    // It is sent again, until it is published or dropped.
    fn failed(&self) {}

    fn retried(&self) {}

    fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    // The gateway in this process logs the same.
    fn connected(&self, _: bool) {}

    fn trouble(&self, trouble: String) {
        tracing::debug!(trouble, "not published");
    }
}

/// Publishes for ever those messages of the market that `subjects` (the stream's) capture. While the target has no room,
/// the market stands still.
pub(super) async fn run(mut market: Market, mut target: Target, subjects: Vec<String>) {
    let captured = |message: &Message| captured(&subjects, &message.subject);
    let mut queue = VecDeque::new();
    loop {
        target.collect().await;
        if queue.is_empty() && target.has_room() {
            queue.extend(market.advance(unix_us()).into_iter().filter(captured));
        }
        target.push(&mut queue).await;
        if queue.is_empty() && target.has_room() {
            let due = market.next_due_us().saturating_sub(unix_us());
            tokio::time::sleep(Duration::from_micros(due).min(LOOK)).await;
        } else {
            target.wait().await;
        }
    }
}

/// Whether the stream captures any subject of the market.
pub(super) fn any_captured(subjects: &[String]) -> bool {
    Market::subjects(&Settings::demo(Shape::Odin)).any(|subject| captured(subjects, &subject))
}

fn captured(subjects: &[String], subject: &str) -> bool {
    subjects.iter().any(|pattern| channel::matches(pattern, subject))
}

/// Microseconds since 1970.
pub(crate) fn unix_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
