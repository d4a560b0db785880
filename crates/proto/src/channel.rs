//! Channel names and patterns: what a client may subscribe to.
//!
//! A channel is a NATS subject without the gateway's prefix: tokens between dots. In a pattern
//! `*` stands for one token and a final `>` for one or more. Pure functions of strings.

use thiserror::Error;

/// Longest channel or pattern in bytes. NATS itself recommends far less; the bound keeps what a
/// client can make the gateway remember in proportion to its number of subscriptions.
pub const MAX_BYTES: usize = 255;

/// Most tokens of a channel or pattern that a client subscribes to. Each may cost the gateway a node of its index:
/// without the bound, 255 bytes would buy 127 of them. Published channels may be deeper; `>` matches those.
pub const MAX_TOKENS: usize = 16;

/// Whether a pattern can match more than one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names one channel.
    Exact,
    /// Holds a `*` or `>` token.
    Wildcard,
}

/// Why a channel or pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// Nothing at all.
    #[error("the channel is empty: name one, such as BTC.trade, or use > for all")]
    Empty,
    /// More than [`MAX_BYTES`].
    #[error("the channel is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_TOKENS`].
    #[error("the channel has more than {MAX_TOKENS} tokens: end the pattern earlier, with >")]
    TooDeep,
    /// Two dots in a row, or one at an end.
    #[error("the channel has an empty token: remove the surplus dot")]
    EmptyToken,
    /// Whitespace or a control character.
    #[error("the channel holds whitespace or a control character")]
    Character,
    /// `*` or `>` beside other characters, or `>` before the end.
    #[error("a wildcard is a whole token (* for one, > for the rest and only at the end)")]
    Wildcard,
}

impl ChannelError {
    /// The code that a client gets in `rejected`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "channel_too_long",
            Self::TooDeep => "channel_too_deep",
            Self::Wildcard => "invalid_wildcard",
            Self::Empty | Self::EmptyToken | Self::Character => "invalid_channel",
        }
    }
}

/// Checks a channel or pattern.
///
/// # Errors
/// The first rule it breaks.
pub fn validate(pattern: &str) -> Result<Kind, ChannelError> {
    if pattern.is_empty() {
        return Err(ChannelError::Empty);
    }
    if pattern.len() > MAX_BYTES {
        return Err(ChannelError::TooLong);
    }
    if pattern.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(ChannelError::Character);
    }
    let mut kind = Kind::Exact;
    let mut ended = false;
    for token in pattern.split('.') {
        match token {
            "" => return Err(ChannelError::EmptyToken),
            _ if ended => return Err(ChannelError::Wildcard),
            "*" => kind = Kind::Wildcard,
            ">" => (kind, ended) = (Kind::Wildcard, true),
            token if token.contains(['*', '>']) => return Err(ChannelError::Wildcard),
            _ => {}
        }
    }
    if pattern.split('.').count() > MAX_TOKENS {
        return Err(ChannelError::TooDeep);
    }
    Ok(kind)
}

/// Whether a valid pattern covers a channel, as NATS would say.
pub fn matches(pattern: &str, channel: &str) -> bool {
    let mut tokens = channel.split('.');
    for want in pattern.split('.') {
        match (want, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (want, Some(token)) if want == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether some channel is covered by both of two valid patterns.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_are_told_apart_and_bad_ones_refused() {
        let longest = "x".repeat(MAX_BYTES);
        let deepest = ["x"; MAX_TOKENS].join(".");
        for (pattern, want) in [
            ("BTC", Ok(Kind::Exact)),
            ("BTC.trade", Ok(Kind::Exact)),
            ("a.b.c.d", Ok(Kind::Exact)),
            ("münze.\"q\"", Ok(Kind::Exact)),
            (&longest, Ok(Kind::Exact)),
            ("*", Ok(Kind::Wildcard)),
            (">", Ok(Kind::Wildcard)),
            ("*.trade", Ok(Kind::Wildcard)),
            ("BTC.*", Ok(Kind::Wildcard)),
            ("*.*.>", Ok(Kind::Wildcard)),
            ("", Err(ChannelError::Empty)),
            (&format!("{longest}x"), Err(ChannelError::TooLong)),
            (&deepest, Ok(Kind::Exact)),
            (&format!("{deepest}.x"), Err(ChannelError::TooDeep)),
            (&format!("{deepest}.>"), Err(ChannelError::TooDeep)),
            (".", Err(ChannelError::EmptyToken)),
            ("BTC.", Err(ChannelError::EmptyToken)),
            (".BTC", Err(ChannelError::EmptyToken)),
            ("BTC..trade", Err(ChannelError::EmptyToken)),
            ("BTC trade", Err(ChannelError::Character)),
            ("BTC\n", Err(ChannelError::Character)),
            ("BTC\0", Err(ChannelError::Character)),
            ("BTC\u{a0}", Err(ChannelError::Character)),
            ("BT*", Err(ChannelError::Wildcard)),
            ("**", Err(ChannelError::Wildcard)),
            (">x", Err(ChannelError::Wildcard)),
            (">.trade", Err(ChannelError::Wildcard)),
            (">.>", Err(ChannelError::Wildcard)),
            (">.", Err(ChannelError::EmptyToken)),
        ] {
            assert_eq!(validate(pattern), want, "{pattern:?}");
        }
    }

    #[test]
    fn patterns_overlap_when_a_channel_is_covered_by_both() {
        for (one, other, want) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("a.b", "a", false),
            ("*.trade", "BTC.trade", true),
            ("*.trade", "BTC.*", true),
            ("*.trade", "*.price", false),
            ("*.trade", "BTC.x.*", false),
            (">", "a.b.c", true),
            ("a.>", "a", false),
            ("a.>", "*.*.c", true),
            ("a.>", "b.>", false),
            ("a.*.>", "a.b", false),
        ] {
            assert_eq!(overlap(one, other), want, "{one} {other}");
            assert_eq!(overlap(other, one), want, "{other} {one}");
        }
    }

    #[test]
    fn matching_is_that_of_nats() {
        for (pattern, channel, want) in [
            ("BTC.trade", "BTC.trade", true),
            ("BTC.trade", "BTC.price", false),
            ("BTC", "BTC.trade", false),
            ("BTC.trade", "BTC", false),
            ("BTC.*", "BTC.trade", true),
            ("BTC.*", "BTC", false),
            ("BTC.*", "BTC.trade.eu", false),
            ("*.trade", "ETH.trade", true),
            ("*", "BTC", true),
            ("*", "BTC.trade", false),
            (">", "BTC", true),
            (">", "BTC.trade.eu", true),
            ("BTC.>", "BTC.trade.eu", true),
            ("BTC.>", "BTC", false),
            ("*.*.>", "a.b", false),
            ("*.*.>", "a.b.c", true),
        ] {
            assert_eq!(matches(pattern, channel), want, "{pattern} {channel}");
        }
    }
}
