//! What pages of other origins may do here (Fetch standard, CORS), and what else an answer tells browsers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem;

/// Answer to the question of a browser whether a page may send a request (CORS preflight). A day, as far as the browser
/// keeps it.
const PREFLIGHT: [(HeaderName, HeaderValue); 5] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, cache-control, last-event-id"),
    ),
    (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    (header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS")),
];

/// Who may read an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cors {
    /// Pages of every origin, without credentials: there is no list.
    Anybody,
    /// Pages of this origin, with credentials; None: no page of another origin.
    Only(Option<HeaderValue>),
}

impl Cors {
    /// For an origin of the list, if the request has one.
    pub(super) fn of(origin: Option<&[u8]>) -> Self {
        Self::Only(origin.and_then(|origin| HeaderValue::from_bytes(origin).ok()))
    }

    /// The headers that say so.
    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let listed = matches!(self, Self::Only(_));
        let (origin, credentials) = match self {
            Self::Anybody => (Some(HeaderValue::from_static("*")), None),
            Self::Only(None) => (None, None),
            Self::Only(origin) => (origin.clone(), Some(HeaderValue::from_static("true"))),
        };
        let vary = listed.then(|| HeaderValue::from_static("Origin"));
        [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
            (header::VARY, vary),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// The same as lines of a head, for answers that no HTTP server writes.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in self.headers() {
            lines.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
        }
        lines
    }

    /// Lets nobody else read an answer that was made for everybody.
    pub(super) fn restrict(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if *self != Self::Anybody && headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_some() {
            headers.extend(self.headers());
        }
        response
    }
}

/// Has browsers take an answer for what it is, and keep none that does not say for how long.
pub(super) fn secure(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let no_store = HeaderValue::from_static("no-store");
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    }
    response
}

/// Route of OPTIONS.
pub(super) async fn preflight() -> Response {
    (StatusCode::NO_CONTENT, PREFLIGHT).into_response()
}

/// Route of other methods.
pub(super) async fn other_method() -> Response {
    let message = "this path is read with GET";
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// Lets pages of other origins read an answer, and when to come back: there is nothing in it that they could not have
/// asked themselves.
pub(super) fn allow(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = HeaderValue::from_static("retry-after");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_pages_of_the_list_alone() {
        let any = "access-control-allow-origin: *\r\n";
        assert_eq!(Cors::Anybody.lines(), any);
        assert_eq!(Cors::of(None).lines(), "vary: Origin\r\n");
        assert_eq!(
            Cors::of(Some(b"https://a.example")).lines(),
            "access-control-allow-origin: https://a.example\r\naccess-control-allow-credentials: true\r\n\
             vary: Origin\r\n"
        );
    }
}
