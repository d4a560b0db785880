//! Accepting: TCP connections of the client port, until they are upgraded, admitted or closed.
//!
//! Nothing here waits for a client to leave: a new connection takes the place of the one that has been idle for longest.
//! Without file descriptors it is answered 503 and closed, see [`Shortage`].

use std::convert::Infallible;
use std::net::TcpListener as StdListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::Request;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pending::{Answering, Over, Pending, Places};
use super::shortage::Shortage;
use super::watched::Watched;

/// Largest request head: cookies and a token fit several times.
const HEAD_BYTES: usize = 32 << 10;

/// Serves the client port until cancelled.
pub(crate) async fn serve(
    listener: StdListener,
    routes: Router,
    places: Arc<Places>,
    mut shortage: Shortage,
    stop: CancellationToken,
) {
    // The socket is registered with the runtime that serves it: this one.
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch the client port"),
    };
    let accepting = async {
        loop {
            if let Some((stream, peer)) = shortage.accept(&listener).await {
                // Before the next one is accepted: the task may get its turn later.
                let pending = places.enter(peer, Instant::now());
                drop(tokio::spawn(connection(stream, routes.clone(), pending)));
            }
        }
    };
    let _never: Option<Infallible> = stop.run_until_cancelled(accepting).await;
}

/// One HTTP connection; its place is given back when it ends or is upgraded.
async fn connection(stream: TcpStream, routes: Router, pending: Arc<Pending>) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|mut request: Request<Incoming>| {
        let answering = pending.answer();
        request.extensions_mut().insert(Arc::clone(&pending));
        let response = routes.call(request);
        let pending = Arc::clone(&pending);
        async move { response.await.map(|response| last(response, &pending, answering)) }
    });
    let mut serving = http1::Builder::new()
        // Deadlines are those of the place: hyper has one for a head and for what is between two requests.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&pending))), service)
        .with_upgrades();
    let mut is_last = false;
    let served = loop {
        tokio::select! {
            served = &mut serving => break served,
            takeover = pending.taken_over() => {
                let Some(parts) = serving.into_parts() else { return };
                let stream = parts.io.into_inner().into_inner();
                // A task of its own, so that this one's memory is released: it is that of an HTTP server.
                drop(tokio::spawn(takeover.serve(stream)));
                return;
            }
            over = pending.over() => {
                let why = if over == Over::Evicted { "its place was needed" } else { "too slow" };
                return tracing::debug!(why, "HTTP connection closed");
            }
            () = pending.crowded(), if !is_last => {
                is_last = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
        }
    };
    if let Err(error) = served {
        // Clients that vanish, speak something else or dawdle: theirs to notice, not ours to shout about.
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// Under pressure an answer is the last one of its connection.
fn last(mut response: Response<Body>, pending: &Pending, answering: Answering) -> Response<Answer> {
    if pending.is_pressed() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response.map(|body| Answer { body, _answering: answering })
}

/// A body that knows when it has been taken.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
