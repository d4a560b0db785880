//! Rules: the channels of a configuration, filled with what a token says.

use serde_json::Value;
use wsgateway_config::{ChannelRule, MAX_PATTERN_BYTES, is_pattern};

use crate::claims::{Claims, text};

/// What a rule matches for the holder of a token; `None` if it does not count for it.
pub(crate) fn filled(rule: &ChannelRule, claims: &Claims) -> Option<String> {
    if !rule.when.iter().all(|(claim, value)| says(claims.get(claim), value)) {
        return None;
    }
    let tokens = tokens(&rule.r#match);
    let tokens: Option<Vec<String>> = tokens
        .into_iter()
        .map(|token| match fill(token, claims) {
            // What the token does not say must not let its holder off: it is denied whatever could stand there.
            None if rule.deny => Some("*".to_owned()),
            filled => filled,
        })
        .collect();
    let pattern = tokens?.join(".");
    if is_pattern(&pattern) {
        return Some(pattern);
    }
    // Too long: no channel has such a name that a client could subscribe to, but wildcards could reach it.
    rule.deny.then(|| widened(&rule.r#match))
}

/// The tokens of a template. Names of claims may have dots in them.
fn tokens(template: &str) -> Vec<&str> {
    let mut depth = 0;
    let is_dot = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == '.' && depth == 0
    };
    template.split(is_dot).collect()
}

/// One token with its places filled; `None` if a claim is not there, or is no single plain token.
fn fill(token: &str, claims: &Claims) -> Option<String> {
    let (mut out, mut rest) = (String::new(), token);
    while let Some((before, behind)) = rest.split_once('{') {
        let (place, after) = behind.split_once('}')?;
        let claim = place.strip_prefix("claims.").unwrap_or(place);
        let value = claims.get(claim).and_then(text).filter(|value| is_plain(value))?;
        out.extend([before, &value]);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// A template with `*` for each token that has places.
fn widened(template: &str) -> String {
    let wide =
        tokens(template).into_iter().map(|token| if token.contains('{') { "*" } else { token });
    wide.collect::<Vec<_>>().join(".")
}

fn is_plain(value: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c);
    !value.is_empty() && value.len() <= MAX_PATTERN_BYTES && !value.contains(special)
}

/// Whether a claim has a value, or has it among others.
fn says(claim: Option<&Value>, wanted: &str) -> bool {
    let is_it = |value: &Value| match value {
        Value::Bool(value) => wanted == if *value { "true" } else { "false" },
        value => text(value).is_some_and(|value| *value == *wanted),
    };
    match claim {
        Some(Value::Array(all)) => all.iter().any(is_it),
        Some(one) => is_it(one),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(template: &str, deny: bool) -> ChannelRule {
        ChannelRule { r#match: template.to_owned(), deny, ..ChannelRule::default() }
    }

    fn claims(value: Value) -> Claims {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_place_is_filled_with_one_plain_token_or_the_rule_does_not_count() {
        let claims = claims(json!({
            "sub": "u-1", "n": 7, "dots": "a.b", "star": "*", "rest": ">", "space": "a b", "none": "",
            "list": ["a"], "https://x.y/desk": "eu", "long": "x".repeat(250),
        }));
        for (template, allowed, denied) in [
            ("user.{sub}.>", Some("user.u-1.>"), "user.u-1.>"),
            ("a-{sub}-{claims.n}", Some("a-u-1-7"), "a-u-1-7"),
            ("desk.{claims.https://x.y/desk}", Some("desk.eu"), "desk.eu"),
            ("user.{claims.dots}", None, "user.*"),
            ("user.{claims.star}", None, "user.*"),
            ("user.{claims.rest}", None, "user.*"),
            ("user.{claims.space}.x", None, "user.*.x"),
            ("user.{claims.none}", None, "user.*"),
            ("user.{claims.list}", None, "user.*"),
            ("user.a-{claims.missing}-b.>", None, "user.*.>"),
            ("user.{claims.long}.x", None, "user.*.x"),
        ] {
            assert_eq!(filled(&rule(template, false), &claims).as_deref(), allowed, "{template}");
            assert_eq!(
                filled(&rule(template, true), &claims).as_deref(),
                Some(denied),
                "{template}"
            );
        }
    }

    #[test]
    fn a_condition_holds_for_a_value_or_for_one_among_others() {
        let claims =
            claims(json!({ "role": ["trader", 7], "desk": "eu", "vip": true, "x": { "y": 1 } }));
        for (claim, value, want) in [
            ("role", "trader", true),
            ("role", "7", true),
            ("role", "admin", false),
            ("desk", "eu", true),
            ("vip", "true", true),
            ("vip", "false", false),
            ("x", "1", false),
            ("missing", "", false),
        ] {
            let when = [(claim.to_owned(), value.to_owned())].into();
            let rule = ChannelRule { when, ..rule("a", false) };
            assert_eq!(filled(&rule, &claims).is_some(), want, "{claim} {value}");
        }
    }
}
