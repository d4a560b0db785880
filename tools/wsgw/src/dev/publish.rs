//! The thin shell around the market: takes what is due and publishes it.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::{self, context::PublishAckFuture, message::PublishMessage};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use gateway::MemoryPublisher;
use wsgateway_market::{Market, Message, Settings, Shape};
use wsgateway_proto::channel;

/// Longest sleep between two looks at the clock, which may be set back meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// Publishes that NATS has not confirmed yet: enough for 100,000 a second over a round trip of 5 ms.
pub(super) const UNCONFIRMED: usize = 512;

/// Where messages go.
#[derive(Debug)]
pub(super) enum Target {
    /// The source inside of this process.
    Memory(MemoryPublisher),
    /// The stream, with the nonce as `Nats-Msg-Id`.
    JetStream(Box<jetstream::Context>),
}

/// What was published so far; read by the status line.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) published: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Publishes for ever those messages of the market that `subjects` (the stream's) capture.
pub(super) async fn run(
    mut market: Market,
    target: Target,
    subjects: Vec<String>,
    counters: Arc<Counters>,
) {
    let captured = |message: &Message| captured(&subjects, &message.subject);
    let mut confirmations = FuturesUnordered::<<PublishAckFuture as IntoFuture>::IntoFuture>::new();
    loop {
        let now = unix_us();
        let pause = Duration::from_micros(market.next_due_us().saturating_sub(now)).min(LOOK);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Some(confirmed) = confirmations.next() => {
                count(&counters, confirmed.map(drop));
                continue;
            }
        }
        for message in market.advance(unix_us()).into_iter().filter(captured) {
            match &target {
                Target::Memory(publisher) => {
                    let taken = publisher.publish(&message.subject, message.payload);
                    count(&counters, taken.map(drop));
                }
                Target::JetStream(context) => {
                    if confirmations.len() >= UNCONFIRMED
                        && let Some(confirmed) = confirmations.next().await
                    {
                        count(&counters, confirmed.map(drop));
                    }
                    // In order: only the confirmation is waited for later.
                    let body =
                        PublishMessage::build().payload(message.payload).message_id(message.nonce);
                    match context.send_publish(message.subject, body).await {
                        Ok(confirmation) => confirmations.push(confirmation.into_future()),
                        Err(error) => count(&counters, Err(error)),
                    }
                }
            }
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

fn count(counters: &Counters, outcome: Result<(), impl Display>) {
    match outcome {
        Ok(()) => counters.published.fetch_add(1, Ordering::Relaxed),
        Err(error) => {
            tracing::debug!(%error, "not published");
            counters.failed.fetch_add(1, Ordering::Relaxed)
        }
    };
}

/// Microseconds since 1970.
pub(crate) fn unix_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
