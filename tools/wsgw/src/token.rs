//! `wsgw token`: keys and tokens for tests and for programs of one's own, and what a gateway says of a token.
//!
//! The thin shell: files, standard input and the clock. What must hold: a private file is made for its owner alone and never
//! overwritten; standard output holds a secret only where the command says so; no error holds a part of a key or a token.

pub(crate) mod explain;
pub(crate) mod key;
mod make;
mod rsa;
pub(crate) mod words;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use wsgateway_access::{Keys, MAX_TOKEN_BYTES, Origin, Verifier};
use wsgateway_config::{Algorithm, Auth, Jwt, Millis};

use crate::cli::{JwksArgs, KeyArgs, NewArgs, SecretArgs, TokenArgs, TokenCommand, VerifyArgs};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::output::print;
use explain::{Against, explain};
use key::{KeyError, SigningKey};

/// The largest Secret that Kubernetes keeps.
const LARGEST: u64 = 1 << 20;
/// Bytes of memory for one verified token.
const CACHE: usize = 1 << 16;
/// Readable by others than the owner.
const OTHERS: u32 = 0o077;

/// Why nothing could be done with a key or a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{} exists already, and is left alone: give another file, or move it away", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {source}", file.display())]
    Write { file: PathBuf, source: io::Error },
    #[error("{}: {source}", file.display())]
    Key { file: PathBuf, source: KeyError },
    #[error("{}: {source}", file.display())]
    Keys { file: PathBuf, source: wsgateway_access::KeyError },
    #[error("a key cannot be made: {0}")]
    Made(KeyError),
    #[error(
        "{}: it is a secret, which gateways need whole: say --with-secrets to print it", .0.display()
    )]
    WithSecrets(PathBuf),
    #[error(
        "the token would have {0} bytes, and gateways read {MAX_TOKEN_BYTES}: leave out claims"
    )]
    TooLong(usize),
    #[error(
        "{0}: no WsGateway that asks for tokens: it has no spec.auth, so everybody may connect and hear everything"
    )]
    NoAuth(String),
    #[error("the token is {0}")]
    Refused(&'static str),
}

pub(crate) fn run(options: &TokenArgs) -> Result<(), Error> {
    match &options.command {
        TokenCommand::Key(options) => new_key(options),
        TokenCommand::New(options) => new_token(options),
        TokenCommand::Verify(options) => verify(options),
        TokenCommand::Jwks(options) => jwks(options),
        TokenCommand::Secret(options) => secret(options),
    }
}

fn new_key(options: &KeyArgs) -> Result<(), Error> {
    let kid = match &options.kid {
        Some(kid) => kid.clone(),
        None => make::random_name().map_err(TokenError::Made)?,
    };
    let text = key::generate(options.algorithm, &kid).map_err(TokenError::Made)?;
    write_private(&options.out, &text)?;
    print(&make::next_steps(options.algorithm, &kid, &options.out.display().to_string()))
}

/// Writes a file that nobody else can read, at no moment.
fn write_private(path: &Path, text: &str) -> Result<(), TokenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => TokenError::Exists(path.to_owned()),
        _ => TokenError::Write { file: path.to_owned(), source },
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // Half a key is of no use, and in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        failed(source)
    })
}

fn new_token(options: &NewArgs) -> Result<(), Error> {
    let key = signing_key(&options.key, options.algorithm)?.named(options.kid.clone());
    let random = make::random_name().map_err(TokenError::Made)?;
    let claims = make::claims(options, now_ms(), random);
    let failed = |source| TokenError::Key { file: options.key.clone(), source };
    let token = key.sign(&claims).map_err(failed)?;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong(token.len()).into());
    }
    print(&format!("{token}\n"))
}

fn verify(options: &VerifyArgs) -> Result<(), Error> {
    let token = match options.token.as_str() {
        "-" => read_token(io::stdin().lock())?,
        token => token.to_owned(),
    };
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    let mut keys = Keys::default();
    let files = options.keys.iter().map(|file| (file, Origin::File));
    let public = options.jwks.iter().map(|file| (file, Origin::Url));
    for (file, origin) in files.chain(public) {
        let read = Keys::read(&read_file(file)?, None, origin);
        keys.extend(read.map_err(|source| TokenError::Keys { file: file.clone(), source })?);
    }
    let verifier = Verifier::new(&auth(options)?, CACHE);
    verifier.set_keys(keys.clone());
    let now_ms = now_ms();
    let told = explain(
        token,
        &Against {
            verifier: &verifier,
            keys: (!keys.is_empty()).then_some(&keys),
            has_rules: options.manifest.is_some(),
            channels: &options.channel,
            now_ms,
        },
    );
    print(&if options.json {
        let json =
            serde_json::to_string_pretty(&told).map_err(|error| Error::Write(error.into()))?;
        json + "\n"
    } else {
        told.page(now_ms)
    })?;
    match (told.is_good(), told.accepted, keys.is_empty()) {
        (true, ..) => Ok(()),
        (_, true, _) => {
            Err(TokenError::Refused("accepted, and not allowed to hear all of --channel").into())
        }
        (.., true) => Err(TokenError::Refused("not verified").into()),
        _ => Err(TokenError::Refused("refused").into()),
    }
}

/// What tokens are held against: the manifest's rules, or the flags.
fn auth(options: &VerifyArgs) -> Result<Auth, Error> {
    if let Some(file) = &options.manifest {
        let manifest = Manifest::read(file)?;
        let auth = manifest.gateway()?.auth;
        return Ok(auth.ok_or(TokenError::NoAuth(manifest.name))?.config);
    }
    // Without a manifest it is the key that says which one fits.
    let mut jwt = Jwt::new(Vec::new(), Algorithm::ALL.to_vec());
    jwt.issuer.clone_from(&options.issuer);
    jwt.audience.clone_from(&options.audience);
    if let Some(leeway) = options.leeway {
        jwt.leeway = Millis(u64::try_from(leeway.as_millis()).unwrap_or(u64::MAX));
    }
    Ok(Auth { jwt, anonymous: None, channels: Vec::new() })
}

fn jwks(options: &JwksArgs) -> Result<(), Error> {
    let mut keys = Vec::new();
    for file in &options.key {
        let public = signing_key(file, None)?.public();
        keys.push(public.map_err(|source| TokenError::Key { file: file.clone(), source })?);
    }
    print(&make::jwks(&keys)?)
}

fn secret(options: &SecretArgs) -> Result<(), Error> {
    let mut keys = Vec::new();
    for file in &options.key {
        let key = signing_key(file, None)?;
        if key.is_secret() && !options.with_secrets {
            return Err(TokenError::WithSecrets(file.clone()).into());
        }
        keys.push(key.jwk().map_err(|source| TokenError::Key { file: file.clone(), source })?);
    }
    print(&make::secret(options, &make::jwks(&keys)?)?)
}

fn signing_key(
    file: &Path,
    algorithm: Option<jsonwebtoken::Algorithm>,
) -> Result<SigningKey, Error> {
    let text = read_file(file)?;
    let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & OTHERS != 0) {
        eprintln!(
            "wsgw: warning: others can read {0}, and with it make tokens: chmod 600 {0}",
            file.display()
        );
    }
    let key = SigningKey::read(&text, algorithm);
    Ok(key.map_err(|source| TokenError::Key { file: file.to_owned(), source })?)
}

/// A file of at most the size of a Secret.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    File::open(path)
        .and_then(|file| read_limited(file, LARGEST))
        .map_err(|source| Error::Read { name: path.display().to_string(), source })
}

/// A token from a stream.
pub(crate) fn read_token(source: impl io::Read) -> Result<String, Error> {
    // Spaces around it, and a line break, may be there.
    let text = read_limited(source, MAX_TOKEN_BYTES as u64 + 1_024);
    let text = text.and_then(|text| {
        String::from_utf8(text).map_err(|_| io::Error::other("it is no text, so no token"))
    });
    text.map_err(|source| Error::Read { name: "the token".to_owned(), source })
}

fn read_limited(source: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// Unix ms.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
