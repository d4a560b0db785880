//! The handshake's two documents: what a server says of itself, and how a client introduces itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};

/// What a server says of itself, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Largest payload that it takes (bytes).
    pub max_payload: usize,
    /// Whether the rest of the conversation must be in TLS.
    pub tls_required: bool,
    /// What it wants signed.
    pub nonce: Option<String>,
    /// Addresses of its cluster, as `host:port`.
    pub connect_urls: Vec<String>,
    /// Its JetStream domain.
    pub domain: Option<String>,
    /// Whether it is about to stop.
    #[serde(rename = "ldm")]
    pub lame_duck_mode: bool,
}

impl ServerInfo {
    pub(super) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// How a client introduces itself. Absent fields are left out.
#[derive(Debug, Serialize)]
pub(super) struct Introduction<'a> {
    pub verbose: bool,
    pub pedantic: bool,
    pub tls_required: bool,
    pub name: &'a str,
    pub lang: &'static str,
    pub version: &'static str,
    pub protocol: u8,
    pub headers: bool,
    pub no_responders: bool,
    #[serde(flatten)]
    pub proof: Answer,
}

/// Who the client is, in the server's words.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nkey: Option<String>,
    /// The signature of the nonce.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "encoded")]
    pub sig: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_token: Option<String>,
}

/// For async-nats, which encodes the signature itself.
impl From<Answer> for async_nats::Auth {
    fn from(answer: Answer) -> Self {
        let Answer { jwt, nkey, sig, user, pass, auth_token } = answer;
        let mut auth = Self::new();
        (auth.jwt, auth.nkey, auth.signature) = (jwt, nkey, sig);
        (auth.username, auth.password, auth.token) = (user, pass, auth_token);
        auth
    }
}

/// As base64 without padding and safe in URLs.
#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn encoded<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).serialize(serializer)
}
