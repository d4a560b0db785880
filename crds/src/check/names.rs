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
