//! Rules of what the NATS servers ask for.

use super::errors::Errors;
use super::names::is_object_name;
use crate::spec::{Credentials, Nats, NatsTls};
use crate::{SecretKey, ValidCredentials, ValidTls};

const CREDENTIALS: &str = "spec.nats.credentials";
/// Key of a `.creds` file, unless the manifest names another.
const CREDS_KEY: &str = "nats.creds";

pub(super) fn credentials(nats: &Nats, errors: &mut Errors) -> Option<ValidCredentials> {
    let credentials = nats.credentials.as_ref()?;
    errors.ensure(
        credentials.key.is_none() || credentials.name.is_some(),
        &format!("{CREDENTIALS}.key"),
        "is a key of the Secret in spec.nats.credentials.name: set that, too",
    );
    let valid = match credentials {
        Credentials { name: Some(name), key, nkey: None, token: None, user_password: None } => {
            let key = key.as_deref().unwrap_or(CREDS_KEY);
            Some(ValidCredentials::Creds(secret_key(CREDENTIALS, name, ("key", key), errors)))
        }
        Credentials { name: None, nkey: Some(nkey), token: None, user_password: None, .. } => {
            let path = format!("{CREDENTIALS}.nkey");
            let key = ("key", nkey.key.as_str());
            Some(ValidCredentials::Nkey(secret_key(&path, &nkey.name, key, errors)))
        }
        Credentials { name: None, nkey: None, token: Some(token), user_password: None, .. } => {
            let path = format!("{CREDENTIALS}.token");
            let key = ("key", token.key.as_str());
            Some(ValidCredentials::Token(secret_key(&path, &token.name, key, errors)))
        }
        Credentials { name: None, nkey: None, token: None, user_password: Some(pair), .. } => {
            let path = format!("{CREDENTIALS}.userPassword");
            let (user, password) = (pair.user_key.as_str(), pair.password_key.as_str());
            Some(ValidCredentials::Password {
                user: secret_key(&path, &pair.name, ("userKey", user), errors),
                password: secret_key(&path, &pair.name, ("passwordKey", password), errors),
            })
        }
        _ => None,
    };
    errors.ensure(
        valid.is_some(),
        CREDENTIALS,
        "needs exactly one of name (with a .creds file), nkey, token and userPassword: drop the others, or \
         credentials as a whole for servers that ask for nothing",
    );
    valid
}

pub(super) fn tls(nats: &Nats, errors: &mut Errors) -> Option<ValidTls> {
    let NatsTls { ca_secret, client_secret, handshake_first } = nats.tls.as_ref()?;
    Some(ValidTls {
        handshake_first: *handshake_first,
        ca: ca_secret.as_ref().map(|secret| {
            let key = ("key", secret.key.as_str());
            secret_key("spec.nats.tls.caSecret", &secret.name, key, errors)
        }),
        client: client_secret.as_ref().map(|secret| {
            const PATH: &str = "spec.nats.tls.clientSecret";
            (
                secret_key(PATH, &secret.name, ("", "tls.crt"), errors),
                secret_key(PATH, &secret.name, ("", "tls.key"), errors),
            )
        }),
    })
}

/// What the subjects of JetStream's API begin with.
pub(super) fn api_prefix(nats: &Nats, errors: &mut Errors) -> Option<String> {
    errors.ensure(
        nats.domain.is_none() || nats.api_prefix.is_none(),
        "spec.nats.domain",
        "says the same as apiPrefix in another way: drop one of them",
    );
    if let Some(domain) = &nats.domain {
        let character = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        errors.ensure(
            (1..=64).contains(&domain.len()) && domain.chars().all(character),
            "spec.nats.domain",
            "must be letters, digits, - and _, such as hub",
        );
    }
    if let Some(prefix) = &nats.api_prefix {
        check_prefix("apiPrefix", prefix, errors);
    }
    nats.given_api_prefix()
}

/// What the subjects of answers begin with.
pub(super) fn inbox_prefix(nats: &Nats, errors: &mut Errors) -> Option<String> {
    if let Some(prefix) = &nats.inbox_prefix {
        check_prefix("inboxPrefix", prefix, errors);
    }
    nats.inbox_prefix.clone()
}

fn check_prefix(field: &str, prefix: &str, errors: &mut Errors) {
    let character = |c: char| c.is_ascii_alphanumeric() || "-_$".contains(c);
    let token_ok = |token: &str| !token.is_empty() && token.chars().all(character);
    errors.ensure(
        prefix.len() <= 128 && prefix.split('.').all(token_ok),
        &format!("spec.nats.{field}"),
        "must be letters, digits, - _ and $ between dots, without a dot at the end, such as $JS.hub.API or _INBOX_odin",
    );
}

pub(super) fn secret_key(
    path: &str,
    name: &str,
    (field, key): (&str, &str),
    errors: &mut Errors,
) -> SecretKey {
    errors.ensure(
        is_object_name(name),
        &format!("{path}.name"),
        "must be the name of a Secret in this namespace, such as odin-nats",
    );
    let key_character = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    errors.ensure(
        (1..=253).contains(&key.len())
            && key.chars().all(key_character)
            && key != "."
            && !key.starts_with(".."),
        &format!("{path}.{field}"),
        "must be a key of that Secret: letters, digits, - . and _",
    );
    SecretKey { name: name.to_owned(), key: key.to_owned() }
}
