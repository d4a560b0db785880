//! Token: a JWT in its compact form (RFC 7519, RFC 7515), taken apart and its signature verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use wsgateway_config::{Algorithm, MAX_CLAIM_BYTES};

use crate::keys::Keys;
use crate::refusal::RefusedToken;

/// Longest token that is looked at (bytes): the head of a request with it has to fit into the gateway's buffer.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// What a token says of itself (RFC 7515, 4.1). Keys that it brings along (`jwk`, `jku`, `x5u`) are not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that must be understood: none is.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

/// The claims of a token whose signature is right.
pub(crate) fn verified_claims(
    token: &str,
    keys: &Keys,
    accepted: &[Algorithm],
) -> Result<Map<String, Value>, RefusedToken> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(RefusedToken::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(RefusedToken::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(RefusedToken::Malformed)?;
    if claims.contains('.') || signature.is_empty() {
        // Five parts are an encrypted token.
        return Err(RefusedToken::Malformed);
    }
    let header: Header = decoded(header)?;
    let is_bad_name = |id: &String| id.len() > MAX_CLAIM_BYTES;
    if header.crit.is_some() || header.kid.as_ref().is_some_and(is_bad_name) {
        return Err(RefusedToken::Malformed);
    }
    let named = Algorithm::ALL.into_iter().find(|known| name(*known) == header.alg);
    let algorithm =
        named.filter(|named| accepted.contains(named)).ok_or(RefusedToken::WrongAlgorithm)?;
    let mut candidates = keys.candidates(header.kid.as_deref()).peekable();
    if candidates.peek().is_none() {
        return Err(RefusedToken::UnknownKey);
    }
    let mut fitting = candidates.filter(|key| key.fits(algorithm)).peekable();
    if fitting.peek().is_none() {
        return Err(RefusedToken::WrongAlgorithm);
    }
    if !fitting.any(|key| key.verifies(message, signature, algorithm)) {
        return Err(RefusedToken::BadSignature);
    }
    decoded(claims)
}

/// JSON in base64url, without padding.
fn decoded<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, RefusedToken> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| RefusedToken::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| RefusedToken::Malformed)
}

/// As RFC 7518 and RFC 8037 write it.
fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 => "HS256",
        Algorithm::HS384 => "HS384",
        Algorithm::HS512 => "HS512",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
    }
}
