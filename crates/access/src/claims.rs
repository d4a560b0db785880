//! Claims: what a token says, in the types that RFC 7519 gives them.

use serde_json::{Map, Value};
use wsgateway_config::{Jwt, MAX_CLAIM_BYTES, is_pattern};

use crate::refusal::RefusedToken;

/// Most patterns that one token may bring.
pub(crate) const MAX_CLAIMED: usize = 64;

/// Most of them that it may subscribe its holder to: each costs memory from the first moment on, asked for or not.
pub(crate) const MAX_CLAIMED_SET: usize = 32;

/// The claims of a token.
pub(crate) type Claims = Map<String, Value>;

/// When a token ends (Unix ms), the leeway included; `None` for never.
///
/// # Errors
/// When its time is over, has not come, or is too long.
pub(crate) fn end(claims: &Claims, jwt: &Jwt, now_ms: u64) -> Result<Option<u64>, RefusedToken> {
    let leeway = jwt.leeway.0;
    let (exp, nbf, iat) = (time(claims, "exp")?, time(claims, "nbf")?, time(claims, "iat")?);
    let end = exp.map(|exp| exp.saturating_add(leeway));
    if end.is_some_and(|end| end <= now_ms) {
        return Err(RefusedToken::Expired);
    }
    if [nbf, iat].into_iter().flatten().any(|begin| begin > now_ms.saturating_add(leeway)) {
        return Err(RefusedToken::NotYetValid);
    }
    if let Some(longest) = jwt.max_lifetime {
        let lifetime = exp.map(|exp| exp.saturating_sub(iat.unwrap_or(now_ms)));
        if lifetime.is_none_or(|lifetime| lifetime > longest.0) {
            return Err(RefusedToken::LivesTooLong);
        }
    }
    Ok(end)
}

/// Refuses tokens of other issuers and for others.
pub(crate) fn check_parties(claims: &Claims, jwt: &Jwt) -> Result<(), RefusedToken> {
    if let Some(issuer) = &jwt.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(RefusedToken::WrongIssuer);
    }
    let is_one =
        |value: &Value| value.as_str().is_some_and(|one| jwt.audience.iter().any(|us| us == one));
    let is_for_us = match claims.get("aud") {
        _ if jwt.audience.is_empty() => true,
        Some(Value::Array(all)) => all.iter().any(is_one),
        Some(one) => is_one(one),
        None => false,
    };
    if is_for_us { Ok(()) } else { Err(RefusedToken::WrongAudience) }
}

/// A name in a claim: a string, or a whole number as issuers with numbered users write it.
pub(crate) fn name(claims: &Claims, claim: &str) -> Result<Option<Box<str>>, RefusedToken> {
    let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
    let name = text(value).ok_or(RefusedToken::BadClaims)?;
    let is_good =
        !name.is_empty() && name.len() <= MAX_CLAIM_BYTES && !name.contains(char::is_control);
    if is_good { Ok(Some(name)) } else { Err(RefusedToken::BadClaims) }
}

/// The patterns in a claim, a list of them or one alone, valid or not; what is no string is empty.
pub(crate) fn patterns<'a>(claims: &'a Claims, claim: &str) -> Result<Vec<&'a str>, RefusedToken> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(all)) if all.len() <= MAX_CLAIMED => {
            Ok(all.iter().map(|one| one.as_str().unwrap_or_default()).collect())
        }
        Some(_) => Err(RefusedToken::BadClaims),
    }
}

/// The patterns in a claim that subscribes: a holder who misses one of them without a word would not know what it misses.
pub(crate) fn set_patterns<'a>(
    claims: &'a Claims,
    claim: &str,
) -> Result<Vec<&'a str>, RefusedToken> {
    let patterns = patterns(claims, claim).map_err(|_| RefusedToken::BadChannels)?;
    let is_good = patterns.len() <= MAX_CLAIMED_SET && patterns.iter().all(|one| is_pattern(one));
    if is_good { Ok(patterns) } else { Err(RefusedToken::BadChannels) }
}

/// A value as text: a string, or a whole number.
pub(crate) fn text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(number.to_string().into())
        }
        _ => None,
    }
}

/// A NumericDate (RFC 7519, section 2: seconds, may be fractional) in milliseconds.
fn time(claims: &Claims, claim: &str) -> Result<Option<u64>, RefusedToken> {
    let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    // Saturates: a token that ends in a million years ends never.
    seconds.map(|seconds| Some((seconds * 1_000.0) as u64)).ok_or(RefusedToken::BadClaims)
}
