//! A token in words (pure): what it says, whether it is accepted, what is wrong, and what its holder may hear.
//!
//! Whether it is accepted is what the gateway's own verifier says; the words add what the token and the configuration hold.
//! The signature is never in a text.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};
use wsgateway_access::{Keys, MAX_TOKEN_BYTES, RefusedToken, Verifier};
use wsgateway_config::{Algorithm, Jwt};

use super::words::{ago, at, list, printable};

/// What a token is held against.
pub(crate) struct Against<'a> {
    pub(crate) verifier: &'a Verifier,
    /// Names of the keys; `None` if none was given, so that nothing is verified.
    pub(crate) keys: Option<&'a Keys>,
    /// Whether the rules are those of a WsGateway.
    pub(crate) has_rules: bool,
    /// What is asked about.
    pub(crate) channels: &'a [String],
    /// Unix ms.
    pub(crate) now_ms: u64,
}

/// A token in words.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    /// Whether a gateway with these keys and rules accepts it.
    pub(crate) accepted: bool,
    /// The code that clients get instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    /// In words.
    pub(crate) verdict: String,
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    /// By the rules of a WsGateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<Heard>,
    /// What was asked about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) asked: Vec<Answer>,
}

/// What a token's holder may hear, as patterns.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Heard {
    pub(crate) allowed: Vec<String>,
    pub(crate) denied: Vec<String>,
    pub(crate) subscribed: Vec<String>,
    /// Patterns of the token that are none.
    pub(crate) left_out: usize,
}

/// Whether one channel may be heard.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) channel: String,
    pub(crate) allowed: bool,
}

/// Explains a token.
pub(crate) fn explain(token: &str, against: &Against<'_>) -> Explanation {
    let mut told = Explanation::default();
    if token.len() <= MAX_TOKEN_BYTES {
        let mut parts = token.split('.').map(decoded);
        told.header = parts.next().flatten().unwrap_or_default();
        told.claims = parts.next().flatten().unwrap_or_default();
    }
    let now = against.now_ms;
    let Some(keys) = against.keys else {
        told.verdict =
            "not verified: give its keys with --keys or --jwks; anybody can have written this"
                .to_owned();
        return told;
    };
    match against.verifier.verify(token, now) {
        Ok(verified) => {
            told.accepted = true;
            told.verdict = match verified.grant.expires_at_ms {
                None => "accepted, for ever: it does not expire".to_owned(),
                Some(end) => format!("accepted until {}, {}", at(end), ago(end, now)),
            };
            let allows = |channel: &String| Answer {
                channel: channel.clone(),
                allowed: verified.grant.permits.allows(channel),
            };
            told.asked = against.channels.iter().map(allows).collect();
        }
        Err(why) => {
            told.code = Some(why.code());
            let jwt = &against.verifier.auth().jwt;
            told.verdict = format!("refused: {}", reason(why, token, &told, jwt, (keys, now)));
        }
    }
    if against.has_rules
        && let Ok(all) = against.verifier.explain(token, now)
    {
        let (allowed, denied, subscribed) = (all.allowed, all.denied, all.set);
        told.channels = Some(Heard { allowed, denied, subscribed, left_out: all.left_out });
    }
    told
}

/// A part of a token as JSON; `None` if it is none.
fn decoded(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Why it is refused, and what to do.
fn reason(
    why: RefusedToken,
    token: &str,
    told: &Explanation,
    jwt: &Jwt,
    (keys, now): (&Keys, u64),
) -> String {
    let claims = &told.claims;
    match why {
        RefusedToken::Expired => match time(claims, "exp") {
            Some(exp) => {
                format!("it expired {}, at {}: get a new one", ago(exp, now), at(exp))
            }
            None => why.to_string(),
        },
        RefusedToken::NotYetValid => early(claims, now, jwt),
        RefusedToken::LivesTooLong => long(claims, now, jwt),
        RefusedToken::WrongAudience => format!(
            "it is for {} (aud), and has to be for {}",
            said(claims, "aud"),
            list(&jwt.audience, "or")
        ),
        RefusedToken::WrongIssuer => format!(
            "it is of {} (iss), and has to be of {:?}",
            said(claims, "iss"),
            jwt.issuer.as_deref().unwrap_or_default()
        ),
        RefusedToken::UnknownKey => unknown_key(told, keys),
        RefusedToken::WrongAlgorithm => wrong_algorithm(told, jwt),
        RefusedToken::BadSignature => {
            "its signature is wrong: it was signed with another key, or changed or cut off afterwards"
                .to_owned()
        }
        RefusedToken::NoUser => format!("it has no claim {:?} that names its user", jwt.user_claim),
        RefusedToken::Malformed => malformed(token),
        RefusedToken::TooLong => {
            format!("it has {} bytes, and may have {MAX_TOKEN_BYTES}", token.len())
        }
        RefusedToken::BadClaims => {
            "its claims have types that RFC 7519 does not give them: exp, nbf and iat are numbers (seconds since 1970), sub \
             and jti text of at most 255 bytes, a list of channels has at most 64"
                .to_owned()
        }
        RefusedToken::BadChannels => format!(
            "what it subscribes its holder to ({}) is no pattern of channels, or too many are",
            jwt.set_channels_claim.as_deref().unwrap_or("by rules")
        ),
    }
}

fn early(claims: &Map<String, Value>, now: u64, jwt: &Jwt) -> String {
    let leeway = jwt.leeway.0;
    let is_early = |time: &u64| *time > now.saturating_add(leeway);
    if let Some(nbf) = time(claims, "nbf").filter(is_early) {
        return format!("it begins {} (nbf), at {}", ago(nbf, now), at(nbf));
    }
    let iat = time(claims, "iat").unwrap_or_default();
    format!(
        "it was issued {} (iat), at {}: the issuer's clock or this one is wrong",
        ago(iat, now),
        at(iat)
    )
}

fn long(claims: &Map<String, Value>, now: u64, jwt: &Jwt) -> String {
    let most = super::words::span(jwt.max_lifetime.unwrap_or_default().0);
    match time(claims, "exp") {
        None => format!("it never expires, and may live for {most}: give it exp"),
        Some(exp) => {
            let lives = exp.saturating_sub(time(claims, "iat").unwrap_or(now));
            let lives = super::words::span(lives);
            format!("it lives for {lives}, from iat to exp, and may live for {most}")
        }
    }
}

fn unknown_key(told: &Explanation, keys: &Keys) -> String {
    let known: Vec<String> =
        keys.ids().flatten().map(|id| format!("{:?}", printable(id))).collect();
    let has = match known.as_slice() {
        [] => "the keys here have no names".to_owned(),
        [one] => format!("the key here is {one}"),
        all => format!("the keys here are {}", all.join(", ")),
    };
    match told.header.get("kid") {
        None => format!("it names no key (kid), and {has}"),
        Some(kid) => format!(
            "it names the key {} (kid), and {has}: is it of another issuer, or was the key removed?",
            printable(&kid.to_string())
        ),
    }
}

fn wrong_algorithm(told: &Explanation, jwt: &Jwt) -> String {
    let alg = told.header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if alg.eq_ignore_ascii_case("none") {
        return "it is not signed at all (alg none), which is never accepted".to_owned();
    }
    let accepted: Vec<String> = jwt.algorithms.iter().map(|one| format!("{one:?}")).collect();
    if accepted.iter().any(|one| one == alg) {
        return format!("it is signed with {alg}, which its key is not for");
    }
    let alg = printable(alg);
    if accepted.len() == Algorithm::ALL.len() {
        return format!("it is signed with {alg:?}, which gateways do not know");
    }
    format!("it is signed with {alg:?}, and {} is accepted", list(&accepted, "or"))
}

fn malformed(token: &str) -> String {
    match token.split('.').count() {
        5 => "it is encrypted (five parts), and gateways read signed ones (three parts)".to_owned(),
        3 => "its three parts are not the base64url, without =, of JSON that a signed JWT has"
            .to_owned(),
        parts => format!("a signed JWT has three parts with dots between, this has {parts}"),
    }
}

/// A claim as JSON.
fn said(claims: &Map<String, Value>, claim: &str) -> String {
    claims.get(claim).map_or_else(|| "nobody".to_owned(), |value| printable(&value.to_string()))
}

/// A time of a token (seconds), in Unix ms.
fn time(claims: &Map<String, Value>, claim: &str) -> Option<u64> {
    let seconds = claims.get(claim)?.as_f64().filter(|seconds| *seconds >= 0.0)?;
    // Saturates.
    Some((seconds * 1_000.0) as u64)
}

impl Explanation {
    /// Whether everything that was asked is answered with yes.
    pub(crate) fn is_good(&self) -> bool {
        self.accepted && self.asked.iter().all(|answer| answer.allowed)
    }

    /// The page for people.
    pub(crate) fn page(&self, now_ms: u64) -> String {
        let mut lines = vec![self.verdict.clone()];
        for (name, value) in &self.header {
            lines.push(row("header", name, &printable(&value.to_string())));
        }
        for (name, value) in &self.claims {
            let value = match time(&self.claims, name) {
                Some(ms) if ["exp", "nbf", "iat"].contains(&name.as_str()) => {
                    format!("{value}, {}, {}", at(ms), ago(ms, now_ms))
                }
                _ => printable(&value.to_string()),
            };
            lines.push(row("claim", name, &value));
        }
        if let Some(heard) = &self.channels {
            lines.extend(heard.lines());
        }
        for Answer { channel, allowed } in &self.asked {
            let answer = if *allowed { "may be heard" } else { "NOT allowed" };
            lines.push(row("channel", channel, answer));
        }
        lines.join("\n") + "\n"
    }
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        let or_nothing = |all: &[String]| match all {
            [] => "nothing".to_owned(),
            all => printable(&all.join(", ")),
        };
        let mut lines = vec![row("hears", "", &or_nothing(&self.allowed))];
        if !self.denied.is_empty() {
            lines.push(row("but not", "", &or_nothing(&self.denied)));
        }
        if !self.subscribed.is_empty() {
            lines.push(row("unasked", "", &or_nothing(&self.subscribed)));
        }
        if self.left_out > 0 {
            let text = format!("{} patterns of the token that are none", self.left_out);
            lines.push(row("ignored", "", &text));
        }
        lines
    }
}

fn row(kind: &str, name: &str, value: &str) -> String {
    format!("  {kind:<8} {:<12} {value}", printable(name)).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
