//! The client port: upgrade, console page, health and statistics.
//!
//! Runs on one thread of its own. An upgraded socket leaves for a shard and is forgotten here; what remains are
//! short requests, bounded in number and time.

mod accept;
mod cached;
mod cors;
mod door;
mod entry;
mod forwarded;
mod health;
mod identity;
mod origin;
mod pending;
mod place;
mod poll;
mod query;
mod refusal;
mod secure;
mod shortage;
mod sse;
mod terms;
mod upgrade;
mod watched;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::json;

use crate::admission::Admission;
use crate::auth::Authentication;
use crate::guard::Guards;
use crate::hub::Hub;
use crate::limits::Limits;
use crate::metrics::Rejections;
use crate::reload::ConfigState;
use crate::resources::Sampler;
use crate::shed::Shedding;
use crate::source::status::Status;
use crate::swap::Swap;
use crate::tls::Tls;

pub(crate) use accept::{Hall, serve};
use cached::Cached;
pub(crate) use door::Door;
use pending::Pending;
pub(crate) use pending::Places;
pub(crate) use secure::Secure;
pub(crate) use shortage::{RESERVE, Shortage};
pub(crate) use terms::Terms;
use terms::offered;

/// HTTP connections that are not upgraded (yet), nor an event stream or a long-poll. An upgrade takes about a
/// millisecond: this is a storm of reconnects, or somebody who opens connections and says nothing.
pub(crate) const PENDING: usize = 4_096;

/// What the routes need to know.
#[derive(Debug)]
pub(crate) struct Site {
    pub name: String,
    /// What /health calls the server that messages come from.
    pub broker: &'static str,
    pub path: String,
    /// What clients are offered there.
    pub terms: Swap<Terms>,
    /// Which configuration runs.
    pub config: Swap<ConfigState>,
    pub started: Instant,
    pub admission: Admission,
    pub limits: Limits,
    pub authentication: Authentication,
    /// None: clients speak without TLS.
    pub tls: Option<Tls>,
    pub shedding: Shedding,
    pub hub: Hub,
    pub pages: Pages,
    pub status: Status,
    pub sampler: Sampler,
    pub guards: Guards,
    pub rejections: Rejections,
}

/// What is rendered once for many.
#[derive(Debug)]
pub(crate) struct Pages {
    health: Cached,
    stats: Cached,
    console: Bytes,
}

impl Pages {
    /// Pages of a gateway whose WebSocket endpoint is at this path.
    pub(crate) fn new(path: &str) -> Self {
        let console = CONSOLE.replace("{{ws_path}}", path).replace("{{client}}", CLIENT).into();
        Self { health: Cached::default(), stats: Cached::default(), console }
    }
}

/// A route that is read, by pages of any origin.
fn read(handler: MethodRouter<Arc<Site>>) -> MethodRouter<Arc<Site>> {
    handler.options(cors::preflight).fallback(cors::other_method)
}

/// Routes of the client port.
pub(crate) fn client_routes(site: &Arc<Site>) -> (Router, Door) {
    // A page asks it without an upgrade to learn why its upgrades fail.
    let upgrades = get(upgrade::upgrade).options(cors::preflight).fallback(upgrade::upgrade);
    let mut routes = Router::new().route("/", read(get(root))).route(&site.path, upgrades);
    for place in paths(&site.path, "sse") {
        let events = read(get(sse::events));
        routes = routes.route(&place, offered(site, |terms| terms.event_source, events));
    }
    for place in paths(&site.path, "poll") {
        let polls = read(get(poll::poll));
        routes = routes.route(&place, offered(site, |terms| terms.long_poll, polls));
    }
    let pages = [("/health", get(health::cached_health)), ("/stats", get(health::cached_stats))];
    for (place, page) in pages {
        routes = routes.route(place, offered(site, |terms| terms.status_pages, read(page)));
    }
    let guard = from_fn_with_state(Arc::clone(site), entry::guard);
    let routes = routes.fallback(unknown_path).layer(guard);
    (routes.with_state(Arc::clone(site)), Door::of(site))
}

/// Where a fallback of the WebSocket endpoint is served: at the root, and beside that endpoint, where a client that knows
/// no other path looks, and what an Ingress with a prefix lets through.
fn paths(endpoint: &str, name: &str) -> BTreeSet<String> {
    let folder = endpoint.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut paths = BTreeSet::from([format!("/{name}"), format!("{folder}/{name}")]);
    paths.remove(endpoint);
    paths
}

/// Routes of a client port where every path is the WebSocket endpoint.
pub(crate) fn endpoint_only(site: &Arc<Site>) -> (Router, Door) {
    (Router::new().fallback(upgrade::upgrade).with_state(Arc::clone(site)), Door::closed())
}

/// Routes that the admin port adds to probes and metrics.
pub(crate) fn admin_routes(site: &Arc<Site>) -> Router {
    Router::new()
        .route("/status", get(health::status))
        .route("/health", get(health::health))
        .route("/stats", get(health::stats))
        .with_state(Arc::clone(site))
}

const CONSOLE: &str = include_str!("http/console/index.html");

/// The TypeScript client as one script, made by `hack/sdk generate`.
const CLIENT: &str = include_str!("http/console/client.js");

/// The page is one file with inline scripts and style, and talks to this host only.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
     connect-src 'self' ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, or the WebSocket endpoint for those who ask for one here: clients of earlier systems know no path.
async fn root(
    site: State<Arc<Site>>,
    pending: Extension<Arc<Pending>>,
    request: Request,
) -> Response {
    let upgrade = request.headers().get(header::UPGRADE);
    if upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return upgrade::upgrade(site, pending, request).await;
    }
    if site.terms.get().status_pages { console(&site) } else { unknown_path(site).await }
}

fn console(site: &Site) -> Response {
    let mut response = Html(site.pages.console.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn unknown_path(State(site): State<Arc<Site>>) -> Response {
    let page = if site.terms.get().status_pages { ", the console page is /" } else { "" };
    let message = format!("nothing here: the WebSocket endpoint is {}{page}", site.path);
    problem(StatusCode::NOT_FOUND, "not_found", &message, None)
}

/// A refusal as JSON; `retry_after_ms` also becomes a Retry-After header in whole seconds.
fn problem(status: StatusCode, code: &str, message: &str, retry_after_ms: Option<u64>) -> Response {
    let mut body = json!({ "code": code, "message": message });
    if let (Some(after), Some(fields)) = (retry_after_ms, body.as_object_mut()) {
        fields.insert("retryAfterMs".to_owned(), after.into());
    }
    let mut response = (status, axum::Json(body)).into_response();
    let headers = response.headers_mut();
    cors::allow(headers);
    if let Some(after) = retry_after_ms {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.div_ceil(1_000)));
    }
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        // The next attempt is to find another pod: a connection that is kept leads to this one. And whoever comes too often
        // holds nothing meanwhile.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
