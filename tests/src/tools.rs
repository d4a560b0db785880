//! Where the real servers are. `hack/tools` and `hack/redis` hold the rules; this asks them.

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
    path_from("hack/tools", &["--path", name])
}

/// The path of redis-server.
///
/// # Errors
/// When it is missing or too old; the error says what to do.
pub fn redis_server() -> Result<PathBuf> {
    path_from("hack/redis", &["--path"])
}

/// What one of our scripts prints.
fn path_from(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let script = repository().join(script);
    let output = Command::new("bash")
        .arg(&script)
        .args(arguments)
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
