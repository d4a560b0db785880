//! The admin HTTP server: /metrics, /livez, /readyz and what the program adds, on a port and a thread of its own,
//! so that probes and scrapes are answered while everything else is busy.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio_util::sync::CancellationToken;

use crate::listen;
use crate::readiness::Readiness;

/// Why the admin server did not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port is taken, or not ours to bind.
    #[error("cannot listen on {address} for the admin port: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// No thread or runtime could be had.
    #[error("cannot start the admin thread: {0}")]
    Thread(std::io::Error),
}

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 128;

/// A running admin server; it stops when dropped.
#[derive(Debug)]
pub struct AdminServer {
    /// The bound address (the port that was picked when 0 was asked for).
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Probes {
    registry: Registry,
    readiness: Readiness,
}

/// Binds and serves. `extra` adds the program's own routes.
///
/// # Errors
/// When the port cannot be bound or the thread cannot be started.
pub fn serve(
    address: SocketAddr,
    registry: Registry,
    readiness: Readiness,
    extra: Router,
) -> Result<AdminServer, AdminError> {
    let bind = |source| AdminError::Bind { address, source };
    let socket = listen::bind(address, |_| Ok(())).map_err(bind)?;
    socket.listen(BACKLOG).map_err(bind)?;
    socket.set_nonblocking(true).map_err(bind)?;
    let listener = TcpListener::from(socket);
    let bound = listener.local_addr().map_err(bind)?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(Probes { registry, readiness })
        .merge(extra);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AdminError::Thread)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let thread = std::thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(listener, router, stopped)))
        .map_err(AdminError::Thread)?;
    tracing::info!(address = %bound, "admin listening");
    Ok(AdminServer { address: bound, stop, thread: Some(thread) })
}

async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        // Not graceful on purpose: an open scrape must not hold up the end of the process.
        Ok(listener) => tokio::select! {
            served = async { axum::serve(listener, router).await } => served,
            () = stop.cancelled() => Ok(()),
        },
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "admin server ended");
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

async fn live(State(probes): State<Probes>) -> Response {
    let dead = probes.readiness.dead();
    if !dead.is_empty() {
        return verdict("dead", &dead);
    }
    verdict("stuck", &probes.readiness.stuck(Instant::now()))
}

async fn ready(State(probes): State<Probes>) -> Response {
    verdict("not ready", &probes.readiness.closed())
}

fn verdict(what: &str, names: &[&str]) -> Response {
    if names.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{what}: {}\n", names.join(", "))).into_response()
}

async fn metrics(State(probes): State<Probes>) -> Response {
    match TextEncoder::new().encode_to_string(&probes.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
