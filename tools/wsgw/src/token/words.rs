//! Times and lists in words (pure).

/// A time (Unix ms) as people and RFC 3339 write it.
pub(crate) fn at(ms: u64) -> String {
    let time = i64::try_from(ms / 1_000).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(|| "a time beyond all calendars".to_owned(), |time| time.to_string())
}

/// How far a time is from now: `3 min ago`, `in 2 h`.
pub(crate) fn ago(ms: u64, now_ms: u64) -> String {
    if ms <= now_ms {
        format!("{} ago", span(now_ms - ms))
    } else {
        format!("in {}", span(ms - now_ms))
    }
}

/// A span of time in the two largest units that say something.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        let count = left / size;
        left %= size;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { format!("{ms} ms") } else { parts.join(" ") }
}

/// `"a", "b" or "c"`.
pub(crate) fn list(all: &[String], word: &str) -> String {
    let quoted: Vec<String> = all.iter().map(|one| format!("{:?}", printable(one))).collect();
    match quoted.split_last() {
        None => "nobody".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

/// Text of somebody else, without what a terminal would take for a command, or that turns the direction of a line.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, want) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (3_601_000, "1 h"),
            (90_061_000, "1 d 1 h"),
        ] {
            assert_eq!(span(ms), want);
        }
        assert_eq!(
            (ago(1_000, 181_000), ago(62_000, 2_000)),
            ("3 min ago".into(), "in 1 min".into())
        );
        assert_eq!(at(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert!(at(u64::MAX).contains("calendars"));
    }

    #[test]
    fn nothing_of_somebody_elses_text_is_a_command_for_a_terminal() {
        let bad = "a\u{1b}[2J\u{9b}1m\n\u{202e}b";
        assert_eq!(printable(bad), "a\\u001b[2J\\u009b1m\\u000a\\u202eb");
    }
}
