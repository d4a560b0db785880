//! Patterns over channels and subjects: tokens between dots, `*` for one token, a final `>` for one or more.

/// Longest pattern in bytes, as for a client's subscription.
pub const MAX_PATTERN_BYTES: usize = 255;

/// Whether this is a pattern: no empty token, no whitespace, `*` and `>` only as whole tokens, `>` only as the last.
pub fn is_pattern(pattern: &str) -> bool {
    let mut tokens = pattern.split('.').peekable();
    let mut whole = pattern.len() <= MAX_PATTERN_BYTES;
    while let Some(token) = tokens.next() {
        whole &= match token {
            "*" => true,
            ">" => tokens.peek().is_none(),
            _ => is_plain(token),
        };
    }
    whole
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
