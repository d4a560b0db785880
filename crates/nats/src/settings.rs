//! A stream's configuration in NATS' own words.
//!
//! It is kept as JSON rather than as a type: an update that left out a field of a newer server would switch it off.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const METADATA: &str = "metadata";

/// A stream's configuration as the JetStream API words it, with fields that this program does not know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(Map<String, Value>);

impl Settings {
    /// Name of the stream.
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// What others have noted about the stream.
    pub fn metadata(&self) -> HashMap<String, String> {
        let entries = self.0.get(METADATA).and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Most consumers that the stream may have, if that is limited.
    pub fn max_consumers(&self) -> Option<u64> {
        u64::try_from(self.number("max_consumers")).ok().filter(|limit| *limit > 0)
    }

    /// A text, empty where there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number, 0 where there is none.
    pub fn number(&self, field: &str) -> i64 {
        self.0.get(field).and_then(Value::as_i64).unwrap_or_default()
    }

    /// A switch, off where there is none.
    pub(crate) fn flag(&self, field: &str) -> bool {
        self.0.get(field).and_then(Value::as_bool).unwrap_or_default()
    }

    /// An object within, if there is one.
    pub(crate) fn object(&self, field: &str) -> Option<&Map<String, Value>> {
        self.0.get(field).and_then(Value::as_object)
    }

    /// Whether a list has entries.
    pub(crate) fn lists(&self, field: &str) -> bool {
        self.0.get(field).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    }

    /// Subjects that the stream captures, in order.
    pub(crate) fn subjects(&self) -> BTreeSet<&str> {
        let subjects = self.0.get("subjects").and_then(Value::as_array).into_iter().flatten();
        subjects.filter_map(Value::as_str).collect()
    }

    pub(crate) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.0.insert(field.to_owned(), value.into());
    }

    pub(crate) fn note(&mut self, key: &str, value: &str) {
        let metadata = self.0.entry(METADATA).or_insert_with(|| Map::new().into());
        if !metadata.is_object() {
            *metadata = Map::new().into();
        }
        if let Some(entries) = metadata.as_object_mut() {
            entries.insert(key.to_owned(), value.into());
        }
    }

    pub(crate) fn forget(&mut self, key: &str) {
        if let Some(entries) = self.0.get_mut(METADATA).and_then(Value::as_object_mut) {
            entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_kept_and_what_has_another_type_counts_as_absent() {
        let text =
            r#"{"name":"A","future":{"x":[1,2.5]},"max_age":"long","metadata":{"a":"b","c":1}}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!((settings.name(), settings.number("max_age")), ("A", 0));
        assert_eq!(settings.metadata(), [("a".to_owned(), "b".to_owned())].into());
        let kept: Value = serde_json::to_value(&settings).unwrap();
        assert_eq!(kept, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn metadata_is_noted_and_forgotten() {
        let mut settings = Settings::default();
        settings.forget("k");
        settings.note("k", "v");
        assert_eq!(settings.metadata()["k"], "v");
        settings.forget("k");
        assert!(settings.metadata().is_empty());
    }
}
