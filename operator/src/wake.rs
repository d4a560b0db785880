//! Which WsGateways to reconcile soon, from wherever something about them changes: pods, objects, connections to NATS.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;

/// A WsGateway, by its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A set of WsGateways that wait for the controller: each is in it once, so it is bounded by their number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    keys: Mutex<HashSet<Key>>,
    some: Notify,
}

impl Waker {
    /// Has a WsGateway reconciled soon.
    pub(crate) fn wake(&self, key: Key) {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.0.some.notify_one();
    }

    /// Those to reconcile, as they come. For one reader.
    pub(crate) fn woken(&self) -> impl Stream<Item = Key> + Send + 'static {
        stream::unfold(Arc::clone(&self.0), |waiting| async move {
            loop {
                let keys =
                    std::mem::take(&mut *waiting.keys.lock().unwrap_or_else(PoisonError::into_inner));
                if !keys.is_empty() {
                    return Some((stream::iter(keys), waiting));
                }
                // A wake between the look and here has left a permit.
                waiting.some.notified().await;
            }
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wsgateway_that_is_woken_twice_comes_once_and_none_is_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let waker = Waker::default();
            let mut woken = Box::pin(waker.woken());
            let (one, other) = (Key::new("a", "one"), Key::new("a", "other"));
            for key in [&one, &other, &one] {
                waker.wake(key.clone());
            }
            let mut came = vec![woken.next().await.unwrap(), woken.next().await.unwrap()];
            came.sort();
            assert_eq!(came, [one.clone(), other]);
            waker.wake(one.clone());
            assert_eq!(woken.next().await, Some(one));
        });
    }
}
