//! Who clients are, and what they may hear.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use wsgateway_config::Algorithm;

use super::CaSecret;

/// Who clients are, and what they may hear.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.channels) || self.channels.size() == 0 || has(self.jwt.channelsClaim) || \
     has(self.jwt.setChannelsClaim) || self.channels.exists(rule, !rule.deny)"
).message(
    "auth.channels only denies, so that nobody with a token could hear anything: add a rule that allows, such as match: \">\" \
     for the rest, or set jwt.channelsClaim"
))]
pub struct Auth {
    /// How tokens are verified.
    pub jwt: Jwt,
    /// What clients without a token may hear. Default: they are refused with 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// What clients with a token may hear, beyond what their token says by jwt.channelsClaim and jwt.setChannelsClaim (at
    /// most 64 rules). What any rule denies is denied, else what any rule allows is allowed. Default: without these claims
    /// everything, with one of them what it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub channels: Vec<AuthRule>,
}

/// How tokens are verified: JSON Web Tokens (RFC 7519) with a signature.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.jwks) || (has(self.keys) && self.keys.size() > 0)").message(
    "auth.jwt needs keys, or jwks: without one no token can be verified, so name a Secret with a key in keys, or where the \
     issuer publishes its keys in jwks.url"
))]
pub struct Jwt {
    /// Keys in Secrets of this namespace (at most 16). A token is verified by the key that its kid names, or by each key
    /// without an id. A changed Secret reaches the pods without a restart; another Secret or key of a Secret is a new
    /// file, for which they are replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new(
        "self.all(a, self.exists_one(b, a.secret.name == b.secret.name && a.secret.key == b.secret.key))"
    ).message("auth.jwt.keys names a key of a Secret twice: drop one"))]
    pub keys: Vec<JwtKey>,
    /// Where the issuer publishes more keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// Algorithms that tokens may be signed with, such as RS256 (at least one). A key of another type than the token's
    /// algorithm is never used, whatever the token says.
    #[schemars(schema_with = "crate::schema::auth::algorithms")]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message(
        "auth.jwt.algorithms names an algorithm twice: drop one"
    ))]
    pub algorithms: Vec<Algorithm>,
    /// The only issuer (iss) whose tokens are accepted, such as https://login.example.com/. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::auth::issuer")]
    pub issuer: Option<String>,
    /// A token must be meant (aud) for one of these (at most 16). Default: it may be meant for anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::auth::audience")]
    pub audience: Vec<String>,
    /// Name of a cookie with the token, such as __Host-token, for clients that show it nowhere else: pages of
    /// listener.allowedOrigins, which it needs. Requests without an Origin are refused with it. Default: cookies are not
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::auth::cookie")]
    pub cookie: Option<String>,
    /// Claim with the name of the user, for limits per user. Default sub.
    #[serde(default = "sub")]
    #[schemars(schema_with = "crate::schema::auth::claim")]
    pub user_claim: String,
    /// Claim with the patterns of channels that its holder may hear, such as channels. Default: no claim is read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::auth::claim")]
    pub channels_claim: Option<String>,
    /// Claim with the patterns of channels that its holder is subscribed to without asking (at most 32), and may hear. A
    /// token with anything else in it is refused. Default: no claim is read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::auth::claim")]
    pub set_channels_claim: Option<String>,
    /// How far the issuer's clock may differ from ours, such as 30s; 0 to 10m. Default 30s.
    #[serde(default = "thirty_seconds")]
    #[schemars(schema_with = "crate::schema::duration_or_none")]
    #[x_kube(validation = Rule::new("self == '0' || duration(self) <= duration('10m')").message(
        "auth.jwt.leeway must be at most 10m, or expired tokens are of use for too long: clocks differ by seconds"
    ))]
    pub leeway: String,
    /// Longest time from iat, or from now without one, to exp, such as 24h; 1s to 8784h. A token with more, or without
    /// exp, is refused. Default: any, also for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('8784h')").message(
        "auth.jwt.maxLifetime must be 1s to 8784h (366 days): leave it out for tokens that never expire"
    ))]
    pub max_lifetime: Option<String>,
}

/// A key that verifies tokens.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JwtKey {
    /// Secret with the key: a public key (PEM), a JWK or JWKS, or else the bytes of a secret for HMAC, at least 32 random
    /// ones. It needs the label wsgateway.dev/allow=true.
    pub secret: KeySecret,
    /// kid of the tokens that it verifies. Default: the JWK's own, or tokens that name no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::auth::key_id")]
    pub id: Option<String>,
}

/// A key of a Secret in the namespace of the WsGateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeySecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key in it, such as key.pem.
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

/// Where an issuer publishes its keys (RFC 7517).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Jwks {
    /// Address of the keys, such as https://login.example.com/.well-known/jwks.json; http:// inside the cluster only. The
    /// pods fetch it. While it does not answer they go on with the keys that they have.
    #[schemars(schema_with = "crate::schema::auth::jwks_url")]
    pub url: String,
    /// Authorities, as PEM, that the server's certificate must come from. It needs the label wsgateway.dev/allow=true.
    /// Default: those that the image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<CaSecret>,
    /// Time between two requests, such as 5m; 10s to 24h. A token with an unknown kid leads to one earlier. Default 5m.
    #[serde(default = "five_minutes")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message(
        "auth.jwt.jwks.refresh must be 10s to 24h; 5m follows a rotation soon enough, since unknown keys are asked for earlier"
    ))]
    pub refresh: String,
}

/// What clients without a token may hear.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Anonymous {
    /// Patterns of channels, such as public.> (at most 64). With an empty list they may connect, and hear nothing until
    /// they send a token. Clients with a token hear them only if their token or a rule says so as well.
    #[schemars(schema_with = "crate::schema::auth::anonymous_channels")]
    pub channels: Vec<String>,
}

/// A rule for the channels of clients with a token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.deny || !self.set").message(
    "auth.channels[].set cannot be together with deny, since nobody is subscribed to what is denied: drop one of them"
))]
pub struct AuthRule {
    /// Pattern of channels, in which {sub} and {claims.NAME} stand for what the token says, such as user.{sub}.> or
    /// desk.{claims.desk}.*. A token without that claim, or with one that is no single part of a channel's name, is not
    /// affected by the rule; where the rule denies, it counts as *.
    #[serde(rename = "match")]
    #[schemars(schema_with = "crate::schema::auth::rule_template")]
    pub template: String,
    /// Whether the rule denies what it matches, instead of allowing it. Default false.
    #[serde(default)]
    pub deny: bool,
    /// Whether clients are subscribed to it without asking. Default false.
    #[serde(default)]
    pub set: bool,
    /// Claims that the token must have for the rule to count, each with this value, or with it among others if it is a
    /// list, such as role: trader (at most 8). Default: none.
    #[serde(default, rename = "if", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::auth::conditions")]
    pub when: BTreeMap<String, String>,
}

fn sub() -> String {
    "sub".to_owned()
}
fn thirty_seconds() -> String {
    "30s".to_owned()
}
fn five_minutes() -> String {
    "5m".to_owned()
}
