//! Reading: deliveries of one consumer, in order, until something is wrong with them.

use std::convert::Infallible;

use tokio::time::{Instant, MissedTickBehavior};
use wsgateway_nats::jetstream::ConsumerInfo;
use wsgateway_nats::wire;

use super::api_link::ApiLink;
use super::control::{self, HEARTBEAT, SILENCE};
use super::identity::Guess;
use super::{Ended, Reader, ack, message};
use crate::encode::Message;
use crate::source::position::{Begin, Cursor};

/// One consumer's progress.
pub(super) struct Progress {
    plan: Begin,
    guess: Guess,
    /// Sequence of the consumer's next delivery: a hole here is a delivery that we missed.
    pub expected: u64,
    /// Last sequence of the stream that was handed on.
    pub position: u64,
    /// When the message at our position was stored, if the first delivery is to be compared with it.
    stored: Option<i64>,
    /// What is before the live position is still being read.
    warm: bool,
}

impl Reader {
    /// Where a consumer that was just created begins.
    pub(super) fn progress(&mut self, plan: Begin, guess: Guess, made: ConsumerInfo) -> Progress {
        let stored = self.cursor.as_ref().and_then(|cursor| cursor.stored);
        let stored = stored.filter(|_| plan.known);
        let mut progress = Progress {
            expected: 1,
            position: plan.start - u64::from(stored.is_none()),
            stored,
            // Nothing to read back: live at once, at the end of what the stream ever held.
            warm: plan.fresh && made.waiting > 0,
            plan,
            guess,
        };
        // A message that is to be compared comes first, and decides.
        if !progress.warm && progress.stored.is_none() {
            self.go_live(&mut progress);
        }
        progress
    }

    /// Reads deliveries until something is wrong with them, or until the limits of the stream are other ones.
    pub(super) async fn read(
        &mut self,
        link: &mut ApiLink,
        mut progress: Progress,
    ) -> Result<Infallible, Ended> {
        let mut rates = self.sink.rates.clone();
        let mut watch = tokio::time::interval(HEARTBEAT);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            // Live, and limited by now: the rest waits in the stream until it is asked for.
            if !progress.warm && !rates.borrow().is_unlimited() {
                return Err(Ended::OtherLimits);
            }
            tokio::select! {
                biased;
                delivery = link.delivery() => {
                    heard = Instant::now();
                    self.delivery(link, delivery?, &mut progress).await?;
                }
                Ok(()) = rates.changed() => {}
                now = watch.tick() => {
                    if now.duration_since(heard) > SILENCE {
                        return Err(Ended::Silent);
                    }
                }
            }
        }
    }

    pub(super) async fn delivery(
        &mut self,
        link: &mut ApiLink,
        delivery: wire::Message,
        progress: &mut Progress,
    ) -> Result<(), Ended> {
        let reply = delivery.reply.as_deref().and_then(|reply| std::str::from_utf8(reply).ok());
        let meta =
            reply.and_then(|reply| ack::parse(reply, &self.source.stream, &self.consumer.name));
        let Some(meta) = meta else { return self.control(link, &delivery, progress) };
        if meta.consumer_sequence != progress.expected {
            return Err(Ended::Hole { expected: progress.expected, got: meta.consumer_sequence });
        }
        progress.expected += 1;
        if meta.stream_sequence <= progress.position {
            return self.compare(meta.timestamp, progress);
        }
        if progress.stored.is_some() {
            // Our message has been discarded since we asked for it: nothing contradicts our guess.
            self.go_live(progress);
        }
        let before = std::mem::replace(&mut progress.position, meta.stream_sequence);
        // No delivery is missing: what is between was discarded before the consumer came to it.
        let missing =
            (progress.position > before + 1).then_some((before + 1, progress.position - 1));
        let message = Message {
            subject: message::channel_text(&delivery.subject).into(),
            sequence: meta.stream_sequence,
            timestamp: meta.timestamp,
            deleted: message::deleted(delivery.headers()),
            // What is read back is for clients that catch up.
            trace: if progress.warm { None } else { self.sink.tracer.begin(delivery.headers()) },
            payload: delivery.payload,
        };
        if progress.warm {
            if let Some((from, to)) = missing {
                self.sink.missing(from, to);
            }
            self.sink.warm(&message);
            if progress.position >= progress.plan.warm_until || meta.pending == 0 {
                progress.warm = false;
                self.go_live(progress);
                self.note(progress.position, message.sequence, message.timestamp);
            }
            return Ok(());
        }
        if let Some((from, to)) = missing {
            self.sink.lost(from, to);
        }
        self.sink.message(&message, meta.pending).await;
        self.note(message.sequence, message.sequence, message.timestamp);
        Ok(())
    }

    /// A message of the server to the consumer, or of anybody who knows our inbox. Flow control asks for an answer before
    /// more is sent; a heartbeat of a stalled consumer repeats the question.
    fn control(
        &mut self,
        link: &mut ApiLink,
        message: &wire::Message,
        progress: &mut Progress,
    ) -> Result<(), Ended> {
        if let Some(reply) = control::flow_control(message) {
            link.publish(reply);
        }
        self.sink.tell_losses();
        if !control::is_idle(message) {
            return Ok(());
        }
        if progress.warm {
            // The server has nothing to say: what waited for us has expired since we asked.
            return Err(Ended::Emptied);
        }
        if progress.stored.is_some() {
            // The same for the message that was to be compared.
            self.go_live(progress);
        }
        Ok(())
    }

    /// A message that we have had: the last one before this consumer is the same as it was then, or the stream is not.
    fn compare(&mut self, now: i64, progress: &mut Progress) -> Result<(), Ended> {
        match progress.stored {
            None => self.sink.status.duplicate(),
            Some(then) if then == now => self.go_live(progress),
            Some(_) => {
                let last = progress.position - 1;
                self.identity.refute(&progress.guess, self.cursor.as_ref(), last);
                return Err(Ended::Replaced);
            }
        }
        Ok(())
    }

    /// Everything up to our position has been read; what the stream had up to the end of warming besides is gone.
    fn go_live(&mut self, progress: &mut Progress) {
        let (end, epoch) = (progress.plan.warm_until, &progress.guess.epoch);
        if end > progress.position {
            self.sink.missing(progress.position + 1, end);
        }
        let position = progress.position.max(end);
        let same = |cursor: &Cursor| cursor.epoch == *epoch && cursor.position == position;
        let stored = self.cursor.take().filter(same).and_then(|cursor| cursor.stored);
        self.cursor = Some(Cursor { epoch: epoch.clone(), position, stored });
        self.identity.confirm(&progress.guess);
        self.sink.live(epoch, position);
        progress.position = position;
        progress.stored = None;
    }

    /// The position is this now; it is that of the message if that is the last one which was read.
    fn note(&mut self, position: u64, sequence: u64, stored: i64) {
        if let Some(cursor) = &mut self.cursor {
            cursor.position = position;
            cursor.stored = (position == sequence).then_some(stored);
        }
    }
}
