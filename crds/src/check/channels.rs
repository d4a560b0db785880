//! Rules of the channels: each matches something, and gets its turn.

use wsgateway_config::{
    Delivery as Policy, MAX_BATCH_WINDOW, MAX_CHANNEL_RATE, MAX_DEDUPE_WINDOW, MAX_RULES, Rule,
    covers, is_message_type, is_pattern,
};

use super::errors::Errors;
use super::redis::could_begin_with;
use crate::cel::MAX_TOKENS;
use crate::spec::{ChannelRule, Delivery};
use crate::{WsGatewaySpec, subject};

pub(super) fn strip_prefix(spec: &WsGatewaySpec, errors: &mut Errors) -> String {
    const PATH: &str = "spec.channels.stripPrefix";
    let prefix = &spec.channels.strip_prefix;
    if !subject::is_prefix(prefix) {
        errors.refuse(
            PATH,
            "must be whole tokens without wildcards and end with a dot, such as odin.token.",
        );
    } else if !prefix.is_empty() {
        let beyond = format!("{prefix}>");
        errors.ensure(
            subjects(spec).is_none_or(|subjects| {
                subjects.iter().any(|subject| subject::overlap(subject, &beyond))
            }),
            PATH,
            "covers none of stream.subjects: make it the common beginning of some of them, such as odin.token. for \
             odin.token.>, or leave it empty",
        );
        errors.ensure(
            spec.redis.as_ref().is_none_or(|redis| could_begin_with(redis, prefix)),
            PATH,
            "no channel of redis.channels begins so: colons become dots, so it is channel.trade. for channel:trade:*; \
             or leave it empty",
        );
    }
    prefix.clone()
}

/// The stream's subjects; None when messages come from Redis, whose channels are not told apart here.
fn subjects(spec: &WsGatewaySpec) -> Option<&[String]> {
    spec.stream.as_ref().map(|stream| stream.subjects.as_slice())
}

pub(super) fn rules(spec: &WsGatewaySpec, errors: &mut Errors) -> Vec<Rule> {
    const PATH: &str = "spec.channels.rules";
    let rules = &spec.channels.rules;
    if rules.len() > MAX_RULES {
        errors.refuse(PATH, format!("must be at most {MAX_RULES} rules; got {}", rules.len()));
        return Vec::new();
    }
    for (at, rule) in rules.iter().enumerate() {
        if let Err(message) = check_pattern(&rule.pattern, &rules[..at], spec) {
            errors.refuse(&format!("{PATH}[{at}].match"), message);
        }
    }
    rules
        .iter()
        .enumerate()
        .map(|(at, rule)| translate(rule, &format!("{PATH}[{at}]"), errors))
        .collect()
}

fn check_pattern(
    pattern: &str,
    earlier: &[ChannelRule],
    spec: &WsGatewaySpec,
) -> Result<(), String> {
    let prefix = &spec.channels.strip_prefix;
    if !is_pattern(pattern) || pattern.split('.').count() > MAX_TOKENS {
        return Err(format!(
            "write a channel as clients name it, with * for one token and > only as the last one, such as BTC.price, \
             *.price or log.> (at most {MAX_TOKENS} tokens)"
        ));
    }
    if let Some(rest) = pattern.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
        return Err(format!("channels do not begin with stripPrefix: leave it out, as in {rest}"));
    }
    if let Some(hiding) = earlier.iter().find(|rule| covers(&rule.pattern, pattern)) {
        return Err(format!(
            "{pattern} never gets its turn, since {} stands before it, matches all of it, and the first match wins: \
             move it up, or drop it",
            hiding.pattern
        ));
    }
    let matches_some =
        |subjects: &[String]| subjects.iter().any(|subject| could_match(pattern, subject, prefix));
    if !subjects(spec).is_none_or(matches_some) {
        return Err(format!(
            "{pattern} matches no channel of stream.subjects: name channels as clients do, which is BTC.price with \
             stripPrefix odin.token., and odin.token.BTC.price without"
        ));
    }
    Ok(())
}

/// Whether a pattern matches the channel of some message of this subject.
fn could_match(pattern: &str, subject: &str, prefix: &str) -> bool {
    match subject.strip_prefix(prefix) {
        Some(channel) => subject::overlap(pattern, channel),
        // Wildcards that reach over the prefix leave any channel behind it.
        None => {
            subject::overlap(subject, &format!("{prefix}>")) || subject::overlap(pattern, subject)
        }
    }
}

fn translate(rule: &ChannelRule, path: &str, errors: &mut Errors) -> Rule {
    let window = format!("{path}.batchWindow");
    let batch_window = errors.duration(&window, &rule.batch_window);
    errors.ensure(
        batch_window <= MAX_BATCH_WINDOW,
        &window,
        "must be at most 1s, or prices are stale before they leave: 50ms to 250ms saves most of what there is to save",
    );
    let window = format!("{path}.dedupeWindow");
    let dedupe_window = errors.duration(&window, &rule.dedupe_window);
    errors.ensure(
        dedupe_window <= MAX_DEDUPE_WINDOW,
        &window,
        "must be at most 10m: every nonce is remembered as long",
    );
    errors.ensure(
        rule.message_type.as_deref().is_none_or(is_message_type),
        &format!("{path}.type"),
        "write 1 to 64 letters, digits and . : _ - only, such as trade:executed",
    );
    let max_rate = rule.max_rate.map(|rate| {
        let path = format!("{path}.maxRate");
        errors.ensure(
            rule.delivery == Delivery::Latest,
            &path,
            "needs delivery: Latest, since what comes faster is left out: set it, or leave maxRate out",
        );
        errors.number(&path, rate, 1..=i32::from(MAX_CHANNEL_RATE))
    });
    Rule {
        r#match: rule.pattern.clone(),
        delivery: match rule.delivery {
            Delivery::Every => Policy::Every,
            Delivery::Latest => Policy::Latest,
        },
        batch_window,
        message_type: rule.message_type.clone(),
        dedupe_window,
        max_rate,
        flat: rule.flat,
    }
}
