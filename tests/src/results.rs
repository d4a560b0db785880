//! The results of a measurement in the docs: a table between two marks of `NAME.md`, and all figures in `NAME.json`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

const END: &str = "<!-- end -->\n";

/// Replaces the table of `docs/NAME.md` and the whole of `docs/NAME.json` by what `make NAME` has measured.
///
/// # Errors
/// When a file cannot be read or written, or the doc has no place for the table.
pub fn publish_results(
    docs: &Path,
    name: &str,
    table: &str,
    results: &impl Serialize,
) -> Result<()> {
    publish_results_of(name, docs, name, table, results)
}

/// The same, measured by `make COMMAND`.
///
/// # Errors
/// When a file cannot be read or written, or the doc has no place for the table.
pub fn publish_results_of(
    command: &str,
    docs: &Path,
    name: &str,
    table: &str,
    results: &impl Serialize,
) -> Result<()> {
    let file = docs.join(format!("{name}.md"));
    let text = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
    let begin = format!("<!-- begin: written by make {command} -->\n");
    let text = replaced(&text, &begin, table)
        .with_context(|| format!("{} lacks the line {begin:?} or {END:?}", file.display()))?;
    fs::write(&file, text)?;
    fs::write(docs.join(format!("{name}.json")), serde_json::to_string_pretty(results)? + "\n")?;
    Ok(())
}

fn replaced(text: &str, begin: &str, table: &str) -> Result<String> {
    let (before, rest) = text.split_once(begin).context("no begin")?;
    let (_, after) = rest.split_once(END).context("no end")?;
    ensure!(!after.contains(begin), "two begins");
    Ok(format!("{before}{begin}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scratch;

    #[test]
    fn the_docs_keep_their_words_around_the_table() -> Result<()> {
        let docs = Scratch::new("results")?;
        let begin = "<!-- begin: written by make loss -->\n";
        fs::write(docs.join("loss.md"), format!("# Loss\n{begin}old\n{END}after\n"))?;
        for _ in 0..2 {
            publish_results(docs.path(), "loss", "new\n", &[1])?;
            let text = fs::read_to_string(docs.join("loss.md"))?;
            assert_eq!(text, format!("# Loss\n{begin}\nnew\n\n{END}after\n"));
        }
        assert_eq!(fs::read_to_string(docs.join("loss.json"))?, "[\n  1\n]\n");
        fs::write(docs.join("loss.md"), "no place")?;
        assert!(publish_results(docs.path(), "loss", "new\n", &[1]).is_err());
        Ok(())
    }
}
