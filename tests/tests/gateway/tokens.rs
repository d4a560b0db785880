//! Tokens of an issuer of the test's own, and gateways that verify them.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use harness::MountedSecret;
use jsonwebtoken::{Algorithm as Signature, EncodingKey, Header, encode};
use serde_json::{Value, json};
use wsgateway_config::{Algorithm, Anonymous, Auth, ChannelRule, Jwt, KeyFile, Millis};

/// The issuer's secret. Nothing that a gateway writes may hold it.
pub(super) const SECRET: &str = "sesame-sesame-sesame-sesame-0123";

/// An issuer, with its secret as a file of a Secret.
pub(super) struct Issuer {
    pub secret: MountedSecret,
}

impl Issuer {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { secret: MountedSecret::new(&[("key", SECRET)])? })
    }

    /// Configuration that verifies its tokens, without leeway.
    pub(super) fn auth(&self) -> Auth {
        let key = KeyFile { file: self.secret.path("key"), id: None };
        let jwt = Jwt { leeway: Millis(0), ..Jwt::new(vec![key], vec![Algorithm::HS256]) };
        Auth { jwt, anonymous: None, channels: Vec::new() }
    }
}

/// A rule that allows.
pub(super) fn allow(template: &str) -> ChannelRule {
    ChannelRule { r#match: template.to_owned(), ..ChannelRule::default() }
}

/// What those without a token may hear.
pub(super) fn anonymous(channels: &[&str]) -> Option<Anonymous> {
    Some(Anonymous { channels: channels.iter().map(|one| (*one).to_owned()).collect() })
}

/// Seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A token of a user for an hour, with more claims.
pub(super) fn token(user: &str, more: &Value) -> String {
    signed_with(SECRET, user, more)
}

/// The same of an issuer with another secret.
pub(super) fn signed_with(secret: &str, user: &str, more: &Value) -> String {
    let mut claims = json!({ "sub": user, "exp": now_s() + 3_600 });
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        claims.extend(more.clone());
    }
    let key = EncodingKey::from_secret(secret.as_bytes()).expect("a secret");
    encode(&Header::new(Signature::HS256), &claims, &key).expect("claims are JSON")
}
