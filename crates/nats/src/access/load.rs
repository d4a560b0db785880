//! Reading what proves who we are, and checking it before a server sees it.
//!
//! A file may be missing, empty or half-written at any moment: that is an error with the file's name and a reason,
//! never with anything that the file holds.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::{KeyPair, KeyPairType};
use serde::Deserialize;

use super::pem::Certificates;
use super::{Access, Auth, Material, Tls};
use crate::link::Answer;

/// Far above any credentials or bundle of authorities (the system's own has 200 kB).
const LARGEST: u64 = 1 << 20;

/// Something to connect with cannot be used. It is read again for the next attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {why}")]
pub struct MaterialError {
    name: String,
    why: String,
}

impl MaterialError {
    pub(super) fn new(material: &Material, why: impl Into<String>) -> Self {
        Self { name: material.to_string(), why: why.into() }
    }
}

/// Everything that is needed for a connection, as it was at one moment.
pub(crate) struct Loaded {
    /// Who we are.
    pub(crate) proof: Option<Proof>,
    /// Whom we trust, and our certificate.
    pub(crate) certificates: Certificates,
    /// Tells whether something has changed since; it gives away nothing.
    pub(crate) fingerprint: u64,
}

/// Who we are.
pub(crate) enum Proof {
    Creds { jwt: String, key: KeyPair },
    Nkey(KeyPair),
    Password { user: String, password: String },
    Token(String),
}

impl Loaded {
    /// Whether the user's JWT has expired by this machine's clock.
    pub(crate) fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.proof.as_ref().is_some_and(|proof| proof.expired_at(now))
    }
}

impl Access {
    /// Reads and checks everything. It blocks on files.
    pub(crate) fn load(&self) -> Result<Loaded, MaterialError> {
        let mut hasher = DefaultHasher::new();
        let mut read = |material: &Material| {
            let bytes = material.read()?;
            bytes.hash(&mut hasher);
            Ok::<_, MaterialError>(bytes)
        };
        let proof = match &self.auth {
            None => None,
            Some(Auth::Creds(material)) => Some(creds(material, &read(material)?)?),
            Some(Auth::Nkey(material)) => {
                Some(Proof::Nkey(seed(material, text(material, &read(material)?)?)?))
            }
            Some(Auth::Password { user, password }) => Some(Proof::Password {
                user: line(user, &read(user)?)?,
                password: line(password, &read(password)?)?,
            }),
            Some(Auth::Token(material)) => Some(Proof::Token(line(material, &read(material)?)?)),
        };
        let certificates = match &self.tls {
            None => Certificates::default(),
            Some(Tls { ca, client }) => {
                let ca_bytes = ca.as_ref().map(&mut read).transpose()?;
                let client_bytes = match client {
                    Some((certificate, key)) => Some([read(certificate)?, read(key)?]),
                    None => None,
                };
                let pairs = client.as_ref().zip(client_bytes.as_ref());
                Certificates::parse(
                    ca.as_ref().zip(ca_bytes.as_deref()),
                    pairs.map(|((certificate, key), [chain_bytes, key_bytes])| {
                        [(certificate, chain_bytes.as_slice()), (key, key_bytes.as_slice())]
                    }),
                )?
            }
        };
        Ok(Loaded { proof, certificates, fingerprint: hasher.finish() })
    }
}

impl Material {
    fn read(&self) -> Result<Vec<u8>, MaterialError> {
        let bytes = match self {
            Self::File(path) => read_file(path).map_err(|why| MaterialError::new(self, why))?,
            Self::Value { bytes, .. } => bytes.to_vec(),
        };
        if bytes.is_empty() {
            return Err(MaterialError::new(self, "is empty"));
        }
        Ok(bytes)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err("is larger than 1 MiB: it is something else".to_owned());
    }
    Ok(bytes)
}

fn text<'a>(material: &Material, bytes: &'a [u8]) -> Result<&'a str, MaterialError> {
    str::from_utf8(bytes).map_err(|_secret| MaterialError::new(material, "is not UTF-8 text"))
}

/// One value: what `echo` adds at its end is no part of it.
fn line(material: &Material, bytes: &[u8]) -> Result<String, MaterialError> {
    let value = text(material, bytes)?.trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err(MaterialError::new(material, "is empty"));
    }
    Ok(value.to_owned())
}

/// The blocks of a `.creds` file: the lines between a line of dashes with BEGIN and one with END. A block without its
/// end is none.
fn blocks(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut open: Option<Option<&str>> = None;
    for line in text.lines().map(str::trim) {
        let marker = line.starts_with("---") && line.ends_with("---");
        match (&mut open, marker) {
            (None, true) if line.contains("BEGIN") => open = Some(None),
            (Some(content), true) => {
                found.extend(content.take());
                open = None;
            }
            (Some(content), false) if !line.is_empty() => {
                content.get_or_insert(line);
            }
            _ => {}
        }
    }
    found
}

fn creds(material: &Material, bytes: &[u8]) -> Result<Proof, MaterialError> {
    let text = text(material, bytes)?;
    match blocks(text).as_slice() {
        [jwt, seed_text, ..] => {
            if jwt.split('.').filter(|part| !part.is_empty()).count() != 3 {
                return Err(MaterialError::new(material, "holds a user JWT that is none"));
            }
            Ok(Proof::Creds { jwt: (*jwt).to_owned(), key: seed(material, seed_text)? })
        }
        [_] => Err(MaterialError::new(
            material,
            "holds only one of user JWT and user seed: it may be half-written",
        )),
        [] => Err(MaterialError::new(
            material,
            "is no .creds file: it must hold -----BEGIN NATS USER JWT----- and -----BEGIN USER NKEY SEED-----",
        )),
    }
}

/// A seed, bare or in its block. What the library says of a bad one could hold parts of it.
fn seed(material: &Material, text: &str) -> Result<KeyPair, MaterialError> {
    let bare = blocks(text).first().copied().unwrap_or(text).trim();
    match KeyPair::from_seed(bare) {
        Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(pair),
        Ok(_) => Err(MaterialError::new(
            material,
            "holds the seed of something else than a user: those begin with SU",
        )),
        Err(_secret) => Err(MaterialError::new(
            material,
            "holds no seed of an nkey, which is SU and 56 more letters and digits: it may be half-written",
        )),
    }
}

/// As much of a user's JWT as is told when it is refused.
#[derive(Deserialize)]
struct Claims {
    exp: Option<u64>,
}

impl Proof {
    /// Who we are in the words of CONNECT; `nonce` is what the server wants signed.
    pub(crate) fn answer(self, nonce: &[u8]) -> Result<Answer, String> {
        let sign = |key: &KeyPair| {
            let signature =
                key.sign(nonce).map_err(|_| "cannot sign what the server asks".to_owned())?;
            Ok::<_, String>(Some(signature))
        };
        let none = Answer::default();
        Ok(match self {
            Self::Creds { jwt, key } => Answer { sig: sign(&key)?, jwt: Some(jwt), ..none },
            Self::Nkey(key) => Answer { nkey: Some(key.public_key()), sig: sign(&key)?, ..none },
            Self::Password { user, password } => {
                Answer { user: Some(user), pass: Some(password), ..none }
            }
            Self::Token(token) => Answer { auth_token: Some(token), ..none },
        })
    }

    /// Whether the user's JWT has expired at `now` (seconds since 1970). One that says nothing of it lasts.
    pub(crate) fn expired_at(&self, now: u64) -> bool {
        let Self::Creds { jwt, .. } = self else { return false };
        let payload = jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = payload.and_then(|payload| serde_json::from_slice::<Claims>(&payload).ok());
        claims.and_then(|claims| claims.exp).is_some_and(|expiry| expiry > 0 && expiry <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-of-a-test";

    fn value(text: &str) -> Material {
        Material::Value { name: "the file".to_owned(), bytes: text.as_bytes().into() }
    }

    fn load(auth: Auth) -> Result<Loaded, String> {
        let access = Access { auth: Some(auth), ..Access::open(Vec::new()) };
        access.load().map_err(|error| error.to_string())
    }

    fn refusal(auth: Auth) -> String {
        load(auth).err().expect("it is refused")
    }

    fn creds_text(claims: &str, seed: &str) -> String {
        let jwt = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n****** IMPORTANT ******\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    #[test]
    fn creds_sign_what_the_server_asks_with_the_key_of_the_user() {
        let user = KeyPair::new_user();
        let text = creds_text("{}", &user.seed().unwrap()).replace('\n', "\r\n");
        let auth =
            load(Auth::Creds(value(&text))).unwrap().proof.unwrap().answer(b"nonce").unwrap();
        assert_eq!(auth.jwt.unwrap(), "e30.e30.c2ln");
        user.verify(b"nonce", &auth.sig.unwrap()).unwrap();
    }

    #[test]
    fn an_nkey_is_read_bare_or_in_its_block_and_names_itself() {
        let user = KeyPair::new_user();
        let seed = user.seed().unwrap();
        for text in
            [format!("{seed}\n"), format!("-----BEGIN USER NKEY SEED-----\n{seed}\n---END---\n")]
        {
            let proof = load(Auth::Nkey(value(&text))).unwrap().proof.unwrap();
            let auth = proof.answer(b"nonce").unwrap();
            assert_eq!(auth.nkey, Some(user.public_key()));
            user.verify(b"nonce", &auth.sig.unwrap()).unwrap();
        }
    }

    #[test]
    fn a_line_break_at_the_end_is_no_part_of_a_password_and_other_white_space_is() {
        let auth = Auth::Password { user: value("me\n"), password: value(" p \r\n") };
        let auth = load(auth).unwrap().proof.unwrap().answer(b"").unwrap();
        assert_eq!((auth.user.as_deref(), auth.pass.as_deref()), (Some("me"), Some(" p ")));
    }

    #[test]
    fn what_is_missing_empty_half_written_or_something_else_is_told_with_its_name_and_without_its_content()
     {
        let whole = creds_text("{}", &KeyPair::new_user().seed().unwrap());
        let half = &whole[..whole.find("IMPORTANT").unwrap()];
        let cut_seed = &whole[..whole.find("------END USER NKEY").unwrap()];
        let account = KeyPair::new_account().seed().unwrap();
        let missing = Material::File("/nowhere/nats.creds".into());
        for (auth, told) in [
            (Auth::Creds(missing.clone()), "/nowhere/nats.creds cannot be read"),
            (Auth::Creds(value("")), "the file is empty"),
            (Auth::Creds(value(SECRET)), "the file is no .creds file"),
            (Auth::Creds(value(half)), "the file holds only one of user JWT and user seed"),
            (Auth::Creds(value(cut_seed)), "the file holds only one of user JWT and user seed"),
            (Auth::Creds(value(&creds_text("{}", SECRET))), "the file holds no seed"),
            (
                Auth::Creds(value(&whole.replace("e30.", ""))),
                "the file holds a user JWT that is none",
            ),
            (Auth::Nkey(value(SECRET)), "the file holds no seed"),
            (Auth::Nkey(value(&account)), "the file holds the seed of something else"),
            (Auth::Token(value("\n")), "the file is empty"),
            (Auth::Password { user: value("u"), password: missing }, "/nowhere/nats.creds cannot"),
        ] {
            let error = refusal(auth);
            assert!(error.starts_with(told), "{told}: {error}");
            assert!(!error.contains(SECRET) && !error.contains(&account), "{error}");
        }
        let access = Access {
            auth: Some(Auth::Token(value(SECRET))),
            ..Access::open(vec!["nats://n".to_owned()])
        };
        assert!(!format!("{access:?}").contains(SECRET));
    }

    #[test]
    fn a_binary_file_or_one_without_an_end_is_refused() {
        let bytes = [0xff_u8, 0xfe].as_slice().into();
        let binary = Material::Value { name: "the file".to_owned(), bytes };
        assert!(refusal(Auth::Token(binary)).contains("is not UTF-8 text"));
        let endless = Material::File("/dev/zero".into());
        assert!(refusal(Auth::Token(endless)).contains("is larger than 1 MiB"));
    }

    #[test]
    fn the_fingerprint_follows_the_content() {
        let of = |text| load(Auth::Token(value(text))).unwrap().fingerprint;
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn an_expired_jwt_is_told_apart_from_one_that_lasts() {
        let seed = KeyPair::new_user().seed().unwrap();
        let expired = |claims: &str| {
            let text = creds_text(claims, &seed);
            load(Auth::Creds(value(&text))).unwrap().proof.unwrap().expired_at(1_000)
        };
        assert!(expired(r#"{"exp":900}"#));
        for lasting in [r#"{"exp":1001}"#, r#"{"exp":0}"#, r#"{"exp":"900"}"#, "{}", "[]"] {
            assert!(!expired(lasting), "{lasting}");
        }
    }

    #[test]
    fn certificates_that_are_none_are_told() {
        for (text, told) in [
            ("hello", "the file holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "the file is no PEM"),
            (
                "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
                "the file holds a certificate that is none",
            ),
        ] {
            let tls = Tls { ca: Some(value(text)), client: None };
            let access = Access { tls: Some(tls), ..Access::open(Vec::new()) };
            let error = access.load().err().expect("it is refused").to_string();
            assert!(error.starts_with(told), "{told}: {error}");
        }
    }
}
