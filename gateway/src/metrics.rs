//! Metrics: read from the owners' tallies when a scrape asks, never counted twice.
//!
//! No label carries a name that strangers choose; every label child exists from the start.

mod live;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use wsgateway_runtime::build_info;
use wsgateway_runtime::process::ProcessCollector;

use crate::admission::Admission;
use crate::history::History;
use crate::hub::Hub;
use crate::source::status::Status;
use crate::users::Users;
use live::Live;

/// Upgrades refused, by reason.
#[derive(Clone, Debug)]
pub(crate) struct Rejections {
    pub handshake: IntCounter,
    pub full: IntCounter,
    pub draining: IntCounter,
    pub source_not_ready: IntCounter,
    /// For their token.
    pub unauthorized: IntCounter,
    /// For a ban of their user or token.
    pub banned: IntCounter,
    /// Event streams and long-polls have their share of the places.
    pub fallbacks_full: IntCounter,
    /// There were no file descriptors.
    pub descriptors: IntCounter,
    /// A page of an origin that may not connect.
    pub origin: IntCounter,
    /// A host that is not ours.
    pub host: IntCounter,
    /// A connection that does not begin as a proxy's has to.
    pub proxy_header: IntCounter,
    /// An address with as many connections as it may have.
    pub address_connections: IntCounter,
    /// An address that opens them too fast.
    pub address_rate: IntCounter,
    /// All clients together do.
    pub accept_rate: IntCounter,
    /// Their user has as many connections as may be, on all pods together.
    pub user_connections: IntCounter,
    /// The container was short of CPU or memory.
    pub overloaded: IntCounter,
}

/// HTTP connections of the client port that are not upgraded (yet).
#[derive(Clone, Debug)]
pub(crate) struct PendingMetrics {
    pub held: IntGauge,
    pub evicted: IntCounter,
}

impl PendingMetrics {
    /// Registers both.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let held = IntGauge::new(
            "wsgateway_pending_connections",
            "HTTP connections that are not upgraded (yet), nor an event stream or long-poll",
        )?;
        let evicted = IntCounter::new(
            "wsgateway_pending_evicted_total",
            "Idle ones of them that were closed for a new connection",
        )?;
        Self::registered(registry, held, evicted)
    }

    /// The same of connections whose TLS handshake has not ended.
    pub(crate) fn register_handshakes(registry: &Registry) -> prometheus::Result<Self> {
        let held = IntGauge::new(
            "wsgateway_tls_pending_handshakes",
            "Connections whose TLS handshake has not ended",
        )?;
        let evicted = IntCounter::new(
            "wsgateway_tls_evicted_handshakes_total",
            "Slow ones of them that were closed for a new connection",
        )?;
        Self::registered(registry, held, evicted)
    }

    fn registered(
        registry: &Registry,
        held: IntGauge,
        evicted: IntCounter,
    ) -> prometheus::Result<Self> {
        registry.register(Box::new(held.clone()))?;
        registry.register(Box::new(evicted.clone()))?;
        Ok(Self { held, evicted })
    }
}

impl Rejections {
    /// Registers the counter with its reasons.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_upgrade_rejections_total",
            "Upgrades refused before a connection existed",
        );
        let counter = IntCounterVec::new(options, &["reason"])?;
        registry.register(Box::new(counter.clone()))?;
        let reason = |reason| counter.with_label_values(&[reason]);
        Ok(Self {
            handshake: reason("handshake"),
            full: reason("full"),
            draining: reason("draining"),
            source_not_ready: reason("source_not_ready"),
            unauthorized: reason("unauthorized"),
            banned: reason("banned"),
            fallbacks_full: reason("fallbacks_full"),
            descriptors: reason("descriptors"),
            origin: reason("origin"),
            host: reason("host"),
            proxy_header: reason("proxy_header"),
            address_connections: reason("address_connections"),
            address_rate: reason("address_rate"),
            accept_rate: reason("accept_rate"),
            user_connections: reason("user_connections"),
            overloaded: reason("overloaded"),
        })
    }

    /// Clients who did nothing wrong and met a pod that was not about to stop either.
    pub(crate) fn unexpected(&self) -> u64 {
        let rejected = [
            &self.full,
            &self.source_not_ready,
            &self.fallbacks_full,
            &self.descriptors,
            &self.accept_rate,
            &self.overloaded,
        ];
        rejected.into_iter().map(IntCounter::get).sum()
    }
}

/// Connections that the kernel could not give us, by reason.
#[derive(Clone, Debug)]
pub(crate) struct AcceptErrors {
    /// There were no file descriptors.
    pub descriptors: IntCounter,
    /// The client had reset it before it was accepted.
    pub aborted: IntCounter,
    pub other: IntCounter,
}

impl AcceptErrors {
    /// Registers the counter with its reasons.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_accept_errors_total",
            "Connections that could not be accepted from the kernel",
        );
        let counter = IntCounterVec::new(options, &["reason"])?;
        registry.register(Box::new(counter.clone()))?;
        let reason = |reason| counter.with_label_values(&[reason]);
        let (descriptors, aborted) = (reason("descriptors"), reason("aborted"));
        Ok(Self { descriptors, aborted, other: reason("other") })
    }
}

/// Registers everything that is read at scrape time, the build, and the process's own numbers.
pub(crate) fn register(
    registry: &Registry,
    hub: Hub,
    admission: Admission,
    status: Status,
    (history, users): (History, Users),
) -> prometheus::Result<()> {
    registry.register(Box::new(Live::new(hub, admission, status, history, users)?))?;
    build_info::register(registry, "wsgateway_build_info", env!("CARGO_PKG_VERSION"))?;
    registry.register(Box::new(ProcessCollector::new()?))
}
