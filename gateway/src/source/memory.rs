//! Messages published inside this process: for development without NATS, tests and benches.
//!
//! Sequences count from 1, nothing is stored; the epoch is the time of the start.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wsgateway_proto::Deleted;

use super::Sink;
use crate::encode::Message;
use crate::time::unix_ms;

/// Messages that may wait between publisher and source.
const QUEUE: usize = 65_536;

/// The in-process stream is full or has ended; the message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The gateway is behind by a whole queue: try again a little later.
    #[error("the in-process stream is full")]
    Full,
    /// The gateway has stopped.
    #[error("the gateway has stopped")]
    Stopped,
}

/// Publishes into a gateway whose source is `memory`. Clones publish into the same stream.
#[derive(Clone, Debug)]
pub struct MemoryPublisher {
    sender: mpsc::Sender<Message>,
    sequence: Arc<Mutex<u64>>,
}

impl MemoryPublisher {
    /// Publishes without waiting; returns the message's sequence.
    ///
    /// # Errors
    /// [`PublishError`]; the message was not taken and no sequence was used.
    pub fn publish(&self, subject: &str, payload: Bytes) -> Result<u64, PublishError> {
        self.append(subject, payload, None)
    }

    /// Publishes a deletion: the subject has no value any more. Returns its sequence.
    ///
    /// # Errors
    /// As [`MemoryPublisher::publish`].
    pub fn delete(&self, subject: &str, why: Deleted) -> Result<u64, PublishError> {
        self.append(subject, Bytes::new(), Some(why))
    }

    fn append(
        &self,
        subject: &str,
        payload: Bytes,
        deleted: Option<Deleted>,
    ) -> Result<u64, PublishError> {
        // One lock over number and queue, so that sequences arrive in order.
        let mut last = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.sender.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => PublishError::Full,
            mpsc::error::TrySendError::Closed(()) => PublishError::Stopped,
        })?;
        *last += 1;
        place.send(Message {
            subject: subject.into(),
            sequence: *last,
            timestamp: unix_ms(),
            payload,
            deleted,
            trace: None,
        });
        Ok(*last)
    }
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct MemoryStream {
    receiver: mpsc::Receiver<Message>,
}

/// A stream inside this process.
pub(crate) fn stream() -> (MemoryPublisher, MemoryStream) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (MemoryPublisher { sender, sequence: Arc::default() }, MemoryStream { receiver })
}

/// Goes live: there is nothing to wait for, so clients are served from the first one on.
pub(crate) fn open(sink: &mut Sink) {
    let epoch: Arc<str> = format!("memory-{:x}", unix_ms()).into();
    sink.reset(&epoch, 0);
    sink.live(&epoch, 0);
}

/// Hands on every message until cancelled.
pub(crate) async fn run(mut stream: MemoryStream, mut sink: Sink, stop: CancellationToken) {
    while let Some(Some(message)) = stop.run_until_cancelled(stream.receiver.recv()).await {
        let lag = stream.receiver.len() as u64;
        sink.message(&message, lag).await;
    }
}
