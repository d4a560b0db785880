//! Every value has an entry in the schema and a row in README.md, and both have nothing else.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::helm::{chart, documents};

/// In the schema alone: the old name of a list.
const OLD: [&str; 1] = ["watchNamespace"];

fn schema() -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?)
}

fn values() -> Result<Value> {
    let text = std::fs::read_to_string(chart().join("values.yaml"))?;
    documents(&text)?.into_iter().next().context("no values")
}

/// An entry, with the definition that it refers to in its place.
fn entry<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    let name = node["$ref"].as_str().and_then(|name| name.strip_prefix("#/definitions/"));
    name.map_or(node, |name| &schema["definitions"][name])
}

/// What a walk through values and schema finds.
struct Comparison<'a> {
    schema: &'a Value,
    /// Values that README.md describes.
    rows: BTreeSet<String>,
    wrong: Vec<String>,
    /// Values that are to be described.
    leaves: BTreeSet<String>,
}

impl Comparison<'_> {
    /// Notes each key that only one of them has, and each value that is described as a whole or has no keys of its own.
    fn walk(&mut self, node: &Value, values: &Value, path: &str) {
        let schema = self.schema;
        let node = entry(schema, node);
        let (Some(known), Some(given)) = (node["properties"].as_object(), values.as_object())
        else {
            if node.is_null() || *node == serde_json::json!({}) {
                self.wrong.push(format!("{path} says nothing in the schema"));
            }
            self.leaves.insert(path.to_owned());
            return;
        };
        if given.is_empty() || self.rows.contains(path) {
            self.leaves.insert(path.to_owned());
            return;
        }
        let below = |name: &str| match path {
            "" => name.to_owned(),
            _ => format!("{path}.{name}"),
        };
        for name in known.keys().filter(|name| !given.contains_key(*name)) {
            if !OLD.contains(&name.as_str()) {
                let path = below(name);
                self.wrong.push(format!("{path} is in the schema and not in values.yaml"));
            }
        }
        for (name, value) in given {
            let path = below(name);
            match known.get(name) {
                Some(node) => self.walk(node, value, &path),
                None => self.wrong.push(format!("{path} is in values.yaml and not in the schema")),
            }
        }
    }
}

#[test]
fn every_value_has_an_entry_in_the_schema_and_a_row_in_the_readme() -> Result<()> {
    let (schema, values) = (schema()?, values()?);
    let readme = std::fs::read_to_string(chart().join("README.md"))?;
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(path, _)| path.to_owned())
        .collect();
    let (wrong, leaves) = (Vec::new(), BTreeSet::new());
    let mut found = Comparison { schema: &schema, rows, wrong, leaves };
    found.walk(&schema, &values, "");
    let Comparison { rows, mut wrong, leaves, .. } = found;
    for leaf in leaves.difference(&rows) {
        wrong.push(format!("{leaf} has no comment that begins with --"));
    }
    for row in rows.difference(&leaves) {
        wrong.push(format!("{row} has a comment and is no value of its own"));
    }
    assert!(leaves.len() > 80, "{leaves:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn what_a_wsgateway_can_have_as_a_default_is_a_value() -> Result<()> {
    let text = std::fs::read_to_string(harness::repository().join("crds/src/defaults/every.yaml"))?;
    let every = documents(&text)?.into_iter().next().context("no defaults")?;
    let keys = |value: &Value| {
        value
            .as_object()
            .map(|map| map.keys().cloned().collect::<BTreeSet<_>>())
            .unwrap_or_default()
    };
    let values = &values()?["defaults"];
    assert_eq!(keys(&every), keys(values));
    for part in ["pod", "expose", "monitoring"] {
        assert_eq!(keys(&every[part]), keys(&values[part]), "{part}");
    }
    Ok(())
}
