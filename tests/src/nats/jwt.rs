//! A NATS operator: accounts and users as JWTs, signed by one another, for a server in operator mode.
//!
//! Source of the format: <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt>. A JWT
//! is header, claims and signature, each in unpadded URL-safe base64; the signature is that of the issuer's nkey.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with a system account and one account that may do everything, JetStream included.
#[derive(Debug)]
pub struct NatsOperator {
    operator: Keys,
    system: Keys,
    account: Keys,
}

/// `KeyPair` shows too much, or nothing, in `Debug`.
struct Keys(KeyPair);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.public_key())
    }
}

impl Default for NatsOperator {
    fn default() -> Self {
        Self::new()
    }
}

impl NatsOperator {
    /// New keys for all.
    #[must_use]
    pub fn new() -> Self {
        Self {
            operator: Keys(KeyPair::new_operator()),
            system: Keys(KeyPair::new_account()),
            account: Keys(KeyPair::new_account()),
        }
    }

    /// What makes a nats-server one of this operator.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn server_config(&self) -> Result<String> {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1,
        });
        let mut with_streams = limits.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            with_streams[limit] = json!(-1);
        }
        let operator = &self.operator.0;
        let own = json!({ "type": "operator", "version": 2 });
        let account = |limits: &Value| json!({ "type": "account", "version": 2, "limits": limits });
        let system = sign("SYS", &self.system.0, operator, &account(&limits), None)?;
        let streams = sign("A", &self.account.0, operator, &account(&with_streams), None)?;
        Ok(format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n  {}: {system}\n  {}: {streams}\n}}",
            sign("O", operator, operator, &own, None)?,
            self.system.0.public_key(),
            self.system.0.public_key(),
            self.account.0.public_key(),
        ))
    }

    /// A `.creds` file of a new user, which expires after so many seconds from now, before now if negative.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn creds(&self, expires_in: Option<i64>) -> Result<String> {
        creds(&KeyPair::new_user(), &self.account.0, expires_in)
    }

    /// The public key of a new user, by which the server names it, and its `.creds` file.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn user(&self) -> Result<(String, String)> {
        let user = KeyPair::new_user();
        Ok((user.public_key(), creds(&user, &self.account.0, None)?))
    }

    /// A `.creds` file that is like the others, but of an account that no server knows.
    ///
    /// # Errors
    /// When a key cannot sign.
    pub fn foreign_creds(&self) -> Result<String> {
        creds(&KeyPair::new_user(), &KeyPair::new_account(), None)
    }
}

fn creds(user: &KeyPair, account: &KeyPair, expires_in: Option<i64>) -> Result<String> {
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} });
    let expiry = expires_in.map(|seconds| now().saturating_add(seconds));
    let jwt = sign("U", user, account, &claims, expiry)?;
    Ok(format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed()?
    ))
}

fn sign(
    name: &str,
    subject: &KeyPair,
    issuer: &KeyPair,
    nats: &Value,
    expiry: Option<i64>,
) -> Result<String> {
    let mut claims = json!({
        "jti": "a-test", "iat": now(), "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats,
    });
    if let Some(expiry) = expiry {
        claims["exp"] = json!(expiry);
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text =
        format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
