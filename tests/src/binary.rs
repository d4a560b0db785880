//! Our own programs, as cargo has built them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::repository;

/// The program that cargo built beside this test program, with the same profile and features. Package and program share the
/// name. It is not built here: alone it would get other features, and so be compiled for minutes while a test waits.
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
    let folder = if name == "wsgw" { "tools/wsgw" } else { name };
    let sources = newest(&repository().join(folder).join("src"))?;
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
