//! Who clients are and what they may hear: tokens, their keys, and rules for channels.
//!
//! Nothing secret stands here: keys are paths of files, and what they lead to is read again whenever it changes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Millis, is_pattern};

/// Most files with keys: two for each of a few issuers while they rotate.
pub const MAX_KEY_FILES: usize = 16;

/// Most rules for channels.
pub const MAX_CHANNEL_RULES: usize = 64;

/// Most conditions of one rule.
pub const MAX_CONDITIONS: usize = 8;

/// Most channels that clients without a token may hear.
pub const MAX_ANONYMOUS_CHANNELS: usize = 64;

/// Longest name of a claim, issuer or audience (bytes).
pub const MAX_CLAIM_BYTES: usize = 255;

/// Longest name of a cookie (bytes).
const MAX_COOKIE_NAME: usize = 64;

/// How far the issuer's clock may differ from ours: clocks differ by seconds, and more than this makes lifetimes
/// meaningless.
pub const JWT_LEEWAY: RangeInclusive<Millis> = Millis(0)..=Millis::from_secs(600);

/// Longest time for which a token may be valid.
pub const JWT_LIFETIME: RangeInclusive<Millis> =
    Millis::from_secs(1)..=Millis::from_secs(366 * 86_400);

/// Time between two requests for keys that are not wanted by a token.
pub const JWKS_REFRESH: RangeInclusive<Millis> = Millis::from_secs(10)..=Millis::from_secs(86_400);

/// Who clients are, and what they may hear. A configuration without it lets everybody hear everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Auth {
    /// How tokens are verified.
    pub jwt: Jwt,
    /// What clients without a token may hear. Absent: they are refused with 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// What clients with a token may hear, beyond what their token says. Without rules and without
    /// [`Jwt::channels_claim`] and [`Jwt::set_channels_claim`], everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelRule>,
}

/// How tokens (RFC 7519, signed: RFC 7515) are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// Files with keys. A token is verified by the key that its `kid` names, or by each key that names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyFile>,
    /// Where more keys are fetched from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// Algorithms that tokens may be signed with, one at least. What a token says of itself chooses among them only.
    pub algorithms: Vec<Algorithm>,
    /// The only issuer (`iss`) whose tokens are accepted. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A token must be meant (`aud`) for one of these. Empty: a token for anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// Name of a cookie with the token, for requests that show it nowhere else. Needs `listener.allowedOrigins`: browsers
    /// send cookies with requests of any page. Absent: cookies are not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Claim with the name of the user, for limits per user and `wsgw disconnect`.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// Claim with the patterns that the token's holder may hear. Absent: no claim is read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels_claim: Option<String>,
    /// Claim with the patterns that the token's holder is subscribed to without asking, and may hear. Absent: no claim is
    /// read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_channels_claim: Option<String>,
    /// How far the issuer's clock may differ from ours (ms).
    #[serde(default = "leeway")]
    pub leeway: Millis,
    /// Longest time from `iat`, or from now without one, to `exp` (ms); a token with more, or without `exp`, is refused.
    /// Absent: any, also for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Millis>,
}

/// A file with keys: PEM with one public key, a JWK or JWKS, or else the bytes of a secret for HMAC (a line break at its
/// end is no part of it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFile {
    /// Absolute path.
    pub file: PathBuf,
    /// `kid` of tokens that this key verifies. Absent: the JWK's own, or for tokens that name no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Where an issuer publishes its keys (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwks {
    /// `https://` address, or `http://` inside the cluster.
    pub url: String,
    /// File with the authorities (PEM) that the server's certificate is checked with, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Time between two requests (ms). A token with an unknown `kid` leads to one earlier.
    #[serde(default = "refresh")]
    pub refresh: Millis,
}

/// How a token is signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of the RFC")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];
}

/// What clients without a token may hear.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anonymous {
    /// Patterns of channels.
    pub channels: Vec<String>,
}

/// A rule for the channels of clients with a token. What any rule denies is denied; else what any rule allows is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelRule {
    /// A pattern, in which `{sub}` and `{claims.NAME}` stand for what the token says, such as `user.{sub}.>`. A token
    /// that does not say it, or says something that is no single part of a channel's name, is not affected by the rule;
    /// but one that a denying rule needs the claim of is refused those channels whatever the claim (the place counts as
    /// `*`).
    pub r#match: String,
    /// Whether the rule denies what it matches, instead of allowing it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deny: bool,
    /// Whether clients are subscribed to it without asking.
    #[serde(default, skip_serializing_if = "is_false")]
    pub set: bool,
    /// Claims that the token must have for the rule to count, each with this value, or among others if it is a list.
    #[serde(default, rename = "if", skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}
fn user_claim() -> String {
    "sub".to_owned()
}
fn leeway() -> Millis {
    Millis::from_secs(30)
}
fn refresh() -> Millis {
    Millis::from_secs(300)
}

impl Jwt {
    /// Verification by these files, with every default.
    pub fn new(keys: Vec<KeyFile>, algorithms: Vec<Algorithm>) -> Self {
        Self {
            keys,
            jwks: None,
            algorithms,
            issuer: None,
            audience: Vec::new(),
            cookie: None,
            user_claim: user_claim(),
            channels_claim: None,
            set_channels_claim: None,
            leeway: leeway(),
            max_lifetime: None,
        }
    }
}

impl Auth {
    /// Refuses values that have the right type but cannot work.
    pub(super) fn check(&self, allowed_origins: &[String]) -> Result<(), ConfigError> {
        self.jwt.check()?;
        if self.jwt.cookie.is_some() && allowed_origins.is_empty() {
            let message = "needs listener.allowedOrigins: browsers send cookies with requests of any page, so that each could \
                           connect as its visitors";
            return Err(ConfigError::value("auth.jwt.cookie", message));
        }
        let anonymous = self.anonymous.as_ref().map_or(&[][..], |anonymous| &anonymous.channels);
        at_most("auth.anonymous.channels", anonymous.len(), MAX_ANONYMOUS_CHANNELS)?;
        for (n, pattern) in anonymous.iter().enumerate() {
            if !is_pattern(pattern) {
                let path = format!("auth.anonymous.channels[{n}]");
                return Err(ConfigError::value(path, no_pattern(pattern)));
            }
        }
        at_most("auth.channels", self.channels.len(), MAX_CHANNEL_RULES)?;
        self.channels.iter().enumerate().try_for_each(|(n, rule)| rule.check(n))?;
        if self.allows_nothing() {
            let message = "only denies, so that nobody with a token could hear anything: add a rule that allows, such as \
                           match: '>' for the rest, or set auth.jwt.channelsClaim";
            return Err(ConfigError::value("auth.channels", message));
        }
        Ok(())
    }

    /// Whether a token alone allows everything: neither a rule nor a claim says which channels.
    pub fn is_open(&self) -> bool {
        self.channels.is_empty() && !self.jwt.names_channels()
    }

    /// Whether nothing is allowed, whatever a token says.
    fn allows_nothing(&self) -> bool {
        !self.is_open() && !self.jwt.names_channels() && self.channels.iter().all(|rule| rule.deny)
    }
}

impl Jwt {
    /// Whether a claim says which channels a token's holder may hear.
    fn names_channels(&self) -> bool {
        self.channels_claim.is_some() || self.set_channels_claim.is_some()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.keys.is_empty() && self.jwks.is_none() {
            let message =
                "name a file with a key, or auth.jwt.jwks: without one no token can be verified";
            return Err(ConfigError::value("auth.jwt.keys", message));
        }
        at_most("auth.jwt.keys", self.keys.len(), MAX_KEY_FILES)?;
        for (n, key) in self.keys.iter().enumerate() {
            absolute(&format!("auth.jwt.keys[{n}].file"), &key.file)?;
            if let Some(id) = &key.id {
                name(&format!("auth.jwt.keys[{n}].id"), id)?;
            }
        }
        if let Some(jwks) = &self.jwks {
            jwks.check()?;
        }
        if self.algorithms.is_empty() {
            let message = "name what tokens are signed with, such as RS256: it is never taken from the token alone";
            return Err(ConfigError::value("auth.jwt.algorithms", message));
        }
        if let Some(cookie) = self.cookie.as_ref().filter(|cookie| !is_cookie_name(cookie)) {
            let message =
                format!("must be the name of a cookie, such as __Host-token; got {cookie:?}");
            return Err(ConfigError::value("auth.jwt.cookie", message));
        }
        name("auth.jwt.userClaim", &self.user_claim)?;
        for (path, value) in [
            ("auth.jwt.issuer", &self.issuer),
            ("auth.jwt.channelsClaim", &self.channels_claim),
            ("auth.jwt.setChannelsClaim", &self.set_channels_claim),
        ] {
            value.as_deref().map_or(Ok(()), |value| name(path, value))?;
        }
        at_most("auth.jwt.audience", self.audience.len(), MAX_KEY_FILES)?;
        for (n, audience) in self.audience.iter().enumerate() {
            name(&format!("auth.jwt.audience[{n}]"), audience)?;
        }
        within("auth.jwt.leeway", self.leeway, &JWT_LEEWAY)?;
        self.max_lifetime
            .map_or(Ok(()), |longest| within("auth.jwt.maxLifetime", longest, &JWT_LIFETIME))
    }
}

impl Jwks {
    fn check(&self) -> Result<(), ConfigError> {
        let rest = self.url.strip_prefix("https://").or_else(|| self.url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\^`{|}".contains(c);
        if host.is_empty() || self.url.len() > 1_024 || !self.url.chars().all(plain) {
            let message = "must be the address of a JWKS, such as https://issuer.example/.well-known/jwks.json";
            return Err(ConfigError::value("auth.jwt.jwks.url", message));
        }
        if host.contains('@') {
            let message = "must hold no user or password, since it is shown";
            return Err(ConfigError::value("auth.jwt.jwks.url", message));
        }
        if let Some(file) = &self.ca_file {
            absolute("auth.jwt.jwks.caFile", file)?;
        }
        within("auth.jwt.jwks.refresh", self.refresh, &JWKS_REFRESH)
    }
}

impl ChannelRule {
    fn check(&self, n: usize) -> Result<(), ConfigError> {
        let path = |field: &str| format!("auth.channels[{n}].{field}");
        if !is_rule_template(&self.r#match) {
            let message = format!(
                "must be a pattern, in which {{sub}} and {{claims.NAME}} may stand for what the token says, such as \
                 user.{{sub}}.>; got {:?}",
                self.r#match
            );
            return Err(ConfigError::value(path("match"), message));
        }
        if self.set && self.deny {
            let message = "cannot be together with deny: nobody is subscribed to what is denied";
            return Err(ConfigError::value(path("set"), message));
        }
        at_most(&path("if"), self.when.len(), MAX_CONDITIONS)?;
        for (claim, value) in &self.when {
            name(&path("if"), claim)?;
            name(&path("if"), value)?;
        }
        Ok(())
    }
}

/// Whether this is a pattern in which `{sub}` and `{claims.NAME}` stand for what a token says.
pub fn is_rule_template(text: &str) -> bool {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((place, after)) = behind.split_once('}') else { return false };
        let claim = if place == "sub" { Some("sub") } else { place.strip_prefix("claims.") };
        let known = claim.is_some_and(|claim| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_:/.".contains(c);
            !claim.is_empty() && claim.chars().all(plain)
        });
        if !known {
            return false;
        }
        filled.push_str(before);
        filled.push('x');
        rest = after;
    }
    filled.push_str(rest);
    text.len() <= MAX_CLAIM_BYTES && !filled.contains(['{', '}']) && is_pattern(&filled)
}

/// Whether a cookie can have this name (RFC 6265: a token of HTTP; without the quote, which the CRD cannot spell).
pub fn is_cookie_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&*+-.^_`|~".contains(c);
    (1..=MAX_COOKIE_NAME).contains(&name.len()) && name.chars().all(plain)
}

fn no_pattern(text: &str) -> String {
    format!("must be a pattern of channels, such as public.>; got {text:?}")
}

fn at_most(path: &str, count: usize, most: usize) -> Result<(), ConfigError> {
    let message = || format!("must be at most {most}; got {count}");
    if count > most { Err(ConfigError::value(path, message())) } else { Ok(()) }
}

fn absolute(path: &str, file: &Path) -> Result<(), ConfigError> {
    if file.is_absolute() {
        return Ok(());
    }
    Err(ConfigError::value(path, format!("must be an absolute path; got {}", file.display())))
}

fn name(path: &str, value: &str) -> Result<(), ConfigError> {
    let good =
        !value.is_empty() && value.len() <= MAX_CLAIM_BYTES && !value.contains(char::is_control);
    let message = || format!("must have 1 to {MAX_CLAIM_BYTES} bytes without control characters");
    if good { Ok(()) } else { Err(ConfigError::value(path, message())) }
}

fn within(path: &str, value: Millis, bounds: &RangeInclusive<Millis>) -> Result<(), ConfigError> {
    let (least, most) = (bounds.start().0, bounds.end().0);
    let message = || format!("must be {least} to {most} ms; got {}", value.0);
    if bounds.contains(&value) { Ok(()) } else { Err(ConfigError::value(path, message())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth {
        let key = KeyFile { file: "/keys/0".into(), id: None };
        let jwt = Jwt::new(vec![key], vec![Algorithm::RS256]);
        Auth { jwt, anonymous: None, channels: Vec::new() }
    }

    fn rule(template: &str) -> ChannelRule {
        ChannelRule { r#match: template.to_owned(), ..ChannelRule::default() }
    }

    #[test]
    fn a_template_is_a_pattern_with_places_for_claims() {
        for (text, good) in [
            ("user.{sub}.>", true),
            ("desk.{claims.desk}.*", true),
            ("{claims.https://example/desk}", true),
            ("a-{sub}-{claims.b}", true),
            ("public.>", true),
            ("user.{name}.>", false),
            ("user.{claims.}.>", false),
            ("user.{sub", false),
            ("user.sub}", false),
            ("user.{{sub}}", false),
            ("user..{sub}", false),
            ("", false),
        ] {
            assert_eq!(is_rule_template(text), good, "{text:?}");
        }
    }

    type Change<'a> = &'a dyn Fn(&mut Auth);

    #[test]
    fn what_cannot_work_is_refused_with_its_path() {
        assert_eq!(auth().check(&[]), Ok(()));
        let jwks = |url: &str| Jwks { url: url.to_owned(), ca_file: None, refresh: refresh() };
        let change = |change: &dyn Fn(&mut Auth)| {
            let mut auth = auth();
            change(&mut auth);
            auth.check(&[]).unwrap_err().to_string()
        };
        let cases: [(&str, Change<'_>); 17] = [
            ("auth.jwt.keys: ", &|auth| auth.jwt.keys.clear()),
            ("auth.jwt.keys[0].file: ", &|auth| auth.jwt.keys[0].file = "key".into()),
            ("auth.jwt.keys[0].id: ", &|auth| auth.jwt.keys[0].id = Some(String::new())),
            ("auth.jwt.algorithms: ", &|auth| auth.jwt.algorithms.clear()),
            ("auth.jwt.issuer: ", &|auth| auth.jwt.issuer = Some("a\n".into())),
            ("auth.jwt.audience[0]: ", &|auth| auth.jwt.audience = vec!["x".repeat(256)]),
            ("auth.jwt.cookie: must be the name", &|auth| auth.jwt.cookie = Some("a=b".into())),
            ("auth.jwt.cookie: needs listener.allowedOrigins", &|auth| {
                auth.jwt.cookie = Some("__Host-token".into());
            }),
            ("auth.jwt.leeway: ", &|auth| auth.jwt.leeway = Millis(600_001)),
            ("auth.jwt.maxLifetime: ", &|auth| auth.jwt.max_lifetime = Some(Millis(1))),
            ("auth.jwt.jwks.url: ", &|auth| auth.jwt.jwks = Some(jwks("ftp://a"))),
            ("auth.jwt.jwks.url: ", &|auth| auth.jwt.jwks = Some(jwks("https://u:p@a/b"))),
            ("auth.anonymous.channels[0]: ", &|auth| {
                auth.anonymous = Some(Anonymous { channels: vec!["a..b".into()] });
            }),
            ("auth.channels[1].match: ", &|auth| auth.channels = vec![rule(">"), rule("{x}")]),
            ("auth.channels[0].set: ", &|auth| {
                auth.channels = vec![ChannelRule { set: true, deny: true, ..rule("a") }];
            }),
            ("auth.channels: ", &|auth| auth.channels = vec![rule("a"); 65]),
            ("auth.channels: only denies", &|auth| {
                auth.channels = vec![ChannelRule { deny: true, ..rule("a") }];
            }),
        ];
        for (path, case) in cases {
            let error = change(case);
            assert!(error.starts_with(path), "{path}: {error}");
        }
    }

    #[test]
    fn rules_that_only_deny_are_fine_where_tokens_allow() {
        let mut auth = auth();
        auth.channels = vec![ChannelRule { deny: true, ..rule("a") }];
        auth.jwt.channels_claim = Some("channels".into());
        assert_eq!(auth.check(&[]), Ok(()));
    }

    #[test]
    fn a_cookie_is_read_where_pages_are_listed() {
        let mut auth = auth();
        auth.jwt.cookie = Some("__Host-token".into());
        assert_eq!(auth.check(&["https://app.example.com".into()]), Ok(()));
    }

    #[test]
    fn a_file_names_algorithms_as_the_rfc_does_and_conditions_as_if() {
        let text = "jwt: { keys: [{ file: /k, id: a }], algorithms: [ES256, EdDSA] }\n\
                    channels: [{ match: 'desk.{claims.desk}.>', if: { role: trader } }]\n";
        let read: Auth = crate::yaml::from_str(text).unwrap();
        assert_eq!(read.jwt.algorithms, [Algorithm::ES256, Algorithm::EdDSA]);
        assert_eq!(read.channels[0].when["role"], "trader");
        assert!(crate::yaml::from_str::<Auth>(&text.replace("ES256", "none")).is_err());
    }
}
