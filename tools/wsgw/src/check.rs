//! `wsgw check`: is this manifest fine, and what does it amount to?

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

use wsgateway_config::{Auth, Delivery, Millis, Rule};
use wsgateway_crds::{SECRET_ALLOW, ValidGateway, ValidSource};

use crate::cli::Check;
use crate::error::Error;
use crate::manifest::Manifest;

pub(crate) fn run(options: &Check) -> Result<(), Error> {
    let mut errors = Vec::new();
    for path in &options.file {
        let manifest = match Manifest::read(path) {
            Ok(manifest) => manifest,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for gateway in manifest.gateways() {
            match gateway {
                Ok(gateway) => {
                    write!(std::io::stdout(), "{}: {}", manifest.name, summary(&gateway))?;
                }
                Err(error) => errors.push(error),
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Several(errors)) }
}

/// What follows from the manifest, where a number set in haste shows.
fn summary(gateway: &ValidGateway) -> String {
    let (limits, derived) = (&gateway.limits, &gateway.derived);
    let source = match &gateway.source {
        ValidSource::Nats(nats) => {
            format!("stream {} of {}", nats.stream.name, nats.stream.subjects.join(", "))
        }
        ValidSource::Redis(redis) => format!("Redis channels {}", redis.channels.join(", ")),
    };
    let given = &gateway.pod.resources;
    let memory = format!(
        "memory {} requested, {} at most",
        bytes(given.memory_request.unwrap_or(derived.memory_request)),
        bytes(derived.memory_limit)
    );
    let mut text = format!(
        "WsGateway {} is valid: {source}\n\
         \x20 pods    {} connections each, of up to {} subscriptions; {memory}\n\
         \x20 slow    {} may wait for one client, {} for all of a pod; closed after {} above half\n\
         \x20 history {} messages of {} at most, for {}; what is older is looked up in the stream\n",
        gateway.name,
        derived.connections,
        limits.subscriptions,
        bytes(limits.outbox_bytes.into()),
        bytes(derived.outbox_bytes),
        time(limits.slow_consumer.grace),
        limits.history.messages,
        bytes(limits.history.bytes),
        time(limits.history.age),
    );
    if let Some(line) = secrets(gateway) {
        text.push_str(&line);
    }
    if let Some(auth) = &gateway.auth {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  auth    {}", who(&auth.config));
    }
    let width = gateway.rules.iter().map(|rule| rule.r#match.chars().count()).max();
    for (at, rule) in gateway.rules.iter().enumerate() {
        let label = if at == 0 { "rules" } else { "" };
        let width = width.unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {label:<7} {:<width$}  {}", rule.r#match, treatment(rule));
    }
    text
}

/// Which Secrets have to exist, and how they are allowed.
fn secrets(gateway: &ValidGateway) -> Option<String> {
    let names: BTreeSet<String> =
        gateway.files().into_iter().map(|file| file.source.name).collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names.into_iter().collect();
    let names = names.join(" ");
    Some(format!(
        "  secrets {names}, which need a label: kubectl label secret {names} {SECRET_ALLOW}=true\n"
    ))
}

/// Who may connect and what they may hear, in words: a list that says nothing is easily taken for one that allows nothing.
fn who(auth: &Auth) -> String {
    let keys = match (auth.jwt.keys.len(), &auth.jwt.jwks) {
        (keys, None) => format!("{keys} keys"),
        (0, Some(jwks)) => format!("the keys of {}", jwks.url),
        (keys, Some(jwks)) => format!("{keys} keys and those of {}", jwks.url),
    };
    let claims = [&auth.jwt.channels_claim, &auth.jwt.set_channels_claim];
    let mut allowed: Vec<String> = claims
        .into_iter()
        .flatten()
        .map(|claim| format!("what their claim {claim} says"))
        .collect();
    match auth.channels.len() {
        0 if auth.is_open() => allowed.push("everything".to_owned()),
        0 => {}
        rules => allowed.push(format!("what {rules} rules allow")),
    }
    let allowed = allowed.join(" and ");
    let others = match auth.anonymous.as_ref().map(|anonymous| anonymous.channels.as_slice()) {
        None => "are refused".to_owned(),
        Some([]) => "may connect and hear nothing".to_owned(),
        Some(channels) => format!("hear {}", channels.join(", ")),
    };
    format!("tokens by {keys} hear {allowed}; clients without one {others}")
}

fn treatment(rule: &Rule) -> String {
    let delivery = match rule.delivery {
        Delivery::Every => "every message",
        Delivery::Latest => "the latest when slow",
    };
    if rule.batch_window == Millis(0) {
        return delivery.to_owned();
    }
    format!("{delivery}, gathered for up to {}", time(rule.batch_window))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn time(time: Millis) -> String {
    if time.0.is_multiple_of(1_000) {
        format!("{} s", time.0 / 1_000)
    } else {
        format!("{} ms", time.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_sample(name: &str) -> String {
        let file = format!("{}/../../manifests/samples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        summary(&Manifest::read(&file).unwrap().gateway().unwrap())
    }

    #[test]
    fn limits_memory_and_rules_are_told() {
        insta::assert_snapshot!(of_sample("tickers"));
    }

    #[test]
    fn secrets_are_named_with_the_command_that_allows_them() {
        let told = of_sample("managed-nats");
        let names = "odin-nats odin-nats-ca odin-nats-client";
        let line = format!(
            "  secrets {names}, which need a label: kubectl label secret {names} wsgateway.dev/allow=true\n"
        );
        assert!(told.contains(&line), "{told}");
        assert!(!of_sample("odin").contains("secrets"));
    }

    #[test]
    fn a_memory_limit_of_the_users_own_moves_the_budgets_inside() {
        insta::assert_snapshot!(of_sample("odin-autoscaled"));
    }
}
