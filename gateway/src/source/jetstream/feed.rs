//! What the server sends to our consumer, with an eye on its silence and on the connection.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Ended;

/// How often the server speaks up on a quiet stream.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Silence after which the consumer is taken for dead: three heartbeats missed.
pub(super) const SILENCE: Duration = Duration::from_secs(7);

/// Subjects that the server takes answers to flow control on.
const FLOW_CONTROL: &str = "$JS.FC.";

/// Where a consumer that waits for an answer to its flow control wants it, as its heartbeats repeat.
fn stalled(control: &Message) -> Option<&str> {
    Some(control.headers.as_ref()?.get("Nats-Consumer-Stalled")?.as_str())
}

/// Where the server waits for an answer before it sends more. Anybody may write to our inbox who knows it: answers go
/// nowhere else.
pub(super) fn flow_control(control: &Message) -> Option<&str> {
    if control.status != Some(StatusCode::IDLE_HEARTBEAT) {
        return None;
    }
    let subject = stalled(control).or(control.reply.as_deref())?;
    subject.starts_with(FLOW_CONTROL).then_some(subject)
}

/// Whether the server says that it has nothing to deliver: a heartbeat is sent after that long without a delivery.
pub(super) fn is_idle(control: &Message) -> bool {
    let heartbeat = control.status == Some(StatusCode::IDLE_HEARTBEAT) && control.reply.is_none();
    heartbeat && stalled(control).is_none()
}

/// What the server sends, with an eye on its silence and on the connection.
pub(super) struct Feed {
    deliveries: Subscriber,
    connected: Arc<Notify>,
    watch: Interval,
    heard: Instant,
}

impl Feed {
    pub(super) fn new(deliveries: Subscriber, connected: Arc<Notify>) -> Self {
        let mut watch = tokio::time::interval(HEARTBEAT);
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { deliveries, connected, watch, heard: Instant::now() }
    }

    /// The next delivery or control message.
    pub(super) async fn next(&mut self) -> Result<Message, Ended> {
        loop {
            tokio::select! {
                biased;
                () = self.connected.notified() => return Err(Ended::Reconnected),
                delivery = self.deliveries.next() => {
                    self.heard = Instant::now();
                    return delivery.ok_or(Ended::Closed);
                }
                now = self.watch.tick() => {
                    if now.duration_since(self.heard) > SILENCE {
                        return Err(Ended::Silent);
                    }
                }
            }
        }
    }
}
