//! A JetStream stream as a source: its servers, and the files with what they ask for.
//!
//! Nothing secret stands here: credentials are paths, and what they lead to is read again whenever it changes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Linux takes no longer path.
const LONGEST_PATH: usize = 4_095;

/// A scheme, the longest name of DNS and a port fit.
const LONGEST_ADDRESS: usize = 270;

/// Leaves room for what follows it in a subject, which nats-server bounds with the rest of a protocol line at 4096.
const LONGEST_PREFIX: usize = 255;

/// The stream to read. It must exist: the operator (or `wsgw dev`) makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JetStreamSource {
    /// `nats://host:port`, or `tls://host:port` to insist on TLS; one to sixteen of one cluster.
    pub servers: Vec<String>,
    /// Name of the stream.
    pub stream: String,
    /// Who we are to the servers. Absent: nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<NatsAuth>,
    /// TLS with certificates of one's own. Present: TLS or nothing. Absent: TLS if the servers ask for it, trusting the
    /// system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NatsTls>,
    /// What the subjects of JetStream's API begin with, without a dot at the end: `$JS.API`, `$JS.DOMAIN.API` for a
    /// domain, or what an account imports the API as.
    #[serde(default = "api_prefix", skip_serializing_if = "is_api_prefix")]
    pub api_prefix: String,
    /// What the subjects of answers begin with, without a dot at the end.
    #[serde(default = "inbox_prefix", skip_serializing_if = "is_inbox_prefix")]
    pub inbox_prefix: String,
}

fn api_prefix() -> String {
    "$JS.API".to_owned()
}
fn is_api_prefix(prefix: &String) -> bool {
    *prefix == api_prefix()
}
fn inbox_prefix() -> String {
    "_INBOX".to_owned()
}
fn is_inbox_prefix(prefix: &String) -> bool {
    *prefix == inbox_prefix()
}

/// Who we are to the servers: absolute paths of files with one proof of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AuthFile", into = "AuthFile")]
pub enum NatsAuth {
    /// A `.creds` file: the user's JWT and the seed of its key.
    Creds(PathBuf),
    /// A file with the seed of a user's nkey (`SU…`).
    Nkey(PathBuf),
    /// A user and a file with the password.
    Password {
        /// The user.
        user: NatsUser,
        /// File with the password; a line break at its end is no part of it.
        password: PathBuf,
    },
    /// A file with a token; a line break at its end is no part of it.
    Token(PathBuf),
}

/// The name of a user: no secret, so it may stand in the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsUser {
    /// The name.
    Name(String),
    /// A file with the name.
    File(PathBuf),
}

/// [`NatsAuth`] as it stands in the file.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AuthFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    creds_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
}

impl TryFrom<AuthFile> for NatsAuth {
    type Error = &'static str;

    fn try_from(file: AuthFile) -> Result<Self, Self::Error> {
        let user = match (file.user, file.user_file) {
            (Some(name), None) => Some(NatsUser::Name(name)),
            (None, Some(file)) => Some(NatsUser::File(file)),
            (None, None) => None,
            (Some(_), Some(_)) => return Err("must not hold both user and userFile"),
        };
        match (file.creds_file, file.nkey_file, user, file.password_file, file.token_file) {
            (Some(file), None, None, None, None) => Ok(Self::Creds(file)),
            (None, Some(file), None, None, None) => Ok(Self::Nkey(file)),
            (None, None, Some(user), Some(password), None) => Ok(Self::Password { user, password }),
            (None, None, None, None, Some(file)) => Ok(Self::Token(file)),
            (None, None, Some(_), None, None) => Err("a user needs passwordFile"),
            (None, None, None, Some(_), None) => Err("passwordFile needs user or userFile"),
            _ => Err("must hold exactly one of credsFile, nkeyFile, tokenFile, \
                      and passwordFile with user or userFile"),
        }
    }
}

impl From<NatsAuth> for AuthFile {
    fn from(auth: NatsAuth) -> Self {
        let none = Self::default();
        match auth {
            NatsAuth::Creds(file) => Self { creds_file: Some(file), ..none },
            NatsAuth::Nkey(file) => Self { nkey_file: Some(file), ..none },
            NatsAuth::Password { user: NatsUser::Name(user), password } => {
                Self { user: Some(user), password_file: Some(password), ..none }
            }
            NatsAuth::Password { user: NatsUser::File(user), password } => {
                Self { user_file: Some(user), password_file: Some(password), ..none }
            }
            NatsAuth::Token(file) => Self { token_file: Some(file), ..none },
        }
    }
}

/// TLS with certificates of one's own: absolute paths of PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NatsTls {
    /// Authorities that the servers' certificates must come from, instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Our certificate and those between it and its authority, for servers that ask for one. Needs `keyFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate. Needs `certFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Whether TLS begins before the server's first line, for servers with `handshake_first` in their configuration.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub handshake_first: bool,
}

impl JetStreamSource {
    /// A stream on servers that ask for nothing.
    pub fn new(servers: Vec<String>, stream: impl Into<String>) -> Self {
        Self {
            servers,
            stream: stream.into(),
            auth: None,
            tls: None,
            api_prefix: api_prefix(),
            inbox_prefix: inbox_prefix(),
        }
    }

    /// Refuses what has the right shape but cannot work.
    ///
    /// # Errors
    /// [`ConfigError`] with the path of the field. It never repeats an address, which could hold a password.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.servers.is_empty() || self.servers.len() > 16 {
            return Err(ConfigError::value(
                "source.jetStream.servers",
                "must name 1 to 16 servers, such as nats://nats.messaging:4222",
            ));
        }
        if let Some(at) = self.servers.iter().position(|server| !is_plain_address(server)) {
            return Err(ConfigError::value(
                format!("source.jetStream.servers[{at}]"),
                "must be nats://host:port or tls://host:port, without user, password, token and path: put those into files \
                 and name them in source.jetStream.auth",
            ));
        }
        let name_ok = |c: char| !c.is_whitespace() && !c.is_control() && !".*>/\\".contains(c);
        if self.stream.is_empty() || self.stream.len() > 255 || !self.stream.chars().all(name_ok) {
            return Err(ConfigError::value(
                "source.jetStream.stream",
                format!(
                    "must be a stream name without spaces and . * > / \\; got {:?}",
                    self.stream
                ),
            ));
        }
        check_prefix("apiPrefix", &self.api_prefix, "$JS.API or $JS.hub.API")?;
        check_prefix("inboxPrefix", &self.inbox_prefix, "_INBOX or _INBOX_odin")?;
        self.auth.as_ref().map_or(Ok(()), NatsAuth::check)?;
        self.tls.as_ref().map_or(Ok(()), NatsTls::check)
    }
}

impl NatsAuth {
    fn check(&self) -> Result<(), ConfigError> {
        let at = |field: &str| format!("source.jetStream.auth.{field}");
        match self {
            Self::Creds(file) => check_path(&at("credsFile"), file),
            Self::Nkey(file) => check_path(&at("nkeyFile"), file),
            Self::Token(file) => check_path(&at("tokenFile"), file),
            Self::Password { user: NatsUser::File(user), password } => {
                check_path(&at("userFile"), user)?;
                check_path(&at("passwordFile"), password)
            }
            Self::Password { user: NatsUser::Name(user), password } => {
                if user.is_empty() || user.len() > 255 || user.chars().any(char::is_control) {
                    return Err(ConfigError::value(
                        at("user"),
                        "must be the name of a user, of 1 to 255 characters",
                    ));
                }
                check_path(&at("passwordFile"), password)
            }
        }
    }
}

impl NatsTls {
    fn check(&self) -> Result<(), ConfigError> {
        let at = |field: &str| format!("source.jetStream.tls.{field}");
        let fields =
            [("caFile", &self.ca_file), ("certFile", &self.cert_file), ("keyFile", &self.key_file)];
        for (field, file) in fields {
            file.as_ref().map_or(Ok(()), |file| check_path(&at(field), file))?;
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => Err(ConfigError::value(
                at("certFile"),
                "needs keyFile, the key that belongs to the certificate",
            )),
            (None, Some(_)) => Err(ConfigError::value(
                at("keyFile"),
                "needs certFile, the certificate that belongs to the key",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether an address is a host and perhaps a port. The client library would ignore whatever else stands in it, such as a
/// password.
fn is_plain_address(server: &str) -> bool {
    let address = match server.split_once("://") {
        Some(("nats" | "tls", address)) => address,
        Some(_) => return false,
        None => server,
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    !address.is_empty() && server.len() <= LONGEST_ADDRESS && address.chars().all(plain)
}

/// A prefix is whole tokens of a subject, none of them a wildcard.
fn check_prefix(field: &str, prefix: &str, example: &str) -> Result<(), ConfigError> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '*' && c != '>' && c != '.';
    let tokens_ok = prefix.split('.').all(|token| !token.is_empty() && token.chars().all(plain));
    if tokens_ok && prefix.len() <= LONGEST_PREFIX {
        return Ok(());
    }
    Err(ConfigError::value(
        format!("source.jetStream.{field}"),
        format!(
            "must be tokens between dots, without spaces and wildcards and at most {LONGEST_PREFIX} bytes, such as \
             {example}; got {prefix:?}"
        ),
    ))
}

/// Relative to what? A program that is started from elsewhere would read other files.
fn check_path(at: &str, file: &Path) -> Result<(), ConfigError> {
    if file.is_absolute() && file.as_os_str().len() <= LONGEST_PATH {
        return Ok(());
    }
    Err(ConfigError::value(
        at,
        format!(
            "must be the absolute path of a file, such as /etc/wsgateway/nats/nats.creds; got {file:?}"
        ),
    ))
}

#[cfg(test)]
mod tests;
