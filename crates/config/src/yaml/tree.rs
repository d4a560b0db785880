//! A document before it has a type: put over another one, taken apart, and compared by the paths of its fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::{Mapping, Value};

use crate::ConfigError;

/// A YAML document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree(Value);

/// Why a document is not of a type.
pub(super) struct Misfit {
    pub(super) at: Vec<Step>,
    pub(super) error: ConfigError,
    is_unknown_key: bool,
}

/// One step of a path.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Key(String),
    Place(usize),
}

impl Tree {
    /// Reads a document.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        super::from_str(text).map(Self)
    }

    /// The document of a value.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, ConfigError> {
        serde_yaml::to_value(value).map(Self).map_err(|error| super::unwritable(&error))
    }

    /// The document's text.
    pub(crate) fn render(&self) -> Result<String, ConfigError> {
        super::to_string(&self.0)
    }

    /// Puts another document over this one: mappings key by key, everything else as a whole. An empty one changes nothing.
    pub(crate) fn put_over(&mut self, other: Self) {
        if other.0 != Value::Null {
            put_over(&mut self.0, other.0);
        }
    }

    /// Whether it has a field, given by its path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let found = path.split('.').try_fold(&self.0, |value, key| value.as_mapping()?.get(key));
        found.is_some_and(|value| !value.is_null())
    }

    /// The value of a type that refuses unknown keys. Up to `most` of these are left out, each reported with its path.
    pub(crate) fn read_known<T: DeserializeOwned>(
        mut self,
        most: usize,
    ) -> Result<(T, Vec<String>), ConfigError> {
        let mut unknown = Vec::new();
        loop {
            let misfit = match self.read() {
                Ok(value) => return Ok((value, unknown)),
                Err(misfit) => misfit,
            };
            if !misfit.is_unknown_key {
                return Err(misfit.error);
            }
            if unknown.len() == most {
                let message = format!(
                    "more than {most} unknown keys: this is another kind of file; {}",
                    misfit.error
                );
                return Err(ConfigError::Shape { path: ".".to_owned(), message });
            }
            if !remove(&mut self.0, &misfit.at) {
                return Err(misfit.error);
            }
            unknown.push(misfit.error.to_string());
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Misfit> {
        serde_path_to_error::deserialize(&self.0).map_err(|error| {
            let at = error.path().iter().filter_map(step).collect();
            let error = super::shape(error.path().to_string(), &error.inner().to_string());
            // As serde's derive words it, for every type.
            let is_unknown_key = matches!(
                &error,
                ConfigError::Shape { message, .. } if message.starts_with("unknown field ")
            );
            Misfit { at, error, is_unknown_key }
        })
    }

    pub(super) fn root(&mut self) -> &mut Value {
        &mut self.0
    }

    /// The fields that pass. `passes` is asked from the top down: an answer holds for everything below, and without one
    /// what is below is asked for. `otherwise` decides on values without an answer.
    pub(crate) fn part(&self, passes: &dyn Fn(&str) -> Option<bool>, otherwise: bool) -> Self {
        let empty = || Value::Mapping(Mapping::new());
        Self(part(&self.0, "", passes, otherwise).unwrap_or_else(empty))
    }

    /// Paths of what differs, in the order of the document. A list is one field.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut paths = Vec::new();
        compare(Some(&self.0), Some(&other.0), "", &mut paths);
        paths
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Place(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn put_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Mapping(under), Value::Mapping(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(slot) => put_over(slot, value),
                    None => drop(under.insert(key, value)),
                }
            }
        }
        (under, over) => *under = over,
    }
}

/// The path of what the end of a path is in.
pub(super) fn parent_of(mut path: Vec<Step>) -> Option<Vec<Step>> {
    path.pop()?;
    (!path.is_empty()).then_some(path)
}

/// Puts a value at the end of a path; false when there is no such place.
pub(super) fn set(value: &mut Value, path: &[Step], new: Value) -> bool {
    match (path, value) {
        ([], value) => {
            *value = new;
            true
        }
        ([Step::Key(key)], Value::Mapping(mapping)) => {
            mapping.insert(Value::String(key.clone()), new);
            true
        }
        ([Step::Key(key), rest @ ..], Value::Mapping(mapping)) => {
            mapping.get_mut(key.as_str()).is_some_and(|value| set(value, rest, new))
        }
        ([Step::Place(place), rest @ ..], Value::Sequence(values)) => {
            values.get_mut(*place).is_some_and(|value| set(value, rest, new))
        }
        _ => false,
    }
}

/// Removes what is at the end of a path; false when there is nothing.
pub(super) fn remove(value: &mut Value, path: &[Step]) -> bool {
    match (path, value) {
        ([Step::Key(key)], Value::Mapping(mapping)) => mapping.shift_remove(key.as_str()).is_some(),
        ([Step::Key(key), rest @ ..], Value::Mapping(mapping)) => {
            mapping.get_mut(key.as_str()).is_some_and(|value| remove(value, rest))
        }
        ([Step::Place(place), rest @ ..], Value::Sequence(values)) => {
            values.get_mut(*place).is_some_and(|value| remove(value, rest))
        }
        _ => false,
    }
}

fn part(
    value: &Value,
    path: &str,
    passes: &dyn Fn(&str) -> Option<bool>,
    otherwise: bool,
) -> Option<Value> {
    match (passes(path), value) {
        (Some(passed), value) => passed.then(|| value.clone()),
        (None, Value::Mapping(mapping)) => {
            let fields = mapping.iter().filter_map(|(key, value)| {
                let below = join(path, key.as_str()?);
                Some((key.clone(), part(value, &below, passes, otherwise)?))
            });
            let fields: Mapping = fields.collect();
            (!fields.is_empty()).then_some(Value::Mapping(fields))
        }
        (None, value) => otherwise.then(|| value.clone()),
    }
}

fn compare(one: Option<&Value>, other: Option<&Value>, path: &str, paths: &mut Vec<String>) {
    if one == other {
        return;
    }
    let (Some(Value::Mapping(left)), Some(Value::Mapping(right))) = (one, other) else {
        return paths.push(path.to_owned());
    };
    let added = right.keys().filter(|key| !left.contains_key(*key));
    for key in left.keys().chain(added) {
        let below = join(path, key.as_str().unwrap_or("?"));
        compare(left.get(key), right.get(key), &below, paths);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
