//! What a program answers at /metrics: held against docs/metrics.json in both directions, and shown to promtool.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::tools::{repository, tool};

/// An answer of /metrics.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Default)]
struct Family {
    kind: String,
    is_helped: bool,
    /// Names of the labels of its series, without `le`.
    labels: BTreeSet<String>,
    /// Upper bounds of a histogram.
    bounds: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Catalogue {
    metrics: Vec<Documented>,
}

#[derive(Deserialize)]
struct Documented {
    name: String,
    program: String,
    #[serde(rename = "type")]
    kind: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    buckets: Vec<f64>,
}

impl Exposition {
    /// Takes an answer in the text format apart.
    ///
    /// # Errors
    /// When it is not in that format, or a metric has no HELP or TYPE.
    pub fn parse(text: &str) -> Result<Self> {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap_or_default();
                families.entry(name.to_owned()).or_default().is_helped = true;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').context("a TYPE without a type")?;
                families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else {
                let (name, labels) = series(line)?;
                let name = family_of(name, &families);
                let family =
                    families.get_mut(name).with_context(|| format!("{name} has no TYPE"))?;
                for (label, value) in labels {
                    if label == "le" {
                        family.bounds.insert(value.to_owned());
                    } else {
                        family.labels.insert(label.to_owned());
                    }
                }
            }
        }
        for (name, family) in &families {
            ensure!(family.is_helped && !family.kind.is_empty(), "{name} has no HELP or no TYPE");
        }
        Ok(Self { text: text.to_owned(), families })
    }

    /// All series, without their values.
    #[must_use]
    pub fn series(&self) -> BTreeSet<&str> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
    }

    /// The value of a series, by its name with its labels in the order of their names.
    ///
    /// # Errors
    /// When there is none.
    pub fn value(&self, series: &str) -> Result<f64> {
        let mut lines = self.text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no series {series}"))?.parse()?)
    }

    /// Holds it against docs/metrics.json: nothing that is not there, with other types, labels or bounds, and nothing there
    /// that is missing here. `absent` are those for which something has to happen first that has not.
    ///
    /// # Errors
    /// With all that differs.
    pub fn is_documented(&self, program: &str, absent: &[&str]) -> Result<()> {
        let file = repository().join("docs/metrics.json");
        let catalogue: Catalogue = serde_json::from_str(&fs::read_to_string(file)?)?;
        let mut differences = Vec::new();
        let ours = |metric: &&Documented| metric.program == program || metric.program == "both";
        let documented: BTreeMap<&str, &Documented> = catalogue
            .metrics
            .iter()
            .filter(ours)
            .map(|found| (found.name.as_str(), found))
            .collect();
        for (name, family) in &self.families {
            let Some(documented) = documented.get(name.as_str()) else {
                differences.push(format!("{name} is not documented"));
                continue;
            };
            if documented.kind != family.kind {
                differences.push(format!("{name} is a {}", family.kind));
            }
            let labels: BTreeSet<String> = documented.labels.keys().cloned().collect();
            if labels != family.labels {
                differences.push(format!("{name} has the labels {:?}", family.labels));
            }
            let bounds = documented.buckets.iter().map(f64::to_string);
            let last = (documented.kind == "histogram").then(|| "+Inf".to_owned());
            if bounds.chain(last).collect::<BTreeSet<_>>() != family.bounds {
                differences.push(format!("{name} has the bounds {:?}", family.bounds));
            }
        }
        let missing = documented.keys().filter(|name| !self.families.contains_key(**name));
        let missing = missing.filter(|name| !absent.contains(*name));
        differences.extend(missing.map(|name| format!("{name} is documented and does not exist")));
        ensure!(differences.is_empty(), "docs/metrics.json differs: {}", differences.join("; "));
        Ok(())
    }

    /// Shows it to `promtool check metrics`, which knows the conventions.
    ///
    /// # Errors
    /// With what promtool finds.
    pub fn lint(&self) -> Result<()> {
        let mut promtool = Command::new(tool("promtool")?)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        promtool.stdin.take().context("a pipe")?.write_all(self.text.as_bytes())?;
        let output = promtool.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success() && said.trim().is_empty(), "promtool: {said}");
        Ok(())
    }
}

/// Name and labels of a line with a value.
fn series(line: &str) -> Result<(&str, Vec<(&str, &str)>)> {
    let (series, _value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
    let Some((name, labels)) = series.split_once('{') else { return Ok((series, Vec::new())) };
    let labels = labels.strip_suffix('}').with_context(|| format!("no end of labels: {line}"))?;
    // None of our values has a quote or a comma.
    let pairs = labels.split(',').map(|label| {
        let (name, value) = label.split_once('=').context("a label without a value")?;
        Ok((name, value.trim_matches('"')))
    });
    Ok((name, pairs.collect::<Result<_>>()?))
}

/// The family of a series: those of a histogram have its name with an ending.
fn family_of<'a>(name: &'a str, families: &BTreeMap<String, Family>) -> &'a str {
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    let is_histogram =
        |name: &&str| families.get(*name).is_some_and(|family| family.kind == "histogram");
    histogram.filter(is_histogram).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# HELP process_threads Threads.\n# TYPE process_threads gauge\nprocess_threads 3\n";

    #[test]
    fn what_is_missing_and_what_is_too_much_is_told() {
        let page = Exposition::parse(TEXT).unwrap();
        assert_eq!(page.value("process_threads").unwrap(), 3.0);
        let error = page.is_documented("gateway", &[]).unwrap_err().to_string();
        assert!(
            error.contains("wsgateway_connections is documented and does not exist"),
            "{error}"
        );
        assert!(!error.contains("process_threads"), "{error}");
        let more = TEXT.replace("process_threads", "process_thoughts");
        let error = Exposition::parse(&more).unwrap().is_documented("gateway", &[]).unwrap_err();
        assert!(error.to_string().contains("process_thoughts is not documented"), "{error}");
    }

    #[test]
    fn a_metric_without_words_is_refused() {
        assert!(Exposition::parse("a 1\n").is_err());
        assert!(Exposition::parse("# TYPE a gauge\na 1\n").is_err());
    }
}
