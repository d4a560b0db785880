//! How to reach the servers: addresses, who we are to them, and whom we trust.
//!
//! What is secret is named here and read when it is needed ([`Access::load`]), so that it may change at any time. The
//! operator, which gets its Secrets from the Kubernetes API, hands them over as values instead of files.

mod load;
mod pem;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wsgateway_config::{JetStreamSource, NatsAuth, NatsTls, NatsUser};

pub(crate) use load::Loaded;
pub use load::MaterialError;

/// How to reach the servers of one NATS cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// `nats://host:port`, or `tls://host:port`.
    pub servers: Vec<String>,
    /// Who we are to them, if they want to know.
    pub auth: Option<Auth>,
    /// TLS with certificates of one's own. Present: TLS or nothing. Absent: TLS if the servers ask for it, trusting the
    /// system's authorities.
    pub tls: Option<Tls>,
    /// What the subjects of answers begin with, without a dot at the end. `None`: `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// Whether TLS begins before the server's first line.
    pub handshake_first: bool,
}

/// Who we are to the servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// A `.creds` file: the user's JWT and the seed of its key.
    Creds(Material),
    /// The seed of a user's nkey.
    Nkey(Material),
    /// A user and its password.
    Password {
        /// The user.
        user: Material,
        /// Its password.
        password: Material,
    },
    /// A token.
    Token(Material),
}

/// Certificates of one's own, as PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Authorities that the servers' certificates must come from, instead of the system's.
    pub ca: Option<Material>,
    /// Our certificate chain and its key, for servers that ask for one.
    pub client: Option<(Material, Material)>,
}

/// Something to read before connecting. It may be secret: it is never shown, only its name is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Material {
    /// A file, read anew for each connection.
    File(PathBuf),
    /// A value from elsewhere.
    Value {
        /// What to call it in messages, such as `key nats.creds of Secret odin-nats`.
        name: String,
        /// What it holds.
        bytes: Arc<[u8]>,
    },
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({self})")
    }
}

/// Its name.
impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Value { name, .. } => f.write_str(name),
        }
    }
}

impl Access {
    /// Servers that ask for nothing.
    pub fn open(servers: Vec<String>) -> Self {
        Self { servers, auth: None, tls: None, inbox_prefix: None, handshake_first: false }
    }

    /// What there is to read.
    pub(crate) fn materials(&self) -> impl Iterator<Item = &Material> {
        let auth = match &self.auth {
            None => [None, None],
            Some(Auth::Creds(one) | Auth::Nkey(one) | Auth::Token(one)) => [Some(one), None],
            Some(Auth::Password { user, password }) => [Some(user), Some(password)],
        };
        let tls = self.tls.iter().flat_map(|tls| {
            let client = tls.client.as_ref();
            [
                tls.ca.as_ref(),
                client.map(|(certificate, _)| certificate),
                client.map(|(_, key)| key),
            ]
        });
        auth.into_iter().chain(tls).flatten()
    }
}

impl From<&JetStreamSource> for Access {
    fn from(source: &JetStreamSource) -> Self {
        Self {
            servers: source.servers.clone(),
            auth: source.auth.as_ref().map(Auth::from),
            tls: source.tls.as_ref().map(Tls::from),
            inbox_prefix: Some(source.inbox_prefix.clone()),
            handshake_first: source.tls.as_ref().is_some_and(|tls| tls.handshake_first),
        }
    }
}

impl From<&NatsAuth> for Auth {
    fn from(auth: &NatsAuth) -> Self {
        let file = |path: &PathBuf| Material::File(path.clone());
        match auth {
            NatsAuth::Creds(path) => Self::Creds(file(path)),
            NatsAuth::Nkey(path) => Self::Nkey(file(path)),
            NatsAuth::Token(path) => Self::Token(file(path)),
            NatsAuth::Password { user, password } => Self::Password {
                user: match user {
                    NatsUser::Name(name) => Material::Value {
                        name: "source.jetStream.auth.user".to_owned(),
                        bytes: name.as_bytes().into(),
                    },
                    NatsUser::File(path) => file(path),
                },
                password: file(password),
            },
        }
    }
}

impl From<&NatsTls> for Tls {
    fn from(tls: &NatsTls) -> Self {
        let file = |path: &PathBuf| Material::File(path.clone());
        Self {
            ca: tls.ca_file.as_ref().map(file),
            client: tls
                .cert_file
                .as_ref()
                .zip(tls.key_file.as_ref())
                .map(|(certificate, key)| (file(certificate), file(key))),
        }
    }
}
