//! Our own programs, as a user would build them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::repository;

/// What this process has built, so that only the first test of a program waits for cargo.
static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// The path of one of this workspace's programs, built from the checkout as it is now. Package and program share the
/// name.
///
/// # Errors
/// When it does not compile; cargo has said why.
pub fn binary(name: &str) -> Result<PathBuf> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let path = build(name)?;
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

fn build(name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", name, "--bin", name])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build --package {name} failed");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|artifact| artifact["target"]["name"] == name)
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo build made no program {name}"))
}

/// The program that cargo built beside this test program, with the same profile and features. Package, program and
/// the package's folder share the name.
///
/// # Errors
/// When it is missing or older than its sources; the error says what to run.
pub fn built_beside(name: &str) -> Result<PathBuf> {
    let advice = format!("run: cargo build -p {name}");
    let test = std::env::current_exe()?;
    let target = test.parent().and_then(Path::parent).context("a test program in target/*/deps")?;
    let binary = target.join(name);
    let built = std::fs::metadata(&binary)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("{} is missing; {advice}", binary.display()))?;
    let sources = newest(&repository().join(name).join("src"))?;
    ensure!(built >= sources, "{} is older than its sources; {advice}", binary.display());
    Ok(binary)
}

fn newest(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let time = if entry.file_type()?.is_dir() {
            self::newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(time);
    }
    Ok(newest)
}
