//! Claims, key sets and Secrets from flags (pure but for random names).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Map, Value, json};
use wsgateway_config::yaml;
use wsgateway_crds::SECRET_ALLOW;

use super::key::KeyError;
use crate::cli::{NewArgs, NewKey, SecretArgs};
use crate::error::Error;

/// A name that no other key or token has.
pub(super) fn random_name() -> Result<String, KeyError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Crypto)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The claims of a new token.
pub(super) fn claims(options: &NewArgs, now_ms: u64, random: String) -> Map<String, Value> {
    let now = now_ms / 1_000;
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("sub", json!(options.sub));
    set("iat", json!(now));
    if !options.never_expires {
        set("exp", json!(now.saturating_add(options.expires.as_secs())));
    }
    if let Some(wait) = options.not_before {
        set("nbf", json!(now.saturating_add(wait.as_secs())));
    }
    if let Some(issuer) = &options.issuer {
        set("iss", json!(issuer));
    }
    match options.audience.as_slice() {
        [] => None,
        [one] => set("aud", json!(one)),
        all => set("aud", json!(all)),
    };
    set("jti", json!(options.id.as_ref().unwrap_or(&random)));
    if !options.channels.is_empty() {
        set(&options.channels_claim, json!(options.channels));
    }
    for (name, value) in options.claims.iter().chain(&options.json_claims) {
        set(name, value.clone());
    }
    claims
}

/// A JWKS as text.
pub(super) fn jwks(keys: &[Jwk]) -> Result<String, Error> {
    let set = JwkSet { keys: keys.to_vec() };
    let text = serde_json::to_string_pretty(&set).map_err(|error| Error::Write(error.into()))?;
    Ok(text + "\n")
}

/// A Secret that a WsGateway may name, as a manifest.
pub(super) fn secret(options: &SecretArgs, jwks: &str) -> Result<String, Error> {
    let mut metadata = json!({ "name": options.name, "labels": { SECRET_ALLOW: "true" } });
    if let (Some(namespace), Some(metadata)) = (&options.namespace, metadata.as_object_mut()) {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": { &options.secret_key: STANDARD.encode(jwks) },
    });
    Ok(yaml::to_string(&secret)?)
}

/// What was made, and what to do with it.
pub(super) fn next_steps(kind: NewKey, kid: &str, file: &str) -> String {
    let (what, flag) = match kind {
        NewKey::Hs256 | NewKey::Hs384 | NewKey::Hs512 => ("secret", " --with-secrets"),
        NewKey::EdDsa | NewKey::Es256 | NewKey::Es384 | NewKey::Rs256 | NewKey::Ps256 => {
            ("key pair", "")
        }
    };
    format!(
        "{file}: a new {what}, named {kid}. Whoever can read it can make tokens.\n\
         for a WsGateway: wsgw token secret --key {file} --name NAME{flag} | kubectl apply -f -\n\
         a token:         wsgw token new --key {file} --sub USER\n"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, TokenCommand};

    fn options(flags: &[&str]) -> NewArgs {
        let words = ["wsgw", "token", "new", "--key", "k", "--sub", "ann"].iter().chain(flags);
        let Command::Token(token) = Cli::try_parse_from(words).unwrap().command else {
            unreachable!("the words name it")
        };
        let TokenCommand::New(options) = token.command else { unreachable!("the words name it") };
        *options
    }

    #[test]
    fn flags_become_claims_of_the_types_that_rfc_7519_gives_them() {
        let flags = [
            "--channels",
            "a.*",
            "--channels",
            "b",
            "--claim",
            "level=3",
            "--claim-json",
            "rank=3",
            "--audience",
            "odin",
            "--issuer",
            "me",
            "--expires",
            "5m",
            "--id",
            "t1",
        ];
        let made = claims(&options(&flags), 1_700_000_000_999, String::new());
        let want = json!({
            "sub": "ann", "iat": 1_700_000_000, "exp": 1_700_000_300, "aud": "odin", "iss": "me",
            "jti": "t1", "channels": ["a.*", "b"], "level": "3", "rank": 3,
        });
        assert_eq!(Value::Object(made), want);
        let forever = claims(&options(&["--never-expires"]), 0, "r".into());
        assert_eq!(Value::Object(forever), json!({ "sub": "ann", "iat": 0, "jti": "r" }));
    }

    #[test]
    fn a_claim_with_a_flag_of_its_own_is_set_by_no_other() {
        for claim in ["exp=1", "sub=eve", "iat=1", "=x", "none"] {
            let words = ["wsgw", "token", "new", "--key", "k", "--sub", "ann", "--claim", claim];
            assert!(Cli::try_parse_from(words).is_err(), "{claim}");
        }
    }
}
