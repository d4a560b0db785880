//! What all reconciliations share. Everything in it may be lost at any time.

use kube::Client;
use tokio::sync::watch;

use crate::Options;
use crate::apply::Written;
use crate::backoff::Backoff;
use crate::children::Children;
use crate::events::Events;
use crate::fleet::Asker;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::nats::Links;
use crate::stream::Records;
use crate::wake::Wake;

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) children: Children,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// Whether the cluster knows ServiceMonitors.
    pub(crate) monitors: watch::Receiver<bool>,
    pub(crate) links: Links,
    pub(crate) records: Records,
    pub(crate) wake: Wake,
    pub(crate) identity: Identity,
    pub(crate) asker: Asker,
    pub(crate) written: Written,
    pub(crate) backoff: Backoff,
}
