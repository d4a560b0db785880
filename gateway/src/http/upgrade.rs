//! Upgrade: check the handshake, take a place, answer 101, and hand the raw socket to a shard.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use wsgateway_access::Grant;
use wsgateway_config::Protocol;
use wsgateway_proto::handshake::{self, Refusal};

use super::identity::identify_request;
use super::pending::{Pending, join};
use super::place::{admit, busy, enter};
use super::watched::Watched;
use super::{Site, problem};
use crate::admission::Permit;
use crate::hub::arrivals::Handover;
use crate::source::status::State as SourceState;
use crate::tls::into_link;

/// Route of the WebSocket endpoint, for every method.
pub(super) async fn upgrade(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    mut request: Request,
) -> Response {
    let terms = site.terms.get();
    let checked = handshake::check(
        request.method(),
        request.version(),
        request.headers(),
        &terms.protocols,
        terms.default_protocol,
        terms.compression,
    );
    let accepted = match checked {
        Ok(accepted) => accepted,
        // Browsers tell a page nothing of an upgrade that fails: a plain request is answered as an upgrade would be.
        Err(Refusal::NotUpgrade) if let Some(busy) = busy(&site) => return busy.into_response(),
        // What a page would be told of its token as well.
        Err(Refusal::NotUpgrade)
            if let Err(refusal) =
                identify_request(&site, &terms, request.headers(), request.uri().query()) =>
        {
            return *refusal;
        }
        Err(refusal) => return refuse_handshake(&site, refusal),
    };
    if let Err(busy) = enter(&site, &pending) {
        return busy.into_response();
    }
    let identity = identify_request(&site, &terms, request.headers(), request.uri().query());
    let grant = match identity {
        Ok(grant) => grant,
        Err(refusal) => return *refusal,
    };
    let permit = match admit(&site, &pending, grant.as_ref()) {
        Ok(permit) => permit,
        Err(busy) => return busy.into_response(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let protocol = Protocol::ALL.into_iter().find(|known| known.name() == accepted.protocol);
    let agreed = Agreed { deflate: accepted.deflate, protocol: protocol.unwrap_or_default() };
    tokio::spawn(hand_over(Arc::clone(&site), upgrade, agreed, (permit, grant)));
    let response = HttpResponse::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response =
        accepted.headers().fold(response, |response, (name, value)| response.header(name, value));
    response.body(axum::body::Body::empty()).unwrap_or_else(|error| {
        problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string(), None)
    })
}

fn refuse_handshake(site: &Site, refusal: Refusal) -> Response {
    site.rejections.handshake.inc();
    let mut response = problem(refusal.status(), refusal.code(), &refusal.to_string(), None);
    for (name, value) in refusal.headers() {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    response
}

/// What client and gateway have agreed on.
#[derive(Clone, Copy)]
struct Agreed {
    deflate: bool,
    protocol: Protocol,
}

/// A client's place, and who it is.
type Client = (Permit, Option<Arc<Grant>>);

/// Waits for the 101 to be sent, then gives the socket away. If anything fails the permit's drop gives the place back.
async fn hand_over(site: Arc<Site>, upgrade: OnUpgrade, agreed: Agreed, client: Client) {
    match upgrade.await {
        Ok(upgraded) => match release(upgraded, agreed, client) {
            Ok(handover) => site.hub.adopt(handover),
            Err(error) => tracing::warn!(%error, "cannot hand a socket to its shard"),
        },
        Err(error) => tracing::debug!(%error, "the client left during the upgrade"),
    }
}

fn release(
    upgraded: Upgraded,
    agreed: Agreed,
    (permit, grant): Client,
) -> std::io::Result<Handover> {
    let parts = upgraded
        .downcast::<TokioIo<Watched>>()
        .map_err(|_| std::io::Error::other("the upgraded stream is not the accepted socket"))?;
    let (stream, unread) = parts.io.into_inner().into_inner();
    let (link, decrypted) = into_link(stream)?;
    let Agreed { deflate, protocol } = agreed;
    let leftover = join(join(parts.read_buf, &unread), &decrypted);
    let (response, permit) = (Vec::new(), Some(permit));
    Ok(Handover { response, leftover, deflate, protocol, permit, grant, ..Handover::new(link) })
}

/// Whether the source's state is worth a warning to people.
pub(super) fn source_is_healthy(state: SourceState) -> bool {
    state == SourceState::Live
}
