//! `GET /poll`: one answer per request, for clients that can do nothing else.
//!
//! With a cursor: what has come after it, at once if there is anything, else as soon as something comes or the wait is
//! over. Without: the cursor of this moment, to begin with, and the last values if they are asked for. The request is an
//! HTTP server's; a shard takes the socket over, waits, writes the answer and gives the socket back for the next request.

use std::io::{self, Read as _};
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, Request, State};
use axum::http::{Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use wsgateway_access::Grant;

use super::accept::serve_http;
use super::cors::{self, Cors, secure};
use super::identity::identify_request;
use super::pending::{Pending, Released, Return, Takeover};
use super::place::{Busy, admit_fallback, enter};
use super::query::{Query, SubscribeRequest};
use super::watched::Watched;
use super::{Site, problem};
use crate::admission::{Admission, Permit};
use crate::conn::Transport;
use crate::conn::poll::answer::{Broken, Terms};
use crate::conn::poll::{self, HEADERS, Origin, Outcome};
use crate::hub::arrivals::Handover;
use crate::tls::{Link, wire_of};

/// Wait of a client that names none, and the longest (s): below the timeouts of common proxies.
const WAIT: u64 = 25;
const MOST_WAIT: u64 = 55;

/// Bytes of further requests that wait in memory for an answer: a usual head. With more the connection ends with the
/// answer, and its client sends them again, as it must expect of requests that it does not wait for (RFC 9112, 9.3.2).
const MOST_BEFORE: usize = 4 << 10;

/// Longest body of a refusal: a code and a message.
const MOST_REFUSAL: usize = 16 << 10;

/// Bytes that are read of a client whose connection ends, so that it is not reset.
const MOST_DISCARDED: usize = 64 << 10;

/// Route of the long-poll.
pub(super) async fn poll(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
    request: Request,
) -> Response {
    let checked = Query::read(query).and_then(|query| {
        let wait = Duration::from_secs(query.wait.unwrap_or(WAIT).min(MOST_WAIT));
        Ok((query.check(None, site.terms.get().command_bytes)?, wait))
    });
    let (mut subscribe, wait) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    if let Err(busy) = enter(&site, &pending) {
        return busy.into_response();
    }
    let terms = site.terms.get();
    let identity = identify_request(&site, &terms, request.headers(), request.uri().query());
    let grant = match identity {
        Ok(grant) => grant,
        Err(refusal) => return *refusal,
    };
    subscribe.add_unasked(grant.as_ref());
    if request.method() == Method::HEAD {
        let mut response = HEADERS.into_response();
        cors::allow(response.headers_mut());
        return response;
    }
    let permit = match admit_fallback(&site, &pending, grant.as_ref()) {
        Ok(permit) => permit,
        Err(busy) => return busy.into_response(),
    };
    let waiting = Waiting {
        terms: Terms { begins: subscribe.cursor.is_none(), values: subscribe.snapshot, wait },
        subscribe,
        permit,
        grant,
        chunked: request.version() >= Version::HTTP_11,
        keep: may_be_kept(&request),
        back: pending.way_back(),
        cors: terms.entry.cors(request.headers()),
    };
    pending.take_over(Takeover::new(move |released| async move {
        if let Err(error) = waiting.hand_over(&site, released) {
            tracing::debug!(%error, "a long-poll ended before it began");
        }
    }));
    // The connection ends here for HTTP, until it comes back.
    std::future::pending().await
}

/// Whether another request may follow on the connection. The body of a request, which nobody reads, would be taken for one.
fn may_be_kept(request: &Request) -> bool {
    let mut options = request.headers().get_all(header::CONNECTION).iter();
    let closes = options.any(|options| {
        let mut options = options.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    request.version() == Version::HTTP_11 && !closes && request.body().is_end_stream()
}

/// A request that has a place and waits for its socket.
struct Waiting {
    subscribe: SubscribeRequest,
    terms: Terms,
    permit: Permit,
    grant: Option<Arc<Grant>>,
    chunked: bool,
    keep: bool,
    back: Return,
    cors: Cors,
}

impl Waiting {
    /// Hands the socket to a shard, with what the client asks for.
    fn hand_over(self, site: &Site, released: Released) -> io::Result<()> {
        let (link, before, routes) = released.into_parts()?;
        let keep = self.keep && before.len() <= MOST_BEFORE;
        let origin = HttpConnection {
            back: self.back,
            admission: site.admission.clone(),
            runtime: Handle::current(),
            keep,
            // A copy, so that the HTTP server's buffer is not held.
            before: Bytes::copy_from_slice(if keep { &before } else { &[] }),
            routes,
            cors: self.cors.clone(),
        };
        let cors = self.cors.lines().into();
        let (terms, chunked, origin) = (self.terms, self.chunked, Box::new(origin));
        site.hub.adopt(Handover {
            commands: vec![self.subscribe.command()],
            transport: Transport::Poll,
            poll: Some(poll::Request { terms, chunked, origin, cors }),
            grant: self.grant,
            permit: Some(self.permit),
            ..Handover::new(link)
        });
        Ok(())
    }
}

/// The way of a socket back to the HTTP server.
struct HttpConnection {
    back: Return,
    admission: Admission,
    runtime: Handle,
    keep: bool,
    before: Bytes,
    routes: Router,
    cors: Cors,
}

impl std::fmt::Debug for HttpConnection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("HttpConnection")
    }
}

impl Origin for HttpConnection {
    fn keeps(&self) -> bool {
        self.keep && self.back.has_room() && self.admission.is_open()
    }

    fn take_back(self: Box<Self>, link: Link, outcome: Outcome) {
        let Self { back, runtime, before, routes, cors, .. } = *self;
        let pending = back.enter();
        let remainder = match outcome {
            Outcome::Answered { rest, keep } => Remainder::Bytes { rest, keep },
            Outcome::Refused(broken) => Remainder::Response(secure(cors.restrict(refuse(broken)))),
        };
        drop(runtime.spawn(take_back((link, before), remainder, routes, pending)));
    }
}

/// What is to be written on a connection before it is served again.
enum Remainder {
    /// The rest of an answer. `keep`: another request may follow it.
    Bytes { rest: Vec<u8>, keep: bool },
    /// A whole answer, the last one.
    Response(Response<Body>),
}

impl Remainder {
    /// Whether another request may follow.
    fn keeps(&self) -> bool {
        matches!(self, Self::Bytes { keep: true, .. })
    }
}

/// Takes a connection back that a shard has had for a long-poll: writes what is left to be written, then serves what comes
/// next, of which some bytes may be here already.
async fn take_back(
    (link, before): (Link, Bytes),
    remainder: Remainder,
    routes: Router,
    pending: Arc<Pending>,
) {
    if !remainder.keeps() {
        discard(&link.stream);
    }
    let mut stream = match wire_of(link) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "cannot watch a connection that comes back"),
    };
    let answering = pending.answer();
    let write = async {
        let (bytes, keep) = match remainder {
            Remainder::Bytes { rest, keep } => (rest, keep),
            Remainder::Response(response) => (rendered(response).await?, false),
        };
        stream.write_all(&bytes).await?;
        // With TLS something may wait even if there was nothing to write here.
        stream.flush().await?;
        if !keep {
            stream.shutdown().await?;
        }
        io::Result::Ok(keep)
    };
    let written = tokio::select! {
        written = write => written,
        over = pending.over() => return tracing::debug!(?over, "an answer broke off"),
    };
    drop(answering);
    match written {
        Ok(true) => {
            if !before.is_empty() {
                pending.heard();
            }
            serve_http(Watched::new(stream, before, Arc::clone(&pending)), routes, pending).await;
        }
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its answer"),
    }
}

/// The bytes of a response, the last one of its connection.
async fn rendered(response: Response<Body>) -> io::Result<Vec<u8>> {
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MOST_REFUSAL).await.map_err(io::Error::other)?;
    let mut out = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        if name != header::CONNECTION && name != header::CONTENT_LENGTH {
            out.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    let last = format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    out.extend_from_slice(last.as_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Reads what a client has sent that gets no answer: closed with unread bytes, a connection is reset, and its client may
/// lose the answer before.
fn discard(mut stream: &StdStream) {
    let (mut buffer, mut left) = ([0; 1 << 10], MOST_DISCARDED);
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => left = left.saturating_sub(count),
            Ok(_) | Err(_) => return,
        }
    }
}

fn refuse(broken: Broken) -> Response<Body> {
    match broken {
        Broken::Refused { code, message } => {
            problem(StatusCode::BAD_REQUEST, &code, &message, None)
        }
        Broken::Unavailable(message) => Busy::new("try_again", message).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_unless_its_client_says_otherwise_or_sends_a_body() {
        let request = |version, connection: &str, body: &'static str| {
            let request = Request::builder().version(version);
            request.header(header::CONNECTION, connection).body(Body::from(body)).unwrap()
        };
        let kept = |version, connection, body| may_be_kept(&request(version, connection, body));
        assert!(kept(Version::HTTP_11, "keep-alive, TE", ""));
        assert!(!kept(Version::HTTP_11, "te, Close", ""));
        assert!(!kept(Version::HTTP_11, "", "GET / HTTP/1.1"));
        assert!(!kept(Version::HTTP_10, "keep-alive", ""));
    }
}
