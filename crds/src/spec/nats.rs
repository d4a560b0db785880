//! The NATS servers that hold the stream, and what they ask for.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The NATS servers that hold the stream.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.domain) || !has(self.apiPrefix)")
    .message("nats.domain and nats.apiPrefix say the same in two ways: drop one of them"))]
pub struct Nats {
    /// Addresses of servers of one NATS cluster, as nats://host:port, or tls://host:port to insist on TLS (1 to 16). NATS
    /// 2.10 or later with JetStream.
    #[schemars(schema_with = "crate::schema::servers")]
    pub servers: Vec<String>,
    /// Who operator and gateways are to the servers, in Secrets of this namespace: one of a .creds file (name, key), nkey,
    /// token, userPassword. A changed Secret renews the connections. Default: nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// TLS with certificates of one's own, in Secrets of this namespace. With it a server without TLS is refused.
    /// Default: TLS if the servers ask for it, trusting the authorities that the images trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<NatsTls>,
    /// JetStream domain that holds the stream, such as hub, for servers that reach it over a leaf node: short for the
    /// apiPrefix $JS.hub.API. At most one of domain and apiPrefix. Default: the domain of the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::jetstream_domain")]
    pub domain: Option<String>,
    /// What the subjects of JetStream's API begin with, for accounts that import it from another account under another
    /// name. Default $JS.API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::subject_prefix")]
    pub api_prefix: Option<String>,
    /// What the subjects of answers begin with, for users that may not subscribe to _INBOX.>. Default _INBOX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::subject_prefix")]
    pub inbox_prefix: Option<String>,
}

impl Nats {
    /// What the subjects of JetStream's API begin with, if the manifest says so.
    pub fn given_api_prefix(&self) -> Option<String> {
        let of_domain = |domain: &String| format!("$JS.{domain}.API");
        self.api_prefix.clone().or_else(|| self.domain.as_ref().map(of_domain))
    }
}

/// Who we are to the servers: exactly one proof of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "[has(self.name), has(self.nkey), has(self.token), has(self.userPassword)].filter(given, given).size() == 1"
    )
    .message("nats.credentials needs exactly one of name (with a .creds file), nkey, token and userPassword: drop the \
              others, or nats.credentials as a whole for servers that ask for nothing"),
    validation = Rule::new("!has(self.key) || has(self.name)")
        .message("nats.credentials.key is a key of the Secret in nats.credentials.name: set that, too"),
)]
pub struct Credentials {
    /// Secret with a .creds file: a user's JWT and the seed of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: Option<String>,
    /// Key of the .creds file in that Secret. Default nats.creds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: Option<String>,
    /// The seed of a user's nkey (SU…).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nkey: Option<NkeySecret>,
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSecret>,
    /// A user and its password, as in a Secret of type kubernetes.io/basic-auth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_password: Option<UserPasswordSecret>,
}

/// Where the seed of an nkey is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NkeySecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key of the seed in it. Default nkey.
    #[serde(default = "nkey")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// Where a token is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TokenSecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key of the token in it. Default token.
    #[serde(default = "token")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// Where a user and its password are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct UserPasswordSecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key of the user in it. Default username.
    #[serde(default = "username")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub user_key: String,
    /// Key of the password in it. Default password.
    #[serde(default = "password")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub password_key: String,
}

/// TLS with certificates of one's own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NatsTls {
    /// Authorities, as PEM, that the servers' certificates must come from. Default: those that the images trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<CaSecret>,
    /// Our certificate, for servers that verify their clients, as in a Secret of type kubernetes.io/tls. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
    /// Whether TLS begins before the server's first line, as servers with handshake_first in their configuration ask.
    /// Default false.
    #[serde(default)]
    pub handshake_first: bool,
}

/// Where authorities are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaSecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key of the certificates in it. Default ca.crt.
    #[serde(default = "ca")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// Where a certificate and its key are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// Name of the Secret; its keys are tls.crt and tls.key.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
}

fn nkey() -> String {
    "nkey".to_owned()
}
fn token() -> String {
    "token".to_owned()
}
fn username() -> String {
    "username".to_owned()
}
fn password() -> String {
    "password".to_owned()
}
fn ca() -> String {
    "ca.crt".to_owned()
}
