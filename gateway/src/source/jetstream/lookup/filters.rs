//! Filters: the subjects behind a channel or pattern.

/// Subjects whose messages are of a channel or pattern, as filters that NATS understands; they may match others too.
/// `None` when no filter can say it: bytes of a subject that are not UTF-8 cannot stand in JSON, and a channel that
/// looks like one of those may be one; nor is there a filter for a part of a token.
pub(super) fn filters(pattern: &str, prefix: &str) -> Option<Vec<String>> {
    if pattern.contains('%') {
        return None;
    }
    let token = pattern.split('.').next().unwrap_or_default();
    if matches!(token, "*" | ">") && !prefix.is_empty() && !prefix.ends_with('.') {
        return None;
    }
    let mut filters = vec![format!("{prefix}{pattern}")];
    // A subject without the prefix keeps its whole name.
    if !prefix.is_empty() && !has_prefix(pattern, prefix) {
        filters.push(pattern.to_owned());
    }
    Some(filters)
}

/// Whether every subject that a pattern matches begins with the prefix, and would lose it.
fn has_prefix(pattern: &str, prefix: &str) -> bool {
    let rest = pattern.strip_prefix(prefix);
    let wildcard = |token: &str| matches!(token, "*" | ">");
    let literal = !prefix.split('.').any(wildcard);
    literal && rest.is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_subject_or_two_depending_on_the_prefix() {
        for (pattern, prefix, want) in [
            ("a.b", "", Some(&["a.b"][..])),
            ("a.b", "p.", Some(&["p.a.b", "a.b"])),
            ("p.b", "p.", Some(&["p.p.b"])),
            ("p", "p.", Some(&["p.p", "p"])),
            (">", "p.", Some(&["p.>", ">"])),
            ("*.x", "p.", Some(&["p.*.x", "*.x"])),
            ("p.*", "p.", Some(&["p.p.*"])),
            ("q.*", "p.q.", Some(&["p.q.q.*", "q.*"])),
            ("ces.x", "pri", Some(&["prices.x", "ces.x"])),
            ("*.x", "pri", None),
            ("a.%FF", "p.", None),
        ] {
            let want = want.map(|want| want.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(filters(pattern, prefix), want, "{pattern} {prefix}");
        }
    }
}
