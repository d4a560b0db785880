//! The server's control messages to a consumer: heartbeats and flow control.

use std::time::Duration;

use wsgateway_nats::wire::Message;

/// How often the server speaks up on a quiet stream.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);

/// Silence after which the consumer is taken for dead: three heartbeats missed.
pub(super) const SILENCE: Duration = Duration::from_secs(7);

/// Status of every control message.
const CONTROL: u16 = 100;

/// Subjects that the server takes answers to flow control on.
const FLOW_CONTROL: &[u8] = b"$JS.FC.";

/// Where the server waits for an answer before it sends more: a heartbeat of a stalled consumer repeats it. Anybody may
/// write to our inbox who knows it: answers go nowhere else.
pub(super) fn flow_control(message: &Message) -> Option<&[u8]> {
    if message.headers().status() != Some(CONTROL) {
        return None;
    }
    let subject = stalled(message).or(message.reply.as_deref())?;
    subject.starts_with(FLOW_CONTROL).then_some(subject)
}

/// Whether the server says that it has nothing to deliver: a heartbeat is sent after that long without a delivery.
pub(super) fn is_idle(message: &Message) -> bool {
    let heartbeat = message.headers().status() == Some(CONTROL) && message.reply.is_none();
    heartbeat && stalled(message).is_none()
}

fn stalled(message: &Message) -> Option<&[u8]> {
    message.headers().last("Nats-Consumer-Stalled")
}
