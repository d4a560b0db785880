//! Channel names and patterns.

/// Whether a channel can belong to both; either may be a pattern as NATS has them.
pub(crate) fn matches(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(part), Some(token)) if part == token || part == "*" || token == "*" => {}
            _ => return false,
        }
    }
}

pub(crate) fn is_pattern(channel: &str) -> bool {
    channel.contains(['*', '>'])
}

/// How many channels of a list fit into `room` bytes as JSON; at least one, when there is one.
pub(crate) fn first<'a>(channels: impl IntoIterator<Item = &'a String>, room: usize) -> usize {
    let (mut count, mut used) = (0, 0);
    for channel in channels {
        // A string always has a JSON text.
        used += serde_json::to_string(channel).map_or(0, |text| text.len()) + 1;
        if used > room && count > 0 {
            break;
        }
        count += 1;
    }
    count
}
