//! Keys that sign, as values: made, read from a private JWK or PEM, and shown as what is public of them.
//!
//! Nothing of a key is in an error or in its `Debug`.

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rsa;
use crate::cli::NewKey;

/// Least bytes of a secret, as gateways want it.
const LEAST_SECRET: usize = 32;

/// Why there is no key. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "it holds no private key: give the file of wsgw token key, a private JWK, or a private key in PEM"
    )]
    NotPrivate,
    #[error(
        "it is JSON, but no private JWK of a supported kind (Ed25519, P-256, P-384, RSA, secret)"
    )]
    Json,
    #[error("it is PEM without exactly one private key (PKCS #8; RSA, P-256, P-384 or Ed25519)")]
    Pem,
    #[error("its RSA key is none that gateways verify with: two primes, 2048 to 8192 bits")]
    Rsa,
    #[error("its secret has fewer than {LEAST_SECRET} bytes, which gateways refuse")]
    ShortSecret,
    #[error("it cannot sign with that algorithm: leave out --algorithm, or give another key")]
    OtherAlgorithm,
    #[error("it is a secret, of which nothing is public")]
    Secret,
    #[error("no random numbers, or no signature, could be made")]
    Crypto,
}

/// A JWK with its private half (RFC 7517, RFC 7518 section 6, RFC 8037).
#[derive(Default, Serialize, Deserialize)]
struct PrivateJwk {
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dq: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qi: Option<String>,
}

/// The text of a file with a new key.
pub(crate) fn generate(kind: NewKey, kid: &str) -> Result<String, KeyError> {
    let part = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
    let mut jwk = match kind {
        NewKey::EdDsa => {
            let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Crypto)?;
            let seed = pair.seed().and_then(|seed| seed.as_be_bytes());
            let seed = seed.map_err(|_| KeyError::Crypto)?;
            let (x, d) = (part(pair.public_key().as_ref()), part(seed.as_ref()));
            PrivateJwk {
                kty: "OKP".into(),
                crv: Some("Ed25519".into()),
                x,
                d,
                ..Default::default()
            }
        }
        NewKey::Es256 => generate_ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")?,
        NewKey::Es384 => generate_ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")?,
        NewKey::Rs256 | NewKey::Ps256 => generate_rsa()?,
        NewKey::Hs256 => generate_secret(32)?,
        NewKey::Hs384 => generate_secret(48)?,
        NewKey::Hs512 => generate_secret(64)?,
    };
    let name = match kind {
        NewKey::EdDsa => "EdDSA",
        NewKey::Es256 => "ES256",
        NewKey::Es384 => "ES384",
        NewKey::Rs256 => "RS256",
        NewKey::Ps256 => "PS256",
        NewKey::Hs256 => "HS256",
        NewKey::Hs384 => "HS384",
        NewKey::Hs512 => "HS512",
    };
    (jwk.alg, jwk.usage, jwk.kid) = (Some(name.into()), Some("sig".into()), Some(kid.into()));
    let text = serde_json::to_string_pretty(&jwk).map_err(|_| KeyError::Json)?;
    Ok(text + "\n")
}

fn generate_ec(
    algorithm: &'static EcdsaSigningAlgorithm,
    curve: &str,
) -> Result<PrivateJwk, KeyError> {
    let pair = EcdsaKeyPair::generate(algorithm).map_err(|_| KeyError::Crypto)?;
    let private = pair.private_key().as_be_bytes().map_err(|_| KeyError::Crypto)?;
    let point = pair.public_key().as_ref().get(1..).ok_or(KeyError::Crypto)?;
    let (x, y) = point.split_at(point.len() / 2);
    let part = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
    let (x, y, d) = (part(x), part(y), part(private.as_ref()));
    Ok(PrivateJwk { kty: "EC".into(), crv: Some(curve.into()), x, y, d, ..Default::default() })
}

fn generate_rsa() -> Result<PrivateJwk, KeyError> {
    let [n, e, d, p, q, dp, dq, qi] =
        rsa::generate()?.map(|number| Some(URL_SAFE_NO_PAD.encode(number)));
    Ok(PrivateJwk { kty: "RSA".into(), n, e, d, p, q, dp, dq, qi, ..Default::default() })
}

fn generate_secret(bytes: usize) -> Result<PrivateJwk, KeyError> {
    let mut secret = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| KeyError::Crypto)?;
    let k = Some(URL_SAFE_NO_PAD.encode(secret));
    Ok(PrivateJwk { kty: "oct".into(), k, ..Default::default() })
}

/// A key that signs.
pub(crate) struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key in a text: a private JWK, or a private key in PEM. `algorithm`: instead of the key's own.
    pub(crate) fn read(text: &[u8], algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        let (key, own, kid) = if text.starts_with(b"{") {
            read_jwk(text)?
        } else if text.starts_with(b"-----BEGIN") {
            let (key, own) = read_pem(text)?;
            (key, own, None)
        } else {
            return Err(KeyError::NotPrivate);
        };
        let algorithm = algorithm.unwrap_or(own);
        let is_one_curve = matches!(own, Algorithm::ES256 | Algorithm::ES384);
        if algorithm.family() != key.family() || (is_one_curve && algorithm != own) {
            return Err(KeyError::OtherAlgorithm);
        }
        Ok(Self { key, algorithm, kid })
    }

    pub(crate) fn named(self, kid: Option<String>) -> Self {
        Self { kid: kid.or(self.kid), ..self }
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.key.family() == AlgorithmFamily::Hmac
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Map<String, Value>) -> Result<String, KeyError> {
        let header = Header { kid: self.kid.clone(), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| KeyError::Crypto)
    }

    /// What everybody may know of it.
    pub(crate) fn public(&self) -> Result<Jwk, KeyError> {
        if self.is_secret() { Err(KeyError::Secret) } else { self.jwk() }
    }

    /// The JWK that verifies: for a secret, the secret itself.
    pub(crate) fn jwk(&self) -> Result<Jwk, KeyError> {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm)
            .map_err(|_| KeyError::OtherAlgorithm)?;
        jwk.common.key_id.clone_from(&self.kid);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(jwk)
    }
}

type Read = (EncodingKey, Algorithm, Option<String>);

fn read_jwk(text: &[u8]) -> Result<Read, KeyError> {
    // What serde says of it could repeat a part of the key.
    let jwk: PrivateJwk = serde_json::from_slice(text).map_err(|_| KeyError::Json)?;
    let bytes = |part: &Option<String>| {
        let part = part.as_ref().ok_or(KeyError::NotPrivate)?;
        URL_SAFE_NO_PAD.decode(part).map_err(|_| KeyError::Json)
    };
    let named = |usual: Algorithm| match &jwk.alg {
        Some(name) => name.parse::<Algorithm>().map_err(|_| KeyError::Json),
        None => Ok(usual),
    };
    let ec = |algorithm| {
        let (d, mut point) = (bytes(&jwk.d)?, vec![4]);
        point.extend(bytes(&jwk.x)?);
        point.extend(bytes(&jwk.y)?);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, &point);
        let der = pair.map_err(|_| KeyError::Json)?.to_pkcs8v1().map_err(|_| KeyError::Json)?;
        Ok(EncodingKey::from_ec_der(der.as_ref()))
    };
    let (key, algorithm) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => {
            let (seed, public) = (bytes(&jwk.d)?, bytes(&jwk.x)?);
            let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public);
            let der = pair.map_err(|_| KeyError::Json)?.to_pkcs8v1().map_err(|_| KeyError::Json)?;
            (EncodingKey::from_ed_der(der.as_ref()), Algorithm::EdDSA)
        }
        ("EC", Some("P-256")) => (ec(&ECDSA_P256_SHA256_FIXED_SIGNING)?, Algorithm::ES256),
        ("EC", Some("P-384")) => (ec(&ECDSA_P384_SHA384_FIXED_SIGNING)?, Algorithm::ES384),
        ("RSA", _) => {
            let PrivateJwk { n, e, d, p, q, dp, dq, qi, .. } = &jwk;
            // First what is private, which a public key lacks.
            let [d, n, e, p, q] = [bytes(d)?, bytes(n)?, bytes(e)?, bytes(p)?, bytes(q)?];
            let der = rsa::to_der(&[n, e, d, p, q, bytes(dp)?, bytes(dq)?, bytes(qi)?])?;
            (EncodingKey::from_rsa_der(&der), named(Algorithm::RS256)?)
        }
        ("oct", _) => {
            let secret = bytes(&jwk.k)?;
            if secret.len() < LEAST_SECRET {
                return Err(KeyError::ShortSecret);
            }
            let key = EncodingKey::from_secret(&secret).map_err(|_| KeyError::ShortSecret)?;
            (key, named(Algorithm::HS256)?)
        }
        _ => return Err(KeyError::Json),
    };
    Ok((key, algorithm, jwk.kid))
}

fn read_pem(text: &[u8]) -> Result<(EncodingKey, Algorithm), KeyError> {
    let begins = |text: &[u8]| text.windows(10).filter(|part| part == b"-----BEGIN").count();
    if begins(text) != 1 {
        return Err(KeyError::Pem);
    }
    if !text.windows(11).any(|part| part == b"PRIVATE KEY") {
        return Err(KeyError::NotPrivate);
    }
    if let Ok(key) = EncodingKey::from_ed_pem(text) {
        return Ok((key, Algorithm::EdDSA));
    }
    if let Ok(key) = EncodingKey::from_ec_pem(text) {
        // Which curve it is on shows by what can be made of it.
        let curves = [Algorithm::ES256, Algorithm::ES384];
        let is_on = |curve: &Algorithm| Jwk::from_encoding_key(&key, *curve).is_ok();
        let curve = curves.into_iter().find(is_on).ok_or(KeyError::Pem)?;
        return Ok((key, curve));
    }
    let key = EncodingKey::from_rsa_pem(text).map_err(|_| KeyError::Pem)?;
    // Reads it as signing does, which refuses keys that are too short.
    Jwk::from_encoding_key(&key, Algorithm::RS256).map_err(|_| KeyError::Rsa)?;
    Ok((key, Algorithm::RS256))
}

#[cfg(test)]
mod tests;
