//! What docs/logs.json has of the lines that a program logs, held against real ones.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::repository;

/// In every line.
const COMMON: [&str; 4] = ["timestamp", "level", "target", "message"];

/// What was under way, in lines of the operator: it has keys of its own.
const SPANS: &str = "spans";

/// The events of a program.
#[derive(Debug)]
pub struct LogBook {
    events: Vec<Event>,
}

#[derive(Clone, Debug, Deserialize)]
struct Event {
    level: String,
    message: String,
    fields: BTreeSet<String>,
}

impl LogBook {
    /// What is documented of `gateway` or `operator`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(program: &str) -> Result<Self> {
        let text = fs::read_to_string(repository().join("docs/logs.json"))?;
        let all: Map<String, Value> = serde_json::from_str(&text)?;
        let mut events = Vec::new();
        for part in [program, "both"] {
            let part = all.get(part).with_context(|| format!("docs/logs.json lacks {part}"))?;
            events.extend(Vec::<Event>::deserialize(part)?);
        }
        Ok(Self { events })
    }

    /// Checks a line: JSON, one object, each key once, and an event with no other fields than documented. Returns its
    /// message.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self, line: &str) -> Result<String> {
        let event: Map<String, Value> =
            serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        for key in COMMON {
            ensure!(event.get(key).is_some_and(Value::is_string), "no {key}: {line}");
        }
        // serde_json takes the last of two keys of one name.
        // They end a line.
        let own = line.split(",\"spans\":[").next().unwrap_or(line);
        for key in event.keys() {
            let count = own.matches(&format!(",\"{key}\":")).count();
            ensure!(count <= 1, "{key} is there {count} times: {line}");
        }
        let (level, message) = (event["level"].as_str(), event["message"].as_str());
        let (level, message) = (level.unwrap_or_default(), message.unwrap_or_default());
        let is_it = |known: &&Event| {
            known.level.eq_ignore_ascii_case(level) && is_message(&known.message, message)
        };
        let known =
            self.events.iter().find(is_it).with_context(|| format!("not documented: {line}"))?;
        let is_known = |key: &&String| {
            COMMON.contains(&key.as_str()) || *key == SPANS || known.fields.contains(*key)
        };
        let unknown: Vec<&String> = event.keys().filter(|key| !is_known(key)).collect();
        ensure!(unknown.is_empty(), "fields that are not documented, {unknown:?}: {line}");
        Ok(message.to_owned())
    }
}

/// Whether a message is one as documented, where `{…}` stands for anything.
fn is_message(documented: &str, message: &str) -> bool {
    let Some((before, rest)) = documented.split_once('{') else { return documented == message };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    message.starts_with(before) && (after.contains('{') || message.ends_with(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_held_against_what_is_documented() {
        let fields = BTreeSet::from(["error".to_owned()]);
        let message = "not gone within {patience:?}: gone".to_owned();
        let book = LogBook { events: vec![Event { level: "warn".into(), message, fields }] };
        let line = |level: &str, message: &str, more: &str| {
            format!(
                "{{\"timestamp\":\"t\",\"level\":\"{level}\",\"message\":\"{message}\"{more},\"target\":\"a\"}}"
            )
        };
        let good = "not gone within 3s: gone";
        assert_eq!(book.check(&line("WARN", good, ",\"error\":\"a\"")).unwrap(), good);
        for bad in [
            line("INFO", good, ""),
            line("WARN", "not gone", ""),
            line("WARN", good, ",\"secret\":1"),
            line("WARN", good, ",\"message\":\"b\""),
            "{\"timestamp\":\"t\"}".to_owned(),
            "plain text".to_owned(),
        ] {
            assert!(book.check(&bad).is_err(), "{bad}");
        }
    }
}
