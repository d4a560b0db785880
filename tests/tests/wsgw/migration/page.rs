//! docs/migration.md: its manifests are valid, what it names exists, and the commands that need a gateway work.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use harness::repository;

use super::{Rig, with_input};

fn page() -> Result<String> {
    Ok(std::fs::read_to_string(repository().join("docs/migration.md"))?)
}

#[tokio::test]
async fn every_manifest_of_the_migration_is_valid_and_the_page_names_it() -> Result<()> {
    let (page, mut count) = (page()?, 0);
    for entry in std::fs::read_dir(repository().join("examples/migration"))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name in UTF-8")?;
        let (code, out, errors) =
            with_input(&["check", "-f", "-"], &std::fs::read_to_string(&path)?).await?;
        ensure!(code == Some(0), "{name}: {out}{errors}");
        ensure!(page.contains(name), "docs/migration.md does not name {name}");
        count += 1;
    }
    ensure!(count == 5, "a manifest for each of the five systems, not {count}");
    Ok(())
}

#[test]
fn every_metric_that_the_page_names_exists() -> Result<()> {
    let known = std::fs::read_to_string(repository().join("docs/metrics.json"))?;
    let page = page()?;
    let named: BTreeSet<_> = page
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("wsgateway_") && *word != "wsgateway_")
        .collect();
    ensure!(named.len() > 10, "few metrics: {named:?}");
    for name in named {
        ensure!(known.contains(&format!("\"{name}\"")), "there is no metric {name}");
    }
    Ok(())
}

/// The lines that stand in the page, with the address of a gateway that runs for the test.
#[tokio::test]
async fn the_load_commands_of_the_page_run_against_the_gateways_of_its_manifests() -> Result<()> {
    let page = page()?;
    for (manifest, address) in
        [("s0-odin-node", "ws://127.0.0.1:3000/ws"), ("s2-odin-go", "ws://127.0.0.1:3004/ws")]
    {
        let line = page
            .lines()
            .find(|line| line.starts_with("wsgw load ") && line.contains(address))
            .with_context(|| format!("no wsgw load of {address}"))?;
        let rig = Rig::start(manifest, &[]).await?;
        let target = format!("{}ws", rig.dev.url().replace("http://", "ws://"));
        let words: Vec<_> = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .map(|word| if word == address { target.as_str() } else { word.trim_matches('\'') })
            .collect();
        let (code, out, errors) = with_input(&words, "").await?;
        ensure!(code == Some(0), "{line}: {code:?}\n{out}{errors}");
    }
    Ok(())
}
