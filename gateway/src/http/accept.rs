//! Accepting: TCP connections of the client port, until they are upgraded, admitted or closed.
//!
//! Nothing here waits for a client to leave: a new connection takes the place of the one that has been idle for longest.
//! Without file descriptors it is answered 503 and closed, see [`Shortage`].

use std::convert::Infallible;
use std::io::{self, Read as _};
use std::net::{IpAddr, TcpListener as StdListener, TcpStream as StdStream};
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
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wsgateway_proto::handshake::MAX_HEAD;
use wsgateway_runtime::raw;

use super::door::{Door, Verdict};
use super::pending::{Answering, Over, Pending, Places, Released, join};
use super::refusal::hang_up;
use super::secure::{self, Secure};
use super::shortage::Shortage;
use super::watched::Watched;
use crate::hub::Burst;
use crate::hub::arrivals::BURST;
use crate::tls::Wire;

/// Largest request head: cookies and a token fit several times.
const HEAD_BYTES: usize = 16 << 10;

/// Room for what is read of a head that does not come at once.
pub(super) const HEAD_PART: usize = 1 << 10;

/// What a connection meets on its way in.
#[derive(Clone, Debug)]
pub(crate) struct Hall {
    pub door: Door,
    pub routes: Router,
    pub places: Arc<Places>,
    /// None: clients speak without TLS.
    pub secure: Option<Secure>,
}

/// Serves the client port until cancelled.
pub(crate) async fn serve(
    listener: StdListener,
    hall: Hall,
    mut shortage: Shortage,
    stop: CancellationToken,
) {
    // The socket is registered with the runtime that serves it: this one.
    let listener = match raw::watch(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch the client port"),
    };
    let mut reception = Reception { buffer: vec![0; MAX_HEAD], hall };
    let accepting = async {
        let (mut burst, mut accepted) = (Burst::default(), 0);
        loop {
            tokio::select! {
                biased;
                next = shortage.accept(&listener), if accepted < BURST => {
                    accepted += 1;
                    if let Some((stream, peer)) = next {
                        reception.receive(stream, peer, &mut burst);
                    }
                }
                // Nobody else waits, or enough were accepted.
                () = std::future::ready(()), if accepted > 0 => {
                    reception.hall.door.let_in_together(&mut burst).await;
                    if accepted == BURST {
                        tokio::task::yield_now().await;
                    }
                    accepted = 0;
                }
            }
        }
    };
    let _never: Option<Infallible> = stop.run_until_cancelled(accepting).await;
}

/// Where a connection comes in.
struct Reception {
    buffer: Vec<u8>,
    hall: Hall,
}

impl Reception {
    /// Reads a fresh connection's first bytes. As a rule the request is there: no task, no second wait, no HTTP server.
    fn receive(&mut self, stream: StdStream, peer: IpAddr, burst: &mut Burst) {
        let read = match (&stream).read(&mut self.buffer) {
            // Whoever only looks whether the port is open.
            Ok(0) => return,
            Ok(count) => self.buffer.get(..count).unwrap_or_default(),
            Err(error) if is_only_early(&error) => &[],
            Err(error) => return tracing::debug!(%error, "a connection ended before its request"),
        };
        if let Some(secure) = &self.hall.secure {
            let handshake = secure.handshakes.enter(peer, Instant::now());
            let (hall, secure) = (self.hall.clone(), secure.clone());
            drop(tokio::spawn(secure::connection(
                stream,
                read.to_vec(),
                (hall, secure),
                handshake,
            )));
            return;
        }
        match self.hall.door.judge(read, peer) {
            Verdict::Upgrade(upgrade) => {
                return self.hall.door.gather(burst, upgrade.into_handover(stream, read));
            }
            Verdict::Refused(answer) => return hang_up(&stream, &answer),
            Verdict::Wait | Verdict::Http { .. } => {}
        }
        // Before the next one is accepted: the task may get its turn later.
        let pending = self.hall.places.enter(peer, Instant::now());
        let (door, routes) = (self.hall.door.clone(), self.hall.routes.clone());
        drop(tokio::spawn(connection(stream, read.to_vec(), door, routes, pending)));
    }
}

pub(super) fn is_only_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// One connection of which some bytes were read; its place is given back when it ends or is upgraded.
async fn connection(
    stream: StdStream,
    mut read: Vec<u8>,
    door: Door,
    routes: Router,
    pending: Arc<Pending>,
) {
    let stream = tokio::select! {
        stream = wait(stream, &mut read, &door, &pending) => stream,
        over = pending.over() => return log_over(over),
    };
    match stream {
        Ok(Some(stream)) => {
            let stream = Wire::Left(stream);
            let stream = Watched::new(stream, read.into(), Arc::clone(&pending));
            serve_http(stream, routes, pending).await;
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its request"),
    }
}

/// Waits until a connection is upgraded or refused (None), or turns out to be for the HTTP server.
async fn wait(
    stream: StdStream,
    read: &mut Vec<u8>,
    door: &Door,
    pending: &Pending,
) -> io::Result<Option<TcpStream>> {
    let stream = TcpStream::from_std(stream)?;
    let peer = pending.caller().connection();
    loop {
        match door.judge(read, peer) {
            Verdict::Http { from, skip } => {
                pending.caller().come_from(from);
                drop(read.drain(..skip));
                return Ok(Some(stream));
            }
            Verdict::Refused(answer) => {
                hang_up(&stream.into_std()?, &answer);
                return Ok(None);
            }
            Verdict::Upgrade(upgrade) => {
                door.let_in(upgrade.into_handover(stream.into_std()?, read));
                return Ok(None);
            }
            Verdict::Wait => {}
        }
        stream.readable().await?;
        read.reserve(HEAD_PART);
        match stream.try_read_buf(read) {
            Ok(0) => return Ok(None),
            Err(error) if !is_only_early(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

pub(super) fn log_over(over: Over) {
    let why = if over == Over::Evicted { "its place was needed" } else { "too slow" };
    tracing::debug!(why, "HTTP connection closed");
}

/// One HTTP connection.
pub(super) async fn serve_http(stream: Watched, routes: Router, pending: Arc<Pending>) {
    let (released, routes) = (routes.clone(), TowerToHyperService::new(routes));
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
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut is_last = false;
    let served = loop {
        tokio::select! {
            served = &mut serving => break served,
            takeover = pending.taken_over() => {
                let Some(parts) = serving.into_parts() else { return };
                let (stream, unread) = parts.io.into_inner().into_inner();
                let before = join(parts.read_buf, &unread);
                let released = Released { stream, before, routes: released };
                // A task of its own, so that this one's memory is released: it is that of an HTTP server.
                drop(tokio::spawn(takeover.serve(released)));
                return;
            }
            over = pending.over() => return log_over(over),
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
