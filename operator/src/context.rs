//! What all reconciliations share. Everything in it may be lost at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use tokio::sync::{OnceCell, watch};
use wsgateway_crds::WsGateway;

use crate::Options;
use crate::apply::Written;
use crate::backoff::Backoff;
use crate::children::Children;
use crate::events::Events;
use crate::fleet::Pods;
use crate::inventory::Inventory;
use crate::kinds::Kind;
use crate::metrics::Metrics;
use crate::nats::Links;
use crate::wake::Wake;

pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) children: Children,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// All WsGateways.
    pub(crate) gateways: Store<DeserializeGuard<WsGateway>>,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) pods: Arc<Pods>,
    /// Set once the watches have told what exists, or have been waited for in vain.
    pub(crate) listed: OnceCell<()>,
    pub(crate) wake: Wake,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: watch::Receiver<BTreeSet<Kind>>,
    pub(crate) links: Links,
    pub(crate) written: Written,
    pub(crate) backoff: Backoff,
}
