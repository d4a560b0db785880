//! Terms: what clients are offered at the port, which may change while it is open.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::MethodRouter;
use wsgateway_config::GatewayConfig;

use super::{Site, unknown_path};
use crate::auth::Guard;

/// What clients are offered.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Protocols served, by name, and the one for clients that name none.
    pub protocols: Vec<&'static str>,
    pub default_protocol: &'static str,
    /// Whether permessage-deflate is agreed with those who offer it.
    pub compression: bool,
    /// Longest command.
    pub command_bytes: usize,
    /// Whether event streams and long-polls are served.
    pub event_source: bool,
    pub long_poll: bool,
    /// What verifies the tokens of clients, if they need any.
    pub guard: Option<Arc<Guard>>,
    /// Whether the console page, /health and /stats are served to clients.
    pub status_pages: bool,
}

impl Terms {
    pub(crate) fn new(config: &GatewayConfig, guard: Option<Arc<Guard>>) -> Self {
        let listener = &config.listener;
        Self {
            protocols: listener.protocols.iter().map(|protocol| protocol.name()).collect(),
            default_protocol: listener.default_protocol.name(),
            compression: listener.compression,
            command_bytes: config.capacity.command_bytes as usize,
            event_source: listener.event_source,
            long_poll: listener.long_poll,
            guard,
            status_pages: listener.status_pages,
        }
    }
}

/// A route that is there while the terms offer it; otherwise its path is unknown, whatever the method.
pub(super) fn offered(
    site: &Arc<Site>,
    is_offered: fn(&Terms) -> bool,
    route: MethodRouter<Arc<Site>>,
) -> MethodRouter<Arc<Site>> {
    let judge = move |site: State<Arc<Site>>, request: Request, next: Next| async move {
        let passes = site.terms.with(is_offered);
        if passes { next.run(request).await } else { unknown_path(site).await }
    };
    route.layer(from_fn_with_state(Arc::clone(site), judge))
}
