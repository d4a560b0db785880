//! NATS subjects: which are valid in a stream, and which meet.

/// Whether a stream may capture this subject: tokens between dots, `*` alone as a token, `>` only as the last one, and
/// a plain first token that is not one of the server's own (`$JS`, `$SYS`).
pub(crate) fn is_capturable(subject: &str) -> bool {
    let tokens: Vec<&str> = subject.split('.').collect();
    let last = tokens.len() - 1;
    subject.len() <= 255
        && tokens.iter().enumerate().all(|(at, token)| match *token {
            "*" => at > 0,
            ">" => at > 0 && at == last,
            _ => is_plain(token),
        })
        && !subject.starts_with('$')
}

/// Whether a prefix is whole plain tokens with a dot at the end, or nothing.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    match prefix.strip_suffix('.') {
        Some(tokens) => {
            prefix.len() <= 255 && !tokens.starts_with('$') && tokens.split('.').all(is_plain)
        }
        None => prefix.is_empty(),
    }
}

fn is_plain(token: &str) -> bool {
    !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || c == '*' || c == '>')
}

/// Whether some subject matches both patterns.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("odin", true)]
    #[case("odin.token.>", true)]
    #[case("odin.*.price", true)]
    #[case("odin.ÅÄÖ.\"x\"", true)]
    #[case("", false)]
    #[case(">", false)]
    #[case("*", false)]
    #[case("*.price", false)]
    #[case("odin..price", false)]
    #[case("odin.", false)]
    #[case(".odin", false)]
    #[case("odin.>.price", false)]
    #[case("odin.to*", false)]
    #[case("odin. token", false)]
    #[case("$JS.API.>", false)]
    fn a_stream_captures_only_proper_subjects(#[case] subject: &str, #[case] capturable: bool) {
        assert_eq!(is_capturable(subject), capturable, "{subject:?}");
    }

    #[rstest]
    #[case("a.b", "a.b", true)]
    #[case("a.*", "a.b", true)]
    #[case("a.>", "a.b.c", true)]
    #[case("a.*.c", "a.b.*", true)]
    #[case("a.>", "a", false)]
    #[case("a.*", "a.b.c", false)]
    #[case("a.*.c", "a.*.d", false)]
    #[case("a.b", "b.a", false)]
    fn patterns_overlap_when_a_subject_matches_both(
        #[case] one: &str,
        #[case] other: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(overlap(one, other), expected);
        assert_eq!(overlap(other, one), expected);
    }
}
