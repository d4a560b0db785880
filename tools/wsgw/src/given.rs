//! The NATS server that the user names, as the gateway's configuration names it.

mod words;

use std::path::{Path, PathBuf};

use wsgateway_access::{KeyError, Keys, Origin};
use wsgateway_config::{
    Auth, ConfigError, JetStreamSource, ListenerTls, NatsAuth, NatsTls, NatsUser,
};
use wsgateway_crds::{AUTH_FOLDER, ValidAuth, ValidListenerTls};

use crate::cli::NatsAccess;
use crate::error::Error;

pub(crate) use words::Words;

/// How a user is told that an address is wrong, without the address, which could hold a password.
const ADDRESS: &str = "must be nats://host:port or tls://host:port, without user, password, token and path: what stands on a \
                       command line stands in the list of processes, too. Put those into files and give them with --creds, \
                       --nats-user and --nats-password-file, --nats-token-file or --nats-nkey-file";

/// The flags of fields of a configuration.
const FLAGS: [(&str, &str); 6] = [
    ("apiPrefix", "--nats-api-prefix"),
    ("inboxPrefix", "--nats-inbox-prefix"),
    ("auth.user", "--nats-user"),
    ("tls.caFile", "--nats-ca"),
    ("tls.certFile", "--nats-cert"),
    ("tls.keyFile", "--nats-key"),
];

/// The source that a URL and the flags beside it describe; `None` without a URL. `flag` is the one that gives it.
pub(crate) fn source(
    flag: &'static str,
    url: Option<&str>,
    access: &NatsAccess,
    stream: &str,
) -> Result<Option<JetStreamSource>, Error> {
    let Some(url) = url else { return Ok(None) };
    let mut source = JetStreamSource {
        auth: auth(access)?,
        tls: tls(access)?,
        ..JetStreamSource::new(vec![url.to_owned()], stream)
    };
    if let Some(prefix) = &access.nats_api_prefix {
        source.api_prefix.clone_from(prefix);
    }
    if let Some(prefix) = &access.nats_inbox_prefix {
        source.inbox_prefix.clone_from(prefix);
    }
    source.check().map_err(|error| of_flag(flag, error))?;
    Ok(Some(source))
}

/// An error of the configuration as one of the flag that its value is from.
fn of_flag(nats: &'static str, error: ConfigError) -> Error {
    let (ConfigError::Shape { path, message } | ConfigError::Value { path, message }) = error;
    let field = path.strip_prefix("source.jetStream.").unwrap_or(&path);
    match FLAGS.into_iter().find(|(known, _)| *known == field) {
        Some((_, flag)) => Error::Flag { flag, message },
        None => Error::Flag { flag: nats, message: ADDRESS.to_owned() },
    }
}

fn auth(access: &NatsAccess) -> Result<Option<NatsAuth>, Error> {
    if let Some(creds) = &access.creds {
        return Ok(Some(NatsAuth::Creds(absolute(creds)?)));
    }
    if let Some(seed) = &access.nats_nkey_file {
        return Ok(Some(NatsAuth::Nkey(absolute(seed)?)));
    }
    if let Some(token) = &access.nats_token_file {
        return Ok(Some(NatsAuth::Token(absolute(token)?)));
    }
    let Some((user, password)) = access.nats_user.as_ref().zip(access.nats_password_file.as_ref())
    else {
        return Ok(None);
    };
    let (user, password) = (NatsUser::Name(user.clone()), absolute(password)?);
    Ok(Some(NatsAuth::Password { user, password }))
}

fn tls(access: &NatsAccess) -> Result<Option<NatsTls>, Error> {
    let file = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    let tls = NatsTls {
        ca_file: file(&access.nats_ca)?,
        cert_file: file(&access.nats_cert)?,
        key_file: file(&access.nats_key)?,
        handshake_first: access.nats_handshake_first,
    };
    Ok((tls != NatsTls::default()).then_some(tls))
}

/// The keys of tokens that the manifest names, below the folder of `--secrets`. Each is one that a gateway can use.
pub(crate) fn token_keys(folder: Option<&Path>, auth: &ValidAuth) -> Result<Auth, Error> {
    let mut config = auth.config.clone();
    let keys = config.jwt.keys.iter_mut().map(|key| &mut key.file);
    let authorities = config.jwt.jwks.iter_mut().filter_map(|jwks| jwks.ca_file.as_mut());
    let places = keys.map(|place| (place, true)).chain(authorities.map(|place| (place, false)));
    for (place, is_key) in places {
        let below = place.strip_prefix(AUTH_FOLDER).unwrap_or(place).to_owned();
        let found = folder.map(|folder| folder.join(&below)).filter(|file| file.is_file());
        let Some(found) = found else {
            let named = auth.files.iter().find(|file| Path::new(&file.file) == below);
            let source = named.map(|file| file.source.clone());
            let (secret, key) = source.map(|source| (source.name, source.key)).unwrap_or_default();
            return Err(Error::NoKey { section: "spec.auth", secret, key });
        };
        *place = absolute(&found)?;
        if is_key {
            check_key(place)?;
        }
    }
    Ok(config)
}

/// Refuses what a gateway would refuse, which then accepts no token and only logs why.
fn check_key(file: &Path) -> Result<(), Error> {
    let text = crate::token::read_file(file)?;
    let Err(source) = Keys::read(&text, None, Origin::File) else { return Ok(()) };
    let hint = match source {
        KeyError::ShortSecret => {
            "write a longer one, such as with openssl rand -hex 32, or let wsgw token key --algorithm HS256 --out FILE \
             make it, and sign tokens with the same one"
        }
        _ => {
            "give a public key in PEM, a JWK or JWKS, or a secret of at least 32 bytes; wsgw token key --out FILE makes a key pair, and wsgw \
             token jwks --key FILE prints its public half"
        }
    };
    Err(Error::BadKey { file: file.to_owned(), source, hint })
}

/// The certificate that the manifest names, below the folder of `--secrets`.
pub(crate) fn listener_tls(
    folder: Option<&Path>,
    tls: &ValidListenerTls,
) -> Result<ListenerTls, Error> {
    let file = |key: &str| {
        let found = folder.map(|folder| folder.join(&tls.secret).join(key));
        match found.filter(|file| file.is_file()) {
            Some(found) => absolute(&found),
            None => Err(Error::NoKey {
                section: "spec.listener.tls",
                secret: tls.secret.clone(),
                key: key.to_owned(),
            }),
        }
    };
    Ok(ListenerTls { cert_file: file("tls.crt")?, key_file: file("tls.key")? })
}

/// As the configuration wants it. Links stay, since what they lead to may be exchanged; a typing error is told at once.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let found = std::path::absolute(path).and_then(|absolute| {
        std::fs::metadata(&absolute)?;
        Ok(absolute)
    });
    found.map_err(|source| Error::Path { path: path.to_owned(), source })
}
