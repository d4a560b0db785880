//! Pulling: deliveries of one consumer, as many as the limits of the stream let through. What is beyond waits in the stream.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use wsgateway_nats::wire::Message;

use super::api_link::ApiLink;
use super::control::{HEARTBEAT, SILENCE};
use super::read::Progress;
use super::{Ended, Reader};
use crate::source::pacer::Pacer;

/// How long the server keeps a request open that the stream has nothing for.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often a reader that waits looks how many messages do.
const LOOK: Duration = Duration::from_secs(1);

/// Longest wait for the shards to count the deliveries of a batch: what they count later is subtracted later.
const COUNTED: Duration = Duration::from_millis(100);

/// Pause between two looks at what the shards have counted.
const STEP: Duration = Duration::from_millis(1);

/// What a message of the server says of a request.
enum Said {
    /// It is a delivery, or a heartbeat.
    Goes,
    /// The request is over: another one may follow.
    Over,
    /// There will be no deliveries.
    Failed(String),
}

/// Reads the statuses of NATS ADR-13.
fn said(message: &Message) -> Said {
    let headers = message.headers();
    match headers.status() {
        // A publisher may send a status as well, in a message that has where to acknowledge it.
        _ if message.reply.is_some() => Said::Goes,
        None | Some(100) => Said::Goes,
        Some(404 | 408) => Said::Over,
        Some(503) => Said::Failed("the consumer does not exist any more".to_owned()),
        Some(_) => Said::Failed(String::from_utf8_lossy(headers.description()).into_owned()),
    }
}

impl Reader {
    /// Pulls until something is wrong, or the limits are other ones.
    pub(super) async fn pull(
        &mut self,
        link: &mut ApiLink,
        mut progress: Progress,
    ) -> Result<Infallible, Ended> {
        let rate = *self.sink.rates.borrow_and_update();
        if rate.is_unlimited() {
            return Err(Ended::OtherLimits); // since a moment ago
        }
        let mut pacer = Pacer::new(rate, self.sink.hub.deliveries());
        let start = Instant::now();
        let now_ns = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        loop {
            self.wait_for_room(link, &pacer, &progress, now_ns).await?;
            let batch = pacer.batch(now_ns());
            let subject = self.api.next_messages(&self.source.stream, &self.consumer.name);
            link.pull(&subject, batch, EXPIRES, HEARTBEAT);
            let before = (self.sink.hub.marked(), self.sink.status.handed_on());
            let mut taken = 0;
            while taken < batch && self.take(link, &subject, &mut progress).await? {
                pacer.took(now_ns());
                taken += 1;
            }
            if pacer.counts_deliveries() {
                self.await_counts(link, before).await?;
                pacer.delivered(taken, self.sink.hub.deliveries(), now_ns());
            }
        }
    }

    /// Waits until the limits let a message through. Meanwhile the lag is that of the stream.
    async fn wait_for_room(
        &mut self,
        link: &mut ApiLink,
        pacer: &Pacer,
        progress: &Progress,
        now_ns: impl Fn() -> u64,
    ) -> Result<(), Ended> {
        let mut next_look = Instant::now() + LOOK;
        loop {
            let wait = Duration::from_nanos(pacer.wait(now_ns()));
            if wait.is_zero() {
                return Ok(());
            }
            let begun = Instant::now();
            let rest = tokio::time::sleep(wait.min(next_look - begun));
            let mut rates = self.sink.rates.clone();
            let changed = async {
                tokio::select! {
                    () = rest => false,
                    Ok(()) = rates.changed() => true,
                }
            };
            let changed = link.wait(changed).await?;
            self.sink.status.paced(begun.elapsed());
            self.sink.tell_losses();
            if changed {
                return Err(Ended::OtherLimits);
            }
            if Instant::now() >= next_look {
                let last = self.find_stream(link).await?.last;
                self.sink.status.waiting(last.saturating_sub(progress.position));
                next_look = Instant::now() + LOOK;
            }
        }
    }

    /// Takes the next delivery; false when the request is over.
    async fn take(
        &mut self,
        link: &mut ApiLink,
        subject: &str,
        progress: &mut Progress,
    ) -> Result<bool, Ended> {
        let mut watch = tokio::time::interval(HEARTBEAT);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let mut rates = self.sink.rates.clone();
        loop {
            let message = tokio::select! {
                biased;
                message = link.delivery() => message?,
                Ok(()) = rates.changed() => return Err(Ended::OtherLimits),
                now = watch.tick() => {
                    if link.complaint.as_ref().is_some_and(|complaint| complaint.contains(subject)) {
                        let why = "it is not permitted".to_owned();
                        return Err(Ended::Refused { what: "pull messages", why });
                    }
                    if now.duration_since(heard) > SILENCE {
                        return Err(Ended::Silent);
                    }
                    continue;
                }
            };
            heard = Instant::now();
            match said(&message) {
                Said::Failed(why) => return Err(Ended::Pull(why)),
                Said::Over => return Ok(false),
                Said::Goes => {}
            }
            let before = progress.expected;
            self.delivery(link, message, progress).await?;
            if progress.expected > before {
                return Ok(true);
            }
        }
    }

    /// Waits until the shards have counted what was handed on since `before`: what was marked and handed on until then. Not
    /// for long, since the rest is subtracted later.
    async fn await_counts(&mut self, link: &mut ApiLink, before: (u64, u64)) -> Result<(), Ended> {
        let (hub, (marked, handed)) = (&self.sink.hub, before);
        let new = self.sink.status.handed_on().saturating_sub(handed);
        let marked = marked + new * hub.shards() as u64;
        let counted = async {
            while hub.marked() < marked {
                tokio::time::sleep(STEP).await;
            }
        };
        let _late = link.wait(tokio::time::timeout(COUNTED, counted)).await?;
        Ok(())
    }
}
