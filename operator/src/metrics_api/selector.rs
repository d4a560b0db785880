//! Label selectors, as the API server writes them (pure).

use std::collections::BTreeMap;

/// Requirements of one selector.
const MOST: usize = 32;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// What labels must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector; `None` if it is none. An empty one matches everything.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts = split(text);
        if parts.len() > MOST {
            return None;
        }
        parts.into_iter().map(str::trim).map(requirement).collect::<Option<_>>().map(Self)
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            // As Kubernetes has it: one without the label is not among the values.
            Requirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

/// At commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let parts: Vec<&str> = parts.collect();
    if parts == [""] { Vec::new() } else { parts }
}

fn requirement(text: &str) -> Option<Requirement> {
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Requirement::NotIn(self::key(key)?, vec![value_of(value)?]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Requirement::In(self::key(key)?, vec![value_of(value)?]));
    }
    if let Some(rest) = text.strip_prefix('!') {
        return Some(Requirement::Absent(key(rest)?));
    }
    let Some((before, after)) = text.split_once('(') else {
        return Some(Requirement::Exists(key(text)?));
    };
    let values: Option<Vec<String>> = after.strip_suffix(')')?.split(',').map(value_of).collect();
    let mut words = before.split_whitespace();
    let (name, operator) = (key(words.next()?)?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    match operator {
        "in" => Some(Requirement::In(name, values?)),
        "notin" => Some(Requirement::NotIn(name, values?)),
        _ => None,
    }
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
}

/// A value may be empty.
fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.chars().all(plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str) -> Option<bool> {
        let labels = [("app", "wsgateway"), ("a.b/instance", "odin"), ("empty", "")];
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Selector::parse(selector).map(|selector| selector.matches(&labels))
    }

    #[test]
    fn requirements_are_those_of_kubernetes() {
        for (selector, matched) in [
            ("", true),
            ("app=wsgateway", true),
            ("app==wsgateway,a.b/instance=odin", true),
            ("app=wsgateway,a.b/instance=other", false),
            ("app!=wsgateway", false),
            ("other!=x", true),
            ("app in (a, wsgateway),a.b/instance", true),
            ("app notin (a,wsgateway)", false),
            ("other notin (a)", true),
            ("!other", true),
            ("!app", false),
            ("other", false),
            ("empty=", true),
        ] {
            assert_eq!(matches(selector), Some(matched), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_none() {
        for bad in [",", "a b", "=x", "app=a/b", "app in a", "app in (a", "app like (a)", "!"] {
            assert_eq!(matches(bad), None, "{bad}");
        }
        assert_eq!(matches(&"a,".repeat(40)), None);
    }
}
