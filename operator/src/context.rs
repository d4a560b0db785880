//! What all reconciliations share. Everything in it may be lost at any time.

use kube::Client;
use tokio::sync::watch;

use crate::Options;
use crate::apply::Written;
use crate::backoff::Backoff;
use crate::build::NetworkRules;
use crate::children::Children;
use crate::configs::Looks;
use crate::discovery::Known;
use crate::election::Lead;
use crate::events::Events;
use crate::fleet::Asker;
use crate::live::Spread;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::nats::Links;
use crate::stream::Records;
use crate::wake::Wake;

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
    /// Which optional kinds the cluster knows.
    pub(crate) known: watch::Receiver<Known>,
    pub(crate) links: Links,
    pub(crate) records: Records,
    pub(crate) wake: Wake,
    pub(crate) identity: Identity,
    pub(crate) asker: Asker,
    pub(crate) written: Written,
    pub(crate) configs: Looks,
    pub(crate) spread: Spread,
    pub(crate) backoff: Backoff,
}
