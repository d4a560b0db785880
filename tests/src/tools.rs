//! Where the real servers are. `hack/tools` holds the rules; this asks it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The root of the checkout this harness was built from.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// The path of a server's or tool's binary, by its name in `hack/tools`.
///
/// # Errors
/// When it is missing or too old; the error says what to do.
pub fn tool(name: &str) -> Result<PathBuf> {
    let script = repository().join("hack/tools");
    let output = Command::new("bash")
        .arg(&script)
        .args(["--path", name])
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
