//! What all reconciliations share. Everything in it may be lost at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource as _};
use tokio::sync::{OnceCell, watch};
use wsgateway_crds::WsGateway;

use crate::apply::Written;
use crate::backoff::Backoff;
use crate::build::NetworkRules;
use crate::children::Children;
use crate::configs::Looks;
use crate::disconnects::Reported;
use crate::disruptions::Ledger;
use crate::election::Lead;
use crate::events::Events;
use crate::fleet::Pods;
use crate::identity::Identity;
use crate::inventory::Inventory;
use crate::kinds::Kind;
use crate::live::Spread;
use crate::metrics::{Gateways, Metrics};
use crate::metrics_api::Registered;
use crate::nats::Links;
use crate::rollout::Turns;
use crate::stream::Records;
use crate::wake::{Name, Wake, reference};
use crate::{Options, class};

pub(crate) struct Context {
    /// Writes only while this process leads.
    pub(crate) client: Client,
    /// Says whether this process leads: for what is written elsewhere, and for tasks of their own.
    pub(crate) lead: Lead,
    pub(crate) options: Options,
    /// For NetworkPolicies, if there are to be any.
    pub(crate) network: Option<NetworkRules>,
    pub(crate) children: Children,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// All WsGateways, of whichever class.
    pub(crate) gateways: Store<DeserializeGuard<WsGateway>>,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) pods: Arc<Pods>,
    /// Set once the watches have told what exists, or have been waited for in vain.
    pub(crate) listed: OnceCell<()>,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: watch::Receiver<BTreeSet<Kind>>,
    /// Who serves the metrics for autoscalers.
    pub(crate) registered: watch::Receiver<Registered>,
    pub(crate) links: Links,
    pub(crate) records: Records,
    pub(crate) wake: Wake,
    pub(crate) identity: Identity,
    pub(crate) written: Written,
    pub(crate) configs: Looks,
    pub(crate) spread: Spread,
    /// What was said of annotations that name people.
    pub(crate) disconnects: Reported,
    pub(crate) backoff: Backoff,
    pub(crate) turns: Turns,
    pub(crate) ledger: Ledger,
    /// How each WsGateway fares, for scrapes.
    pub(crate) fared: Arc<Gateways>,
}

impl Context {
    /// Whether there is a WsGateway of this name, of whichever class.
    pub(crate) fn exists(&self, name: &Name) -> bool {
        self.gateways.get(&reference(name)).is_some()
    }

    /// Whether this very WsGateway still exists.
    pub(crate) fn is_there(&self, uid: &str, name: &Name) -> bool {
        let found = self.gateways.get(&reference(name));
        found.is_some_and(|gateway| gateway.meta().uid.as_deref() == Some(uid))
    }

    /// Whether this operator keeps a WsGateway: it exists, can be read and is of our class.
    pub(crate) fn keeps(&self, name: &Name) -> bool {
        let found = self.gateways.get(&reference(name));
        let readable = found.as_ref().and_then(|found| found.0.as_ref().ok());
        readable.is_some_and(|gateway| class::keeps(&self.options.class, gateway))
    }

    /// Forgets what was done for a WsGateway that is gone, or is another operator's now. What exists of it, and its pods, are
    /// the watches' to forget.
    pub(crate) fn forget(&self, name: &Name) {
        self.written.forget(name);
        self.configs.forget(&name.namespace, &name.name);
        self.turns.forget(name);
        self.ledger.forget(name);
        self.fared.forget(name);
        self.spread.forget(&name.namespace, &name.name);
        self.disconnects.forget(name);
        self.backoff.succeeded(&name.namespace, &name.name);
    }
}
