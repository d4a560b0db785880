//! Accepting: TCP connections of the client port, bounded in number until they are upgraded or closed.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// HTTP connections that are not upgraded (yet). An upgrade takes about a millisecond: this is a storm of
/// reconnects, or somebody who opens connections and says nothing.
const PENDING: usize = 4_096;

/// Time to send a request's head, also the longest a kept-alive connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest request head: cookies and a token fit several times.
const HEAD_BYTES: usize = 32 << 10;

/// Pause after the system refused to accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the client port until cancelled.
pub(crate) async fn serve(listener: StdListener, routes: Router, stop: CancellationToken) {
    // The socket is registered with the runtime that serves it: this one.
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch the client port"),
    };
    let pending = Arc::new(Semaphore::new(PENDING));
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&pending).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    drop(tokio::spawn(connection(stream, routes.clone(), place)))
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

/// One HTTP connection; `_place` is given back when it ends or is upgraded.
async fn connection(stream: TcpStream, routes: Router, _place: OwnedSemaphorePermit) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        // Clients that vanish, speak something else or dawdle: theirs to notice, not ours to shout about.
        tracing::debug!(%error, "HTTP connection ended");
    }
}
