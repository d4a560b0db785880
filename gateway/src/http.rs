//! The client port: upgrade, console page, health and statistics.
//!
//! Runs on one thread of its own. An upgraded socket leaves for a shard and is forgotten here; what remains are
//! short requests, bounded in number and time.

mod accept;
mod bridge;
mod health;
mod pending;
mod place;
mod poll;
mod query;
mod sse;
mod upgrade;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::admission::Admission;
use crate::hub::Hub;
use crate::metrics::Rejections;
use crate::resources::Sampler;
use crate::source::status::Status;

pub(crate) use accept::{PENDING, serve};

/// What the routes need to know.
#[derive(Debug)]
pub(crate) struct Site {
    pub name: String,
    /// What /health calls the server that messages come from.
    pub broker: &'static str,
    pub path: String,
    /// Protocols served, by name, and the one for clients that name none.
    pub protocols: Vec<&'static str>,
    pub default_protocol: &'static str,
    /// Whether permessage-deflate is agreed with those who offer it.
    pub compression: bool,
    pub config_hash: String,
    pub started: Instant,
    pub admission: Admission,
    pub hub: Hub,
    /// Longest command.
    pub command_bytes: usize,
    /// Whether event streams and long-polls are served.
    pub event_source: bool,
    pub long_poll: bool,
    pub status: Status,
    pub sampler: Sampler,
    pub rejections: Rejections,
}

/// Routes of the client port.
pub(crate) fn client_routes(site: &Arc<Site>) -> Router {
    let mut routes = Router::new()
        .route("/", get(root))
        .route(&site.path, get(upgrade::upgrade).fallback(upgrade::upgrade));
    for place in paths(&site.path, "sse").iter().filter(|_| site.event_source) {
        routes = routes.route(place, get(sse::events));
    }
    for place in paths(&site.path, "poll").iter().filter(|_| site.long_poll) {
        routes = routes.route(place, get(poll::poll));
    }
    routes.fallback(unknown_path).with_state(Arc::clone(site)).merge(shared_routes(site))
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
pub(crate) fn endpoint_only(site: &Arc<Site>) -> Router {
    Router::new().fallback(upgrade::upgrade).with_state(Arc::clone(site))
}

/// Routes that the admin port adds to probes and metrics.
pub(crate) fn admin_routes(site: &Arc<Site>) -> Router {
    Router::new()
        .route("/status", get(health::status))
        .with_state(Arc::clone(site))
        .merge(shared_routes(site))
}

fn shared_routes(site: &Arc<Site>) -> Router {
    Router::new()
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
async fn root(site: State<Arc<Site>>, request: Request) -> Response {
    let upgrade = request.headers().get(header::UPGRADE);
    if upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return upgrade::upgrade(site, request).await;
    }
    console(&site)
}

fn console(site: &Site) -> Response {
    let page = CONSOLE.replace("{{ws_path}}", &site.path).replace("{{client}}", CLIENT);
    let mut response = Html(page).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn unknown_path(State(site): State<Arc<Site>>) -> Response {
    let message =
        format!("nothing here: the WebSocket endpoint is {}, the console page is /", site.path);
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
    // Pages of other origins may read why; there is nothing in it that they could not have asked themselves.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Some(after) = retry_after_ms {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.div_ceil(1_000)));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // The next attempt is to find another pod: a connection that is kept leads to this one.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
