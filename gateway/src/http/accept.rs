//! Accepting: TCP connections of the client port, bounded in number until they are upgraded, admitted or closed.

use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::pending::Pending;

/// HTTP connections that are not upgraded (yet), nor an event stream or a long-poll. An upgrade takes about a
/// millisecond: this is a storm of reconnects, or somebody who opens connections and says nothing.
pub(crate) const PENDING: usize = 4_096;

/// Time to send a request's head, also the longest a kept-alive connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest request head: cookies and a token fit several times.
const HEAD_BYTES: usize = 32 << 10;

/// Pause after the system refused to accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the client port until cancelled, with at most so many pending connections.
pub(crate) async fn serve(
    listener: StdListener,
    routes: Router,
    pending: usize,
    stop: CancellationToken,
) {
    // The socket is registered with the runtime that serves it: this one.
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch the client port"),
    };
    let places = Arc::new(Semaphore::new(pending));
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _peer)) => {
                    let pending = Pending::new(Arc::clone(&places), place);
                    drop(tokio::spawn(connection(stream, routes.clone(), pending)));
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

/// One HTTP connection; its place is given back when it ends or is upgraded.
async fn connection(stream: TcpStream, routes: Router, pending: Pending) {
    let pending = Arc::new(pending);
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&pending));
        routes.call(request)
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = pending.crowded() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        // Clients that vanish, speak something else or dawdle: theirs to notice, not ours to shout about.
        tracing::debug!(%error, "HTTP connection ended");
    }
}
