//! Secrets that a WsGateway names: what is in them, and where a pod finds it as a file.

use std::path::PathBuf;

use wsgateway_config::{ListenerTls, NatsAuth, NatsTls, NatsUser};

use crate::ValidRedis;

/// Folder in a gateway's pod with what is needed to connect to NATS.
pub const NATS_FOLDER: &str = "/etc/wsgateway-nats";

/// Folder in a gateway's pod with what is needed to connect to Redis.
pub const REDIS_FOLDER: &str = "/etc/wsgateway-redis";

/// Folder in a gateway's pod with the keys of tokens, each at `SECRET/KEY`.
pub const AUTH_FOLDER: &str = "/etc/wsgateway-auth";

/// Folder in a gateway's pod with the certificate that clients are shown.
pub const TLS_FOLDER: &str = "/etc/wsgateway-tls";

/// Label of a Secret that WsGateways of its namespace may use, with the value `true`. Whoever may write a WsGateway chooses
/// the servers that get what is in the Secrets that it names; so whoever may write a Secret says whether it is for that.
pub const SECRET_ALLOW: &str = "wsgateway.dev/allow";

/// A key of a Secret in the namespace of the WsGateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// Who we are to the NATS servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidCredentials {
    /// A `.creds` file.
    Creds(SecretKey),
    /// The seed of a user's nkey.
    Nkey(SecretKey),
    /// A token.
    Token(SecretKey),
    /// A user and its password.
    Password {
        /// The user.
        user: SecretKey,
        /// Its password.
        password: SecretKey,
    },
}

/// TLS with certificates of one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidTls {
    /// Authorities of the servers' certificates.
    pub ca: Option<SecretKey>,
    /// Our certificate and its key.
    pub client: Option<(SecretKey, SecretKey)>,
    /// Whether TLS begins before the server's first line.
    pub handshake_first: bool,
}

/// TLS on the clients' port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidListenerTls {
    /// Name of the Secret with the certificate and its key.
    pub secret: String,
}

/// A file of [`NATS_FOLDER`], [`REDIS_FOLDER`], [`AUTH_FOLDER`] or [`TLS_FOLDER`] and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// Where it comes from.
    pub source: SecretKey,
    /// Name of the file: always the same, whatever the key in the Secret is called.
    pub file: String,
}

const CREDS: &str = "nats.creds";
const NKEY: &str = "nkey";
const TOKEN: &str = "token";
const USER: &str = "username";
const PASSWORD: &str = "password";
const CA: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

fn path(file: &str) -> PathBuf {
    [NATS_FOLDER, file].iter().collect()
}

impl ValidCredentials {
    /// As the gateway's configuration names them.
    pub(crate) fn in_a_pod(&self) -> NatsAuth {
        match self {
            Self::Creds(_) => NatsAuth::Creds(path(CREDS)),
            Self::Nkey(_) => NatsAuth::Nkey(path(NKEY)),
            Self::Token(_) => NatsAuth::Token(path(TOKEN)),
            Self::Password { .. } => {
                NatsAuth::Password { user: NatsUser::File(path(USER)), password: path(PASSWORD) }
            }
        }
    }

    fn files(&self) -> Vec<(&SecretKey, &'static str)> {
        match self {
            Self::Creds(key) => vec![(key, CREDS)],
            Self::Nkey(key) => vec![(key, NKEY)],
            Self::Token(key) => vec![(key, TOKEN)],
            Self::Password { user, password } => vec![(user, USER), (password, PASSWORD)],
        }
    }
}

impl ValidTls {
    /// As the gateway's configuration names them.
    pub(crate) fn in_a_pod(&self) -> NatsTls {
        NatsTls {
            ca_file: self.ca.as_ref().map(|_| path(CA)),
            cert_file: self.client.as_ref().map(|_| path(CERTIFICATE)),
            key_file: self.client.as_ref().map(|_| path(KEY)),
            handshake_first: self.handshake_first,
        }
    }

    fn files(&self) -> Vec<(&SecretKey, &'static str)> {
        let client = self.client.iter().flat_map(|(chain, key)| [(chain, CERTIFICATE), (key, KEY)]);
        self.ca.iter().map(|ca| (ca, CA)).chain(client).collect()
    }
}

impl ValidListenerTls {
    /// As the gateway's configuration names them.
    pub(crate) fn in_a_pod(&self) -> ListenerTls {
        let path = |file: &str| [TLS_FOLDER, file].iter().collect();
        ListenerTls { cert_file: path(CERTIFICATE), key_file: path(KEY) }
    }

    /// The Secret's keys that a pod needs as files of [`TLS_FOLDER`].
    pub fn files(&self) -> Vec<SecretFile> {
        let source = |key: &str| SecretKey { name: self.secret.clone(), key: key.to_owned() };
        let file = |file: &str| SecretFile { source: source(file), file: file.to_owned() };
        vec![file(CERTIFICATE), file(KEY)]
    }
}

impl ValidRedis {
    /// Where the gateway's configuration says that the password is.
    pub(crate) fn password_file(&self) -> Option<PathBuf> {
        self.password.as_ref().map(|_| [REDIS_FOLDER, PASSWORD].iter().collect())
    }

    /// Where the gateway's configuration says that the authorities are.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.ca.as_ref().map(|_| [REDIS_FOLDER, CA].iter().collect())
    }

    /// The Secrets' keys that a pod needs as files of [`REDIS_FOLDER`].
    pub fn files(&self) -> Vec<SecretFile> {
        let password = self.password.iter().map(|key| (key, PASSWORD));
        let files = password.chain(self.ca.iter().map(|key| (key, CA)));
        files
            .map(|(source, file)| SecretFile { source: source.clone(), file: file.to_owned() })
            .collect()
    }
}

/// The files of [`NATS_FOLDER`].
pub(crate) fn files(
    credentials: Option<&ValidCredentials>,
    tls: Option<&ValidTls>,
) -> Vec<SecretFile> {
    let credentials = credentials.map(ValidCredentials::files).unwrap_or_default();
    let tls = tls.map(ValidTls::files).unwrap_or_default();
    credentials
        .into_iter()
        .chain(tls)
        .map(|(source, file)| SecretFile { source: source.clone(), file: file.to_owned() })
        .collect()
}
