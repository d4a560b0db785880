//! Identity: who a request is from, by its token, and the answer to those who do not show a good one.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wsgateway_access::{Grant, RefusedToken};
use wsgateway_proto::handshake::{Fields, SeveralTokens, Token, cookie_token, token};

use super::place::Busy;
use super::{Site, Terms, problem};
use crate::disconnects::Banned;

/// Why nobody knows who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It has no token, and needs one.
    Missing,
    /// It has several that differ.
    Several,
    /// It has one in a cookie alone, and is no page that is listed.
    NoOrigin,
    /// Its token is refused.
    Refused(RefusedToken),
    /// There are no keys yet to verify a token with.
    NoKeys,
    /// Its token is good, and its user or that token is kept out.
    Banned(Banned),
}

/// A ban that ends within this is worth waiting for (ms).
const SOON_MS: u64 = 600_000;

/// A token of a request, if it has one.
pub(super) type Shown = Result<Option<Token>, SeveralTokens>;

/// The token of a request, if it has one; `shown` is one that its client did not put into a cookie. Browsers send cookies with
/// the requests of any page, so that one counts for the pages that are listed alone.
fn token_of<F: Fields>(
    terms: &Terms,
    shown: &Shown,
    fields: impl FnOnce() -> Option<F>,
) -> Result<Option<Token>, Stranger> {
    let shown = shown.as_ref().map_err(|_| Stranger::Several)?;
    let cookie = terms.guard.as_ref().and_then(|guard| guard.cookie());
    let Some(name) = cookie.filter(|_| shown.is_none()) else { return Ok(shown.clone()) };
    let Some(fields) = fields() else { return Ok(None) };
    match cookie_token(&fields, name).map_err(|_| Stranger::Several)? {
        Some(_) if !terms.entry.is_of_a_listed_page(&fields) => Err(Stranger::NoOrigin),
        found => Ok(found),
    }
}

/// Who a client is; `None` while nobody is asked. `fields` of its request are read where cookies are.
pub(super) fn identify<F: Fields>(
    terms: &Terms,
    shown: &Shown,
    fields: impl FnOnce() -> Option<F>,
) -> Result<Option<Arc<Grant>>, Stranger> {
    let Some(guard) = &terms.guard else { return Ok(None) };
    let Some(token) = token_of(terms, shown, fields)? else {
        return guard.anonymous().map(Some).ok_or(Stranger::Missing);
    };
    let grant = guard.verify(&token).map_err(|refused| match guard.may_know_later(refused) {
        true => Stranger::NoKeys,
        false => Stranger::Refused(refused),
    })?;
    // After the token: nobody learns who is banned but who it is.
    match guard.ban(&grant) {
        Some(banned) => Err(Stranger::Banned(banned)),
        None => Ok(Some(grant)),
    }
}

/// Who a request is from; or the refusal, which is counted.
pub(super) fn identify_request(
    site: &Site,
    terms: &Terms,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<Arc<Grant>>, Box<Response>> {
    let Some(asking) = &terms.guard else { return Ok(None) };
    identify(terms, &token(headers, query), || Some(headers)).map_err(|stranger| {
        let metrics = &asking.metrics;
        match stranger {
            Stranger::Missing => metrics.missing.inc(),
            Stranger::Several => metrics.several.inc(),
            Stranger::NoOrigin => metrics.no_origin.inc(),
            Stranger::Refused(refused) => metrics.refused(refused),
            Stranger::NoKeys => metrics.no_keys.inc(),
            Stranger::Banned(_) => metrics.banned.inc(),
        }
        match stranger {
            Stranger::Banned(_) => site.rejections.banned.inc(),
            _ => site.rejections.unauthorized.inc(),
        }
        Box::new(stranger.into_response())
    })
}

impl IntoResponse for Stranger {
    fn into_response(self) -> Response {
        let (code, message, challenge) = match self {
            Self::NoKeys => {
                let message = "the gateway has no keys to verify tokens with: try again";
                return Busy::new("not_ready", message).into_response();
            }
            Self::Several => {
                let message = SeveralTokens.to_string();
                return problem(StatusCode::BAD_REQUEST, "several_tokens", &message, None);
            }
            Self::Banned(Banned { left_ms }) => {
                let retry = Some(left_ms).filter(|left| *left <= SOON_MS);
                let message =
                    "this user or this token is banned: do not come back before that ends";
                return problem(StatusCode::FORBIDDEN, "banned", message, retry);
            }
            Self::NoOrigin => {
                let message = "a token in a cookie counts for pages of listener.allowedOrigins alone, and this request names \
                               no origin: show it in Authorization: Bearer";
                return problem(StatusCode::FORBIDDEN, "origin_missing", message, None);
            }
            Self::Missing => {
                let message = "show a token: Authorization: Bearer, ?token=, or bearer.TOKEN in Sec-WebSocket-Protocol";
                ("token_missing", message.to_owned(), "Bearer")
            }
            Self::Refused(refused) => {
                // RFC 6750, 3.1.
                (
                    refused.code(),
                    format!("{refused}: get another one"),
                    "Bearer error=\"invalid_token\"",
                )
            }
        };
        let mut response = problem(StatusCode::UNAUTHORIZED, code, &message, None);
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }
}
