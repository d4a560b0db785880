//! JetStream reports what happens to a stream: then its WsGateway is reconciled, and no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::JoinHandle;

use crate::nats::{ADVISORIES, Link};
use crate::wake::{Name, Wake};

/// Between two reconciliations for advisories: whoever changes a stream a thousand times a second causes one each second.
const PAUSE: Duration = Duration::from_secs(1);

/// A subscription to the advisories of one stream; dropping it ends it.
#[derive(Debug)]
pub(super) struct Advisories {
    link: Link,
    stream: String,
    /// An advisory came since the stream was last looked at.
    pending: Arc<AtomicBool>,
    /// An advisory has come at all.
    proven: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Advisories {
    /// Subscribes; each advisory wakes the WsGateway `name`.
    pub(super) async fn of(link: &Link, stream: &str, name: Name, wake: Wake) -> Option<Self> {
        let subject = format!("{ADVISORIES}.STREAM.*.{stream}");
        let subscription = match link.client.subscribe(subject).await {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::debug!(%error, stream, "cannot subscribe to advisories");
                return None;
            }
        };
        let (pending, proven) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let flags = (Arc::clone(&pending), Arc::clone(&proven));
        let task = tokio::spawn(listen(subscription, flags, name, wake));
        Some(Self { link: link.clone(), stream: stream.to_owned(), pending, proven, task })
    }

    /// Whether these are the advisories of this stream on this connection, and still come.
    pub(super) fn are_of(&self, link: &Link, stream: &str) -> bool {
        self.link.is(link) && self.stream == stream && !self.task.is_finished()
    }

    /// Whether something happened since the last call.
    pub(super) fn take(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// Whether something has happened and was not taken yet.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Whether changes are heard of: certain once an advisory came, and to be expected where JetStream is in our own
    /// account (`own`) and does not refuse.
    pub(super) fn are_heard(&self, own: bool) -> bool {
        !self.link.is_deaf() && (own || self.proven.load(Ordering::Relaxed))
    }
}

impl Drop for Advisories {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    mut advisories: Subscriber,
    (pending, proven): (Arc<AtomicBool>, Arc<AtomicBool>),
    name: Name,
    wake: Wake,
) {
    while advisories.next().await.is_some() {
        // Those that came meanwhile say no more than the first.
        while advisories.next().now_or_never().flatten().is_some() {}
        proven.store(true, Ordering::Relaxed);
        pending.store(true, Ordering::Release);
        wake.wake(name.clone());
        tokio::time::sleep(PAUSE).await;
    }
}
