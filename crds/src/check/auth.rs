//! Rules of who clients are, and what they may hear.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wsgateway_config::{
    Algorithm, Anonymous, Auth, ChannelRule, JWKS_REFRESH, JWT_LEEWAY, JWT_LIFETIME, Jwks, Jwt,
    KeyFile, MAX_ANONYMOUS_CHANNELS, MAX_CHANNEL_RULES, MAX_CLAIM_BYTES, MAX_CONDITIONS,
    MAX_KEY_FILES, is_cookie_name, is_pattern, is_rule_template,
};

use super::errors::Errors;
use super::names::is_http_address;
use super::nats::secret_key;
use crate::{AUTH_FOLDER, SecretFile, SecretKey, ValidAuth, WsGatewaySpec, spec};

const JWT: &str = "spec.auth.jwt";

/// Longest value of a condition in characters.
const MOST_VALUE: usize = 63;

/// What the path of an address may have, with a query.
const URL: &str = "-._~/%:@!$&*+,;=?()";

pub(super) fn auth(spec: &WsGatewaySpec, errors: &mut Errors) -> Option<ValidAuth> {
    let auth = spec.auth.as_ref()?;
    let mut secrets = Vec::new();
    let is_deny_only = auth.jwt.channels_claim.is_none()
        && auth.jwt.set_channels_claim.is_none()
        && !auth.channels.is_empty()
        && auth.channels.iter().all(|rule| rule.deny);
    errors.ensure(
        !is_deny_only,
        "spec.auth.channels",
        "only denies, so that nobody with a token could hear anything: add a rule that allows, such as match: \">\" for the \
         rest, or set jwt.channelsClaim",
    );
    errors.ensure(
        auth.jwt.cookie.is_none() || !spec.listener.allowed_origins.is_empty(),
        "spec.auth.jwt.cookie",
        "needs listener.allowedOrigins, since browsers send cookies with requests of any page, so that each could connect as \
         its visitors: list the origins of your pages",
    );
    let config = Auth {
        jwt: jwt(&auth.jwt, &mut secrets, errors),
        anonymous: auth.anonymous.as_ref().map(|given| anonymous(given, errors)),
        channels: rules(&auth.channels, errors),
    };
    let mut seen = BTreeSet::new();
    secrets.retain(|secret: &SecretKey| seen.insert((secret.name.clone(), secret.key.clone())));
    let files = secrets.into_iter().map(|source| SecretFile { file: file(&source), source });
    Some(ValidAuth { config, files: files.collect() })
}

/// By the names of Secret and key: what is left when another key is removed keeps its path, so that running pods go on
/// reading it, and what is removed is read by none.
fn file(source: &SecretKey) -> String {
    format!("{}/{}", source.name, source.key)
}

fn path(source: &SecretKey) -> PathBuf {
    [AUTH_FOLDER, &source.name, &source.key].iter().collect()
}

fn jwt(jwt: &spec::Jwt, secrets: &mut Vec<SecretKey>, errors: &mut Errors) -> Jwt {
    errors.ensure(
        jwt.jwks.is_some() || !jwt.keys.is_empty(),
        JWT,
        "needs keys, or jwks: without one no token can be verified, so name a Secret with a key in keys, or where the issuer \
         publishes its keys in jwks.url",
    );
    errors.ensure(
        jwt.cookie.as_deref().is_none_or(is_cookie_name),
        &format!("{JWT}.cookie"),
        "must be the name of a cookie, such as __Host-token: letters, digits and - . _",
    );
    name("issuer", jwt.issuer.as_deref(), errors);
    name("userClaim", Some(&jwt.user_claim), errors);
    name("channelsClaim", jwt.channels_claim.as_deref(), errors);
    name("setChannelsClaim", jwt.set_channels_claim.as_deref(), errors);
    at_most(&format!("{JWT}.audience"), jwt.audience.len(), MAX_KEY_FILES, errors);
    jwt.audience.iter().for_each(|audience| name("audience", Some(audience), errors));
    let distinct: BTreeSet<&String> = jwt.audience.iter().collect();
    let is_set = distinct.len() == jwt.audience.len();
    errors.ensure(is_set, &format!("{JWT}.audience"), "names one twice: drop one");
    Jwt {
        keys: keys(&jwt.keys, secrets, errors),
        jwks: jwt.jwks.as_ref().map(|given| jwks(given, secrets, errors)),
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        cookie: jwt.cookie.clone(),
        user_claim: jwt.user_claim.clone(),
        channels_claim: jwt.channels_claim.clone(),
        set_channels_claim: jwt.set_channels_claim.clone(),
        leeway: errors.duration_within(
            &format!("{JWT}.leeway"),
            &jwt.leeway,
            JWT_LEEWAY,
            "must be at most 10m, or expired tokens are of use for too long: clocks differ by seconds",
        ),
        max_lifetime: jwt.max_lifetime.as_ref().map(|text| {
            let message = "must be 1s to 8784h (366 days): leave it out for tokens that never expire";
            errors.duration_within(&format!("{JWT}.maxLifetime"), text, JWT_LIFETIME, message)
        }),
        ..Jwt::new(Vec::new(), algorithms(&jwt.algorithms, errors))
    }
}

fn keys(keys: &[spec::JwtKey], secrets: &mut Vec<SecretKey>, errors: &mut Errors) -> Vec<KeyFile> {
    at_most(&format!("{JWT}.keys"), keys.len(), MAX_KEY_FILES, errors);
    let distinct: BTreeSet<_> =
        keys.iter().map(|key| (&key.secret.name, &key.secret.key)).collect();
    errors.ensure(
        distinct.len() == keys.len(),
        &format!("{JWT}.keys"),
        "names a key of a Secret twice: drop one",
    );
    let file = |(at, given): (usize, &spec::JwtKey)| {
        let below = format!("keys[{at}]");
        name(&format!("{below}.id"), given.id.as_deref(), errors);
        let (name, key) = (&given.secret.name, given.secret.key.as_str());
        let secret = secret_key(&format!("{JWT}.{below}.secret"), name, ("key", key), errors);
        let file = path(&secret);
        secrets.push(secret);
        KeyFile { file, id: given.id.clone() }
    };
    keys.iter().enumerate().map(file).collect()
}

fn jwks(given: &spec::Jwks, secrets: &mut Vec<SecretKey>, errors: &mut Errors) -> Jwks {
    errors.ensure(
        is_http_address(&given.url, 1_024, URL),
        "spec.auth.jwt.jwks.url",
        "write the address of the issuer's keys, such as https://login.example.com/.well-known/jwks.json, without user or \
         password",
    );
    let ca_file = given.ca_secret.as_ref().map(|secret| {
        let key = ("key", secret.key.as_str());
        let secret = secret_key("spec.auth.jwt.jwks.caSecret", &secret.name, key, errors);
        let file = path(&secret);
        secrets.push(secret);
        file
    });
    Jwks {
        url: given.url.clone(),
        ca_file,
        refresh: errors.duration_within(
            "spec.auth.jwt.jwks.refresh",
            &given.refresh,
            JWKS_REFRESH,
            "must be 10s to 24h; 5m follows a rotation soon enough, since unknown keys are asked for earlier",
        ),
    }
}

fn algorithms(given: &[Algorithm], errors: &mut Errors) -> Vec<Algorithm> {
    const PATH: &str = "spec.auth.jwt.algorithms";
    errors.ensure(
        !given.is_empty(),
        PATH,
        "name what tokens are signed with, such as RS256: it is never taken from the token alone",
    );
    let twice = given.iter().enumerate().any(|(at, one)| given[..at].contains(one));
    errors.ensure(!twice, PATH, "names an algorithm twice: drop one");
    given.to_vec()
}

fn anonymous(given: &spec::Anonymous, errors: &mut Errors) -> Anonymous {
    const PATH: &str = "spec.auth.anonymous.channels";
    at_most(PATH, given.channels.len(), MAX_ANONYMOUS_CHANNELS, errors);
    for (at, channel) in given.channels.iter().enumerate() {
        errors.ensure(
            is_pattern(channel),
            &format!("{PATH}[{at}]"),
            "write a channel as clients name it, with * for one token and > only as the last one, such as public.>",
        );
    }
    let distinct: BTreeSet<&String> = given.channels.iter().collect();
    errors.ensure(distinct.len() == given.channels.len(), PATH, "names one twice: drop one");
    Anonymous { channels: given.channels.clone() }
}

fn rules(rules: &[spec::AuthRule], errors: &mut Errors) -> Vec<ChannelRule> {
    at_most("spec.auth.channels", rules.len(), MAX_CHANNEL_RULES, errors);
    rules.iter().enumerate().map(|(at, given)| rule(at, given, errors)).collect()
}

fn rule(at: usize, rule: &spec::AuthRule, errors: &mut Errors) -> ChannelRule {
    let path = |field: &str| format!("spec.auth.channels[{at}].{field}");
    errors.ensure(
        is_rule_template(&rule.template),
        &path("match"),
        "write a channel as clients name it, in which {sub} and {claims.NAME} stand for what the token says, such as \
         user.{sub}.> or desk.{claims.desk}.* (at most 16 tokens)",
    );
    errors.ensure(
        !rule.deny || !rule.set,
        &path("set"),
        "cannot be together with deny, since nobody is subscribed to what is denied: drop one of them",
    );
    at_most(&path("if"), rule.when.len(), MAX_CONDITIONS, errors);
    for (claim, value) in &rule.when {
        errors.ensure(
            is_name(claim),
            &path("if"),
            "names claims, such as role: 1 to 255 characters of printable ASCII",
        );
        let is_text =
            (1..=MOST_VALUE).contains(&value.chars().count()) && !value.contains(char::is_control);
        errors.ensure(is_text, &path("if"), "wants a text of 1 to 63 characters, such as trader");
    }
    ChannelRule {
        r#match: rule.template.clone(),
        deny: rule.deny,
        set: rule.set,
        when: rule.when.clone(),
    }
}

fn name(field: &str, given: Option<&str>, errors: &mut Errors) {
    errors.ensure(
        given.is_none_or(is_name),
        &format!("{JWT}.{field}"),
        "must be 1 to 255 characters of printable ASCII",
    );
}

fn is_name(text: &str) -> bool {
    (1..=MAX_CLAIM_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

fn at_most(path: &str, count: usize, most: usize, errors: &mut Errors) {
    if count > most {
        errors.refuse(path, format!("must be at most {most}; got {count}"));
    }
}
