//! `GET /poll`: one answer per request, for clients that can do nothing else.
//!
//! With a cursor: what has come after it, at once if there is anything, else as soon as something comes or the wait is
//! over. Without: the cursor of this moment, to begin with, and the last values if they are asked for. The request is an
//! HTTP server's; a shard takes the socket over, waits, writes the answer and gives the socket back for the next request.

use std::io;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, Request, State};
use axum::http::{Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::runtime::Handle;

use super::accept::{Remainder, take_back};
use super::pending::{Pending, Released, Return, Takeover};
use super::place::{Busy, admit_fallback};
use super::query::{Query, SubscribeRequest};
use super::{Site, problem};
use crate::admission::{Admission, Permit};
use crate::conn::Transport;
use crate::conn::poll::answer::{Broken, Terms};
use crate::conn::poll::{self, HEADERS, Origin, Outcome};
use crate::hub::arrivals::Handover;

/// Wait of a client that names none, and the longest (s): below the timeouts of common proxies.
const WAIT: u64 = 25;
const MOST_WAIT: u64 = 55;

/// Bytes of further requests that wait in memory for an answer: a usual head. With more the connection ends with the
/// answer, and its client sends them again, as it must expect of requests that it does not wait for (RFC 9112, 9.3.2).
const MOST_BEFORE: usize = 4 << 10;

/// Route of the long-poll.
pub(super) async fn poll(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
    request: Request,
) -> Response {
    let checked = Query::read(query).and_then(|query| {
        let wait = Duration::from_secs(query.wait.unwrap_or(WAIT).min(MOST_WAIT));
        Ok((query.check(None, site.command_bytes)?, wait))
    });
    let (subscribe, wait) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    if request.method() == Method::HEAD {
        return HEADERS.into_response();
    }
    let permit = match admit_fallback(&site) {
        Ok(permit) => permit,
        Err(busy) => return busy.into_response(),
    };
    let waiting = Waiting {
        terms: Terms { begins: subscribe.cursor.is_none(), values: subscribe.snapshot, wait },
        subscribe,
        permit,
        chunked: request.version() >= Version::HTTP_11,
        keep: may_be_kept(&request),
        back: pending.way_back(),
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
    chunked: bool,
    keep: bool,
    back: Return,
}

impl Waiting {
    /// Hands the socket to a shard, with what the client asks for.
    fn hand_over(self, site: &Site, released: Released) -> io::Result<()> {
        let keep = self.keep && released.before.len() <= MOST_BEFORE;
        let origin = HttpConnection {
            back: self.back,
            admission: site.admission.clone(),
            runtime: Handle::current(),
            keep,
            // A copy, so that the HTTP server's buffer is not held.
            before: Bytes::copy_from_slice(if keep { &released.before } else { &[] }),
            routes: released.routes,
        };
        let (terms, chunked, origin) = (self.terms, self.chunked, Box::new(origin));
        site.hub.adopt(Handover {
            commands: vec![self.subscribe.command()],
            transport: Transport::Poll,
            poll: Some(poll::Request { terms, chunked, origin }),
            permit: Some(self.permit),
            ..Handover::new(released.stream.into_std()?)
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
    routes: axum::Router,
}

impl std::fmt::Debug for HttpConnection {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("HttpConnection")
    }
}

impl Origin for HttpConnection {
    fn keeps(&self) -> bool {
        self.keep && self.back.has_room() && !self.admission.is_closed()
    }

    fn take_back(self: Box<Self>, stream: StdStream, outcome: Outcome) {
        let Self { back, runtime, before, routes, .. } = *self;
        let pending = back.enter();
        let remainder = match outcome {
            Outcome::Answered { rest, keep } => Remainder::Bytes { rest, keep },
            Outcome::Refused(broken) => Remainder::Response(refuse(broken)),
        };
        drop(runtime.spawn(take_back((stream, before), remainder, routes, pending)));
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
