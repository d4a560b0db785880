//! Helm as the tests run it, and the documents it prints.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use harness::{repository, tool};
use serde::Deserialize;
use serde_json::Value;

/// Where the chart's tests install it.
pub(super) const NAMESPACE: &str = "wsgateway-system";

pub(super) fn chart() -> PathBuf {
    repository().join("charts/wsgateway")
}

/// Runs a program and returns what it printed.
pub(super) fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(&str, &Path)],
) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(repository())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

pub(super) fn helm(arguments: &[&str], environment: &[(&str, &Path)]) -> Result<String> {
    run(&tool("helm")?, arguments, environment)
}

/// What `helm template` renders with these `--set` values.
pub(super) fn rendered(values: &[&str]) -> Result<Vec<Value>> {
    let chart = chart();
    let mut arguments =
        vec!["template", "wsgateway", &*chart.to_string_lossy(), "--namespace", NAMESPACE]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
    arguments.extend(values.iter().flat_map(|value| ["--set".to_owned(), (*value).to_owned()]));
    documents(&helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])?)
}

/// The documents of a YAML stream, without the empty ones.
pub(super) fn documents(text: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    let documents = documents.collect::<Result<Vec<_>, _>>()?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The one document of a kind.
pub(super) fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = documents.iter().filter(|document| document["kind"] == kind);
    let one = found.next().with_context(|| format!("no {kind} is rendered"))?;
    if found.next().is_some() {
        bail!("more than one {kind} is rendered");
    }
    Ok(one)
}
