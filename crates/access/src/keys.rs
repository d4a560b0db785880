//! Keys: what tokens are verified with, read from the text of a file or of an answer.
//!
//! What a text is depends on the text alone, never on a token: PEM and JSON are public keys or fail; only what is neither is
//! a secret. So no public key ever serves as a secret, which is how algorithm confusion works.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm as Signature, AlgorithmFamily, DecodingKey};
use serde_json::Value;
use thiserror::Error;
use wsgateway_config::{Algorithm, MAX_CLAIM_BYTES};

/// Most keys of one text: two for each of many tenants.
const MAX_KEYS: usize = 64;

/// Most keys that a token without a name for its key is tried with.
const MAX_TRIES: usize = 16;

/// Least bytes of a secret (RFC 7518, 3.2: as many as the hash of HS256 has). Fewer can be guessed offline.
const LEAST_SECRET: usize = 32;

/// Bytes of points on the two curves, uncompressed (SEC 1, 2.3.3).
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

/// Bytes of an Ed25519 key (RFC 8032).
const ED25519_KEY: usize = 32;

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of a Secret.
    File,
    /// An address that others can read, too: what is there is no secret.
    Url,
}

/// Why there is no key in a text. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// PEM that cannot be read.
    #[error("it is PEM without exactly one public key (RSA, P-256, P-384 or Ed25519)")]
    Pem,
    /// Not the JSON of keys.
    #[error("it is neither a JWK nor a JWKS (RFC 7517)")]
    Json,
    /// Keys that are all of other kinds, or for other uses.
    #[error("none of its keys verifies signatures of a supported kind")]
    NoUsableKey,
    /// More than [`MAX_KEYS`].
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// A secret that can be guessed.
    #[error("a secret has at least {LEAST_SECRET} bytes")]
    ShortSecret,
    /// What looks like a key of another format.
    #[error("it is a key in a format that is not supported: use PEM or JWK")]
    Format,
}

/// What a key can verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    fn fits(self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match algorithm {
            HS256 | HS384 | HS512 => self == Self::Hmac,
            RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => self == Self::Rsa,
            ES256 => self == Self::P256,
            ES384 => self == Self::P384,
            EdDSA => self == Self::Ed25519,
        }
    }

    /// What a key is, by its own bytes; `None` for what is not supported.
    fn of(key: &DecodingKey) -> Option<Self> {
        let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        match (key.family(), bytes) {
            (AlgorithmFamily::Hmac, LEAST_SECRET..) => Some(Self::Hmac),
            (AlgorithmFamily::Rsa, _) => Some(Self::Rsa),
            (AlgorithmFamily::Ec, P256_POINT) => Some(Self::P256),
            (AlgorithmFamily::Ec, P384_POINT) => Some(Self::P384),
            (AlgorithmFamily::Ed, ED25519_KEY) => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// One key. It shows nothing of itself.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<Box<str>>,
    kind: Kind,
    /// The one algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Key")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// Whether the key can verify such signatures.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether it has made a signature. `signature` is base64url.
    pub(crate) fn verifies(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        let known = signature_of(algorithm);
        // Whatever cannot be read is no signature.
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, known)
            .unwrap_or(false)
    }
}

/// Keys of one or several texts.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
}

impl Keys {
    /// The keys in a text. `id`: the name of its key, instead of its own.
    ///
    /// # Errors
    /// [`KeyError`], when there is none that can be used.
    pub fn read(text: &[u8], id: Option<&str>, origin: Origin) -> Result<Self, KeyError> {
        let trimmed = text.trim_ascii();
        let mut keys = match trimmed {
            [] => return Err(KeyError::Empty),
            [b'{', ..] => read_json(trimmed, origin)?,
            _ if origin == Origin::Url => return Err(KeyError::Json),
            _ if holds(trimmed, b"-----BEGIN") => vec![read_pem(trimmed)?],
            _ => vec![read_secret(text)?],
        };
        if let (Some(id), [key]) = (id, keys.as_mut_slice()) {
            key.id = Some(id.into());
        }
        Ok(Self { keys })
    }

    /// Adds the keys of another text.
    pub fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The names of all of them; `None` for a key without one.
    pub fn ids(&self) -> impl Iterator<Item = Option<&str>> {
        self.keys.iter().map(|key| key.id.as_deref())
    }

    /// The keys that a token's may be: those of its name, else those without one.
    pub(crate) fn candidates(&self, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let named = id.filter(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        self.keys.iter().filter(move |key| key.id.as_deref() == named).take(MAX_TRIES)
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A secret is used as it is, but for a line break at its end, which editors add.
fn read_secret(text: &[u8]) -> Result<Key, KeyError> {
    // Keys without the lines of PEM, and DER: known to everybody, so not to be taken for secrets.
    let is_key =
        text.starts_with(b"MII") || text.starts_with(b"ssh-") || text.starts_with(&[0x30, 0x82]);
    if is_key {
        return Err(KeyError::Format);
    }
    let secret = text.strip_suffix(b"\n").unwrap_or(text);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    let key = DecodingKey::from_secret(secret).map_err(|_| KeyError::ShortSecret)?;
    let kind = Kind::of(&key).ok_or(KeyError::ShortSecret)?;
    Ok(Key { id: None, kind, only: None, key })
}

fn read_pem(text: &[u8]) -> Result<Key, KeyError> {
    let is_one = text.starts_with(b"-----BEGIN")
        && text.windows(10).filter(|window| window == b"-----BEGIN").count() == 1;
    // A private key would do, and does not belong here: whoever reads it can make tokens.
    if !is_one || !(holds(text, b"BEGIN PUBLIC KEY") || holds(text, b"BEGIN RSA PUBLIC KEY")) {
        return Err(KeyError::Pem);
    }
    let readers = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
    let key = readers.iter().find_map(|read| read(text).ok()).ok_or(KeyError::Pem)?;
    let kind = Kind::of(&key).ok_or(KeyError::Pem)?;
    Ok(Key { id: None, kind, only: None, key })
}

/// The usable keys of a JWK or JWKS; those that are not are left out (RFC 7517, section 5).
fn read_json(text: &[u8], origin: Origin) -> Result<Vec<Key>, KeyError> {
    let mut value: Value = serde_json::from_slice(text).map_err(|_| KeyError::Json)?;
    let all = match value.get_mut("keys").map(Value::take) {
        Some(Value::Array(all)) => all,
        Some(_) => return Err(KeyError::Json),
        None if value.get("kty").is_some() => vec![value],
        None => return Err(KeyError::Json),
    };
    if all.len() > MAX_KEYS {
        return Err(KeyError::TooMany);
    }
    let keys: Vec<Key> = all.into_iter().filter_map(|key| read_jwk(key, origin)).collect();
    if keys.is_empty() { Err(KeyError::NoUsableKey) } else { Ok(keys) }
}

fn read_jwk(value: Value, origin: Origin) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let is_for_signatures =
        common.public_key_use.as_ref().is_none_or(|r#use| *r#use == PublicKeyUse::Signature);
    let operations = common.key_operations.as_ref();
    let may_verify = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let is_named_well = common.key_id.as_ref().is_none_or(|id| id.len() <= MAX_CLAIM_BYTES);
    if !is_for_signatures || !may_verify || !is_named_well {
        return None;
    }
    let has_public_secret =
        origin == Origin::Url && matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    let is_other_curve = matches!(&jwk.algorithm, AlgorithmParameters::OctetKeyPair(pair) if pair.curve != EllipticCurve::Ed25519);
    if has_public_secret || is_other_curve {
        return None;
    }
    let only = match common.key_algorithm {
        // One that is not supported, or not for signatures.
        Some(named) => {
            Some(Algorithm::ALL.into_iter().find(|one| named == signature_of(*one).into())?)
        }
        None => None,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let kind = Kind::of(&key)?;
    let id = common.key_id.as_deref().map(Box::from);
    only.is_none_or(|only| kind.fits(only)).then_some(Key { id, kind, only, key })
}

fn signature_of(algorithm: Algorithm) -> Signature {
    match algorithm {
        Algorithm::HS256 => Signature::HS256,
        Algorithm::HS384 => Signature::HS384,
        Algorithm::HS512 => Signature::HS512,
        Algorithm::RS256 => Signature::RS256,
        Algorithm::RS384 => Signature::RS384,
        Algorithm::RS512 => Signature::RS512,
        Algorithm::PS256 => Signature::PS256,
        Algorithm::PS384 => Signature::PS384,
        Algorithm::PS512 => Signature::PS512,
        Algorithm::ES256 => Signature::ES256,
        Algorithm::ES384 => Signature::ES384,
        Algorithm::EdDSA => Signature::EdDSA,
    }
}

#[cfg(test)]
mod tests;
