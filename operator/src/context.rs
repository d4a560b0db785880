//! What all reconciliations share. Everything in it may be lost at any time.

use kube::Client;
use tokio::sync::watch;

use crate::Options;
use crate::apply::Written;
use crate::backoff::Backoff;
use crate::children::Children;
use crate::discovery::Known;
use crate::events::Events;
use crate::fleet::Asker;
use crate::metrics::Metrics;
use crate::nats::Links;

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) children: Children,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// Which optional kinds the cluster knows.
    pub(crate) known: watch::Receiver<Known>,
    pub(crate) links: Links,
    pub(crate) asker: Asker,
    pub(crate) written: Written,
    pub(crate) backoff: Backoff,
}
