//! Names as Kubernetes has them.

/// RFC 1123: labels between dots.
pub(super) fn is_object_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            label.starts_with(edge)
                && label.ends_with(edge)
                && label.chars().all(|c| edge(c) || c == '-')
        })
}

/// A host: the same, or with `*` as its first label.
pub(super) fn is_host(name: &str) -> bool {
    name.len() <= 253 && is_object_name(name.strip_prefix("*.").unwrap_or(name))
}

pub(super) fn is_label(key: &str, value: &str) -> bool {
    is_label_key(key) && (value.is_empty() || is_word(value))
}

/// Name of a label or an annotation.
pub(super) fn is_label_key(key: &str) -> bool {
    let (domain, name) = match key.rsplit_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    is_word(name)
        && domain.is_none_or(|domain| {
            domain.len() <= 253
                && domain.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && domain
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
                && domain.ends_with(|c: char| c.is_ascii_alphanumeric())
        })
}

fn is_word(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `http://HOST[:PORT][/PATH]`, or the same with https; letters, digits and `in_path` in the path.
pub(super) fn is_http_address(text: &str, most: usize, in_path: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let Some(rest) = rest.filter(|_| text.len() <= most) else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => (host, port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let is_v6 = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_name = is_edge(host.chars().next()) && is_edge(host.chars().last());
    let is_named = if authority.starts_with('[') {
        !host.is_empty() && host.chars().all(is_v6)
    } else {
        is_name && host.chars().all(is_host)
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let is_port = port.is_empty() || digits.parse::<u16>().is_ok_and(|number| number > 0);
    let is_path = |c: char| c.is_ascii_alphanumeric() || in_path.contains(c);
    is_named && is_port && !digits.starts_with(['0', '+']) && path.chars().all(is_path)
}
