//! Source: the one consumer of this process, and its position in the stream.
//!
//! In: JetStream ([`jetstream`]), Redis Pub/Sub ([`redis`]) or this process itself ([`memory`]). Out: every message
//! once, in order, to a [`Sink`], which encodes it and hands it to the hub. What must hold: the position only moves
//! forward within an epoch, and a message that cannot be had any more is reported, never skipped in silence.

mod ack;
pub(crate) mod jetstream;
pub(crate) mod memory;
mod pacer;
mod position;
pub(crate) mod redis;
pub(crate) mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use wsgateway_config::SourceRate;
use wsgateway_proto::v1;
use wsgateway_runtime::readiness::Gate;

use crate::encode::{Encoder, Message};
use crate::history::History;
use crate::hub::Hub;
use crate::time::unix_ms;
use crate::trace::Tracer;
use status::Status;

/// The stage behind the source: encode, then history, then hub.
#[derive(Debug)]
pub(crate) struct Sink {
    pub encoder: Encoder,
    pub history: History,
    pub hub: Hub,
    pub status: Status,
    /// Opens when the source is live for the first time. It stays open while NATS is away: every pod would turn
    /// unready at once, and clients are better off on a connection that goes on when NATS does.
    pub gate: Gate,
    pub losses: Losses,
    /// Decides which messages are traced.
    pub tracer: Tracer,
    /// How much may be taken from the stream, as it changes.
    pub rates: watch::Receiver<SourceRate>,
}

/// How often what the stream discarded is told at once, before the message behind it; further holes are gathered and told
/// together every [`TELL`]. A pod that is behind a stream with few messages per subject meets thousands of holes a second,
/// and each telling is a write to every client.
const AT_ONCE: u32 = 64;
const TELL: Duration = Duration::from_millis(100);

/// What was discarded and is not told yet.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// From the first to the last of it; what is between may have come.
    waiting: Option<(u64, u64)>,
    /// Tellings since the last pause, and the last of them.
    told: u32,
    last: Option<Instant>,
}

impl Losses {
    fn add(&mut self, from: u64, to: u64) {
        let from = self.waiting.map_or(from, |(first, _)| first);
        self.waiting = Some((from, to));
    }

    /// What is to be told now.
    fn due(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.waiting?;
        let pause = self.last.map_or(u128::MAX, |last| {
            now.saturating_duration_since(last).as_millis() / TELL.as_millis()
        });
        // Each pause allows one more.
        self.told = self.told.saturating_sub(u32::try_from(pause).unwrap_or(u32::MAX));
        if self.told >= AT_ONCE {
            return None;
        }
        self.told += 1;
        self.last = Some(now);
        self.waiting.take()
    }
}

impl Sink {
    /// A stream (or another one than before) begins behind `floor`: what was known of its channels is void.
    fn reset(&mut self, epoch: &Arc<str>, floor: u64) {
        self.encoder.reset();
        self.losses.waiting = None; // offsets of another stream mean nothing in this one
        self.history.reset(epoch, floor);
    }

    /// Last values from before everything that will be read.
    fn seed(&self, epoch: &Arc<str>, seed: &jetstream::Seed) {
        seed.deliveries.iter().for_each(|delivery| self.history.seed(epoch, delivery));
        self.history.seeded(epoch, seed.after);
    }

    /// A message from before the live position: for those who look back.
    fn warm(&mut self, message: &Message) {
        if self.encoder.is_repetition(message) {
            return;
        }
        let delivery = self.encoder.encode(message);
        self.history.push(&delivery, unix_ms());
    }

    /// Messages before the live position that the stream does not have any more.
    fn missing(&mut self, from: u64, to: u64) {
        self.history.lost(from, to);
    }

    /// Everything after `position` will be delivered from now on.
    fn live(&mut self, epoch: &Arc<str>, position: u64) {
        self.history.advance(position);
        self.hub.open(epoch, position);
        self.status.live(epoch, position);
        self.gate.open();
    }

    /// The next message.
    async fn message(&mut self, message: &Message, lag: u64) {
        self.tell_losses();
        if self.encoder.is_repetition(message) {
            // As if it had never been: no client hears of its offset, not even as the one before another.
            self.history.advance(message.sequence);
            return self.status.repetition(message.sequence, lag);
        }
        let delivery = self.encoder.encode(message);
        // Before any shard has it: whoever looks back finds everything that was delivered.
        self.history.push(&delivery, unix_ms());
        self.hub.deliver(&delivery).await;
        self.status.delivered(message.sequence, lag);
    }

    /// Messages that the stream has discarded before we could read them: every client is told.
    fn lost(&mut self, from: u64, to: u64) {
        self.status.lost(to - from + 1);
        self.history.lost(from, to);
        self.losses.add(from, to);
        self.tell_losses();
    }

    /// Tells what was discarded, at once or together with what follows within a moment.
    fn tell_losses(&mut self) {
        if self.losses.waiting.is_none() {
            return; // as for nearly every message: not even the clock is asked
        }
        let Some((from, to)) = self.losses.due(Instant::now()) else { return };
        tracing::error!(
            from,
            to,
            "the stream discarded messages before they were read: raise its limits or capacity"
        );
        let mut frame = Vec::new();
        v1::gap(&mut frame, ">", from, to, "retention");
        self.hub.lost(&Bytes::from(frame), to);
    }

    /// Numbers that were spent for what a source without a memory has missed: every client is told.
    fn hole(&mut self, from: u64, to: u64) {
        self.status.lost(to - from + 1);
        self.history.lost(from, to);
        let mut frame = Vec::new();
        v1::gap(&mut frame, ">", from, to, "source");
        self.hub.lost(&Bytes::from(frame), to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_holes_are_told_together_and_the_last_one_too() {
        let (mut losses, start) = (Losses::default(), Instant::now());
        for n in 0..u64::from(AT_ONCE) {
            losses.add(2 * n, 2 * n);
            assert_eq!(losses.due(start), Some((2 * n, 2 * n)), "at once");
            assert_eq!(losses.due(start), None, "and once");
        }
        losses.add(500, 501);
        losses.add(520, 530);
        assert_eq!(losses.due(start + TELL / 2), None);
        assert_eq!(losses.due(start + TELL), Some((500, 530)));
        losses.add(600, 600);
        assert_eq!(losses.due(start + TELL), None);
        assert_eq!(losses.due(start + 3 * TELL), Some((600, 600)));
    }
}
