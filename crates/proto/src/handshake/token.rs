//! The token of a request: where clients put it.
//!
//! `Authorization: Bearer`, an entry `bearer.<token>` of `Sec-WebSocket-Protocol` (browsers can send no other header), or
//! `?token=` / `?auth=`; or a cookie, which browsers send of themselves, so that it counts under conditions of the gateway's.
//! The token is not looked at here, and is never part of an answer.

use thiserror::Error;

use super::{Fields, TOKEN_PREFIX, entries, text};

/// What a client shows to say who it is. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Token")
    }
}

impl Token {
    /// A token from elsewhere than the head of a request.
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }

    /// The token as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request with different tokens: which one counts must not depend on who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("send one token: this request has several that differ")]
pub struct SeveralTokens;

/// The token of a request, if it has one. `query` is what follows the question mark.
///
/// # Errors
/// When there are several that differ.
pub fn token(headers: &impl Fields, query: Option<&str>) -> Result<Option<Token>, SeveralTokens> {
    let bearers = headers.lines("authorization").filter_map(text).filter_map(bearer);
    let protocols = entries(headers, "sec-websocket-protocol")
        .filter_map(|entry| entry.strip_prefix(TOKEN_PREFIX));
    one(bearers.chain(protocols).chain(parameters(query.unwrap_or_default())))
}

/// The token in a cookie of that name (RFC 6265, 4.2), if the request has one. Lines and cookies are as many as the head has
/// room for.
///
/// # Errors
/// When there are several of that name that differ: of a page of a sibling domain, for example, and nobody knows which.
pub fn cookie_token(headers: &impl Fields, name: &str) -> Result<Option<Token>, SeveralTokens> {
    let cookies = headers.lines("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    one(cookies.filter_map(|cookie| {
        let cookie = cookie.trim_ascii();
        let value = cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        // What is no text is no token.
        text(quoted.unwrap_or(value))
    }))
}

/// The only one of some tokens.
fn one<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<Option<Token>, SeveralTokens> {
    let mut found: Option<&str> = None;
    for token in tokens {
        match found {
            _ if token.is_empty() => {}
            Some(before) if before != token => return Err(SeveralTokens),
            _ => found = Some(token),
        }
    }
    Ok(found.map(|token| Token(token.into())))
}

/// The token of `Authorization`, if its scheme is that of tokens (RFC 6750); others are of proxies on the way.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tokens of a query. None has a character that would be written otherwise in a URL.
fn parameters(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| matches!(*name, "token" | "auth")).map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_token_is_found_wherever_clients_put_it_and_once() {
        let (auth, ws) = ("authorization", "sec-websocket-protocol");
        for (lines, query, want) in [
            (&[][..], None, Ok(None)),
            (&[(auth, "Bearer a.b.c")][..], None, Ok(Some("a.b.c"))),
            (&[(auth, "bearer  a ")][..], None, Ok(Some("a"))),
            (&[(auth, "Basic YTpi")][..], None, Ok(None)),
            (&[(auth, "Bearer")][..], None, Ok(None)),
            (&[(ws, "wsgateway.v1, bearer.a.b.c")][..], None, Ok(Some("a.b.c"))),
            (&[(ws, "bearer.")][..], None, Ok(None)),
            (&[][..], Some("x=1&token=a&token="), Ok(Some("a"))),
            (&[][..], Some("auth=a"), Ok(Some("a"))),
            (&[][..], Some("tokens=a&xauth=b&token"), Ok(None)),
            (&[(auth, "Bearer a"), (ws, "bearer.a")][..], Some("token=a&auth=a"), Ok(Some("a"))),
            (&[(auth, "Bearer a"), (auth, "Bearer b")][..], None, Err(SeveralTokens)),
            (&[(auth, "Bearer a")][..], Some("token=b"), Err(SeveralTokens)),
            (&[(ws, "bearer.a,bearer.b")][..], None, Err(SeveralTokens)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                let name = HeaderName::from_static(name);
                headers.append(name, HeaderValue::from_static(value));
            }
            let found = token(&headers, query);
            let found = found.as_ref().map(|token| token.as_ref().map(Token::as_str));
            assert_eq!(found, want.as_ref().copied(), "{lines:?} {query:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_several_may_not_differ() {
        for (lines, want) in [
            (&[][..], Ok(None)),
            (&["jwt=a.b.c"][..], Ok(Some("a.b.c"))),
            (&["x=1; jwt=a.b.c ;y=2"][..], Ok(Some("a.b.c"))),
            (&["x=1", "jwt=\"a\""][..], Ok(Some("a"))),
            (&["jwt=a; jwt=a", "jwt="][..], Ok(Some("a"))),
            (&["xjwt=a; jwtx=b; JWT=c; jwt; =jwt=d; x=jwt=e"][..], Ok(None)),
            (&["x=\u{fc}; jwt=a"][..], Ok(Some("a"))),
            (&["jwt=\u{fc}"][..], Ok(None)),
            (&["jwt=a;jwt=b"][..], Err(SeveralTokens)),
            (&["jwt=a", "jwt=b"][..], Err(SeveralTokens)),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("cookie", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let found = cookie_token(&headers, "jwt");
            let found = found.as_ref().map(|token| token.as_ref().map(Token::as_str));
            assert_eq!(found, want.as_ref().copied(), "{lines:?}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself() {
        let shown = format!("{:?}", token(&HeaderMap::new(), Some("token=sesame")));
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
