//! Reading a document to its end although some fields do not fit: each is noted, and reading goes on without it.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use super::tree::{Misfit, Step, Tree, parent_of, remove, set};
use crate::ConfigError;

/// Errors that are noted; a document with more of them is of another kind.
const MOST: usize = 64;

/// Each field is tried a few times, and then what it is in.
const MOST_READS: usize = 16 * MOST;

/// Stand-ins for a field that must be there, of which one has its type.
const FILLERS: usize = 5;

/// What a document holds.
#[derive(Debug)]
pub struct Everything<T> {
    /// The value, with defaults or stand-ins at [`Everything::left_out`]. `None` if nothing could be made of the rest.
    pub value: Option<T>,
    /// Each field that does not fit, in the order of the document.
    pub errors: Vec<ConfigError>,
    /// Paths of what says nothing in the value.
    pub left_out: Vec<String>,
}

impl<T> Everything<T> {
    /// Whether what is at a path was left out, is a part of that or contains it.
    pub fn is_left_out(&self, path: &str) -> bool {
        self.left_out.iter().any(|other| is_within(path, other) || is_within(other, path))
    }
}

fn is_within(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads one document. Only the first error has a line number, since the others are found in what is left.
pub fn everything<T: DeserializeOwned>(text: &str) -> Everything<T> {
    let mut found = Everything { value: None, errors: Vec::new(), left_out: Vec::new() };
    let first = match super::from_str(text) {
        Ok(value) => return Everything { value: Some(value), ..found },
        Err(error) => error,
    };
    let Ok(mut tree) = Tree::parse(text) else {
        found.errors.push(first);
        return found;
    };
    let mut first = Some(first);
    let mut tries = HashMap::<String, usize>::new();
    for _ in 0..MOST_READS {
        let misfit = match tree.read() {
            Ok(value) => {
                found.value = Some(value);
                break;
            }
            Err(misfit) => misfit,
        };
        let (mut at, mut missing) = place(&misfit);
        let mut path = dotted(&at);
        if !found.is_left_out(&path) {
            if found.errors.len() == MOST {
                break;
            }
            // With the line, which a document in memory has no more.
            found.errors.push(first.take().unwrap_or(misfit.error));
        }
        while !without(&mut tree, &at, missing, tries.entry(path.clone()).or_default()) {
            found.left_out.push(path);
            let Some(parent) = parent_of(at) else { return found };
            (at, missing) = (parent, false);
            path = dotted(&at);
        }
        if !found.left_out.contains(&path) {
            found.left_out.push(path);
        }
    }
    found
}

/// The field that a misfit is about, and whether it is missing.
fn place(misfit: &Misfit) -> (Vec<Step>, bool) {
    let mut at = misfit.at.clone();
    let ConfigError::Shape { message, .. } = &misfit.error else { return (at, false) };
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
    if let Some((field, _)) = missing {
        at.push(Step::Key(field.to_owned()));
    }
    (at, missing.is_some())
}

/// Takes a field out, or puts the next stand-in into its place; false when there is no other one.
fn without(tree: &mut Tree, at: &[Step], missing: bool, tries: &mut usize) -> bool {
    if at.is_empty() {
        return false;
    }
    if *tries == 0 {
        *tries = 1;
        if !missing && remove(tree.root(), at) {
            return true;
        }
    }
    *tries += 1;
    let filler = match *tries - 2 {
        0 => Value::String(String::new()),
        1 => Value::Sequence(Vec::new()),
        2 => Value::Mapping(Mapping::new()),
        3 => Value::from(0),
        4 => Value::Bool(false),
        FILLERS.. => return false,
    };
    set(tree.root(), at, filler)
}

fn dotted(at: &[Step]) -> String {
    let mut path = String::new();
    for step in at {
        match step {
            Step::Key(key) if path.is_empty() => path.clone_from(key),
            Step::Key(key) => path = format!("{path}.{key}"),
            Step::Place(place) => path = format!("{path}[{place}]"),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Part {
        name: String,
        list: Vec<String>,
        kind: Kind,
        #[serde(default)]
        number: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Kind {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    struct Whole {
        #[serde(default)]
        part: Option<Part>,
        #[serde(default)]
        map: BTreeMap<String, u8>,
        must: u8,
    }

    fn read(text: &str) -> (Everything<Whole>, Vec<String>) {
        let found = everything::<Whole>(text);
        let errors = found.errors.iter().map(ToString::to_string).collect();
        (found, errors)
    }

    #[test]
    fn a_document_that_fits_is_read() {
        let (found, errors) = read("{must: 1, part: {name: a, list: [b], kind: Two, number: 3}}");
        let value = found.value.unwrap();
        let part = value.part.unwrap();
        assert_eq!((part.kind, part.number, &*part.name, part.list.len()), (Kind::Two, 3, "a", 1));
        assert!(errors.is_empty() && found.left_out.is_empty() && value.must == 1);
    }

    #[test]
    fn every_field_that_does_not_fit_is_reported_and_the_rest_is_read() {
        let text = "must: many\nmap: {a: 1, b: two, c: 300}\npart: {list: [x, [y]], kind: One, number: -1}\n";
        let (found, errors) = read(&text.replace("\\\n", "\n"));
        for path in [
            "must: ",
            "map.b: ",
            "map.c: ",
            "part.list[1]: ",
            "part.number: ",
            "part: missing field `name`",
        ] {
            assert!(errors.iter().any(|error| error.starts_with(path)), "{path} in {errors:?}");
        }
        assert_eq!(errors.len(), 6, "{errors:?}");
        assert!(errors[0].contains("line "), "{errors:?}");
        let (part, map) = (&found.value.as_ref().unwrap().part, &found.value.as_ref().unwrap().map);
        assert_eq!((part.as_ref().unwrap().list[0].as_str(), map["a"]), ("x", 1));
        for path in ["part.name", "part.list[1]", "part", "map.b"] {
            assert!(found.is_left_out(path), "{path}");
        }
        assert!(!found.is_left_out("part.kind") && !found.is_left_out("map.a"));
    }

    #[test]
    fn what_no_stand_in_fits_is_left_out_with_what_it_is_in() {
        let (found, errors) = read("{must: 1, part: {name: a, list: [], kind: Three}}");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(found.value.as_ref().unwrap().part.is_none());
        assert!(found.is_left_out("part.list"));
    }

    #[test]
    fn what_is_no_document_is_one_error() {
        for text in ["[", "", "words", "[1, 2]", "{a: 1, a: 2}"] {
            let (_, errors) = read(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        }
    }

    #[test]
    fn errors_without_end_are_not_listed_without_end() {
        let map: String = (0..1_000).map(|n| format!("k{n}: no, ")).collect();
        assert_eq!(read(&format!("{{must: 1, map: {{{map}}}}}")).1.len(), MOST);
    }
}
