//! Patterns over channels and subjects: tokens between dots, `*` for one token, a final `>` for one or more.

/// Longest pattern in bytes, as for a client's subscription.
pub const MAX_PATTERN_BYTES: usize = 255;

/// Most tokens of a pattern, as for a client's subscription.
const MAX_PATTERN_TOKENS: usize = 16;

/// Whether this is a pattern: at most 16 tokens, no empty token, no whitespace, `*` and `>` only as whole tokens, `>` only as the last.
pub fn is_pattern(pattern: &str) -> bool {
    let mut tokens = pattern.split('.').peekable();
    let mut whole =
        pattern.len() <= MAX_PATTERN_BYTES && pattern.split('.').count() <= MAX_PATTERN_TOKENS;
    while let Some(token) = tokens.next() {
        whole &= match token {
            "*" => true,
            ">" => tokens.peek().is_none(),
            _ => is_plain(token),
        };
    }
    whole
}

/// Whether this is a pattern with a place for a name, written once, such as `{symbol}.trade`. A colon counts as a dot, as
/// in the channels of a Redis server.
pub fn is_template(text: &str, place: &str) -> bool {
    let filled = text.replacen(place, "x", 1);
    filled != text && !filled.contains(['{', '}']) && is_pattern(&filled.replace(':', "."))
}

fn is_plain(token: &str) -> bool {
    let special = |c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>';
    !token.is_empty() && !token.contains(special)
}

/// Whether everything that `narrow` matches is matched by `broad` too.
pub fn covers(broad: &str, narrow: &str) -> bool {
    let (mut broad, mut narrow) = (broad.split('.'), narrow.split('.'));
    loop {
        match (broad.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (_, Some(">")) | (None, _) | (_, None) => return false,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_no_deeper_than_a_subscription_may_be() {
        assert!(is_pattern(&["x"; 16].join(".")));
        assert!(!is_pattern(&["x"; 17].join(".")));
    }

    #[test]
    fn a_template_is_a_pattern_with_one_place() {
        for (text, good) in [
            ("{symbol}.trade", true),
            ("{symbol}", true),
            ("channel:trade:{symbol}", true),
            ("{symbol}.>", true),
            ("eu-{symbol}.trade", true),
            ("trade", false),
            ("", false),
            ("{token}.trade", false),
            ("{symbol}.{symbol}", false),
            ("{symbol}.{x}", false),
            ("{symbol}..trade", false),
            ("{symbol} trade", false),
            (">.{symbol}", false),
        ] {
            assert_eq!(is_template(text, "{symbol}"), good, "{text:?}");
        }
    }

    #[test]
    fn wildcards_are_whole_tokens_and_no_token_is_empty() {
        let longest = "x".repeat(MAX_PATTERN_BYTES);
        for (pattern, good) in [
            ("BTC.price", true),
            ("*.price", true),
            ("*", true),
            (">", true),
            ("*.*.>", true),
            ("münze.\"q\"", true),
            (&longest, true),
            (&format!("{longest}x"), false),
            ("", false),
            ("BTC.", false),
            (".price", false),
            ("BTC..price", false),
            ("BTC price", false),
            ("BTC\0", false),
            ("BT*", false),
            (">.price", false),
            (">.>", false),
        ] {
            assert_eq!(is_pattern(pattern), good, "{pattern:?}");
        }
    }

    #[test]
    fn a_pattern_covers_what_matches_nothing_else() {
        for (broad, narrow, expected) in [
            (">", "BTC", true),
            (">", "*.price", true),
            (">", ">", true),
            ("*.price", "BTC.price", true),
            ("*.price", "*.price", true),
            ("*.*", "*.price", true),
            ("BTC.>", "BTC.*", true),
            ("BTC.>", "BTC.>", true),
            ("BTC.price", "*.price", false),
            ("*", ">", false),
            ("*.>", ">", false),
            ("BTC.>", "BTC", false),
            ("BTC", "BTC.price", false),
            ("*.price", "BTC.trade", false),
            ("BTC.price", "ETH.price", false),
        ] {
            assert_eq!(covers(broad, narrow), expected, "{broad} over {narrow}");
        }
    }
}
