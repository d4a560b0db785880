//! Where the real servers are. `hack/tools` and `hack/redis` hold the rules; this asks them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail};

/// The root of the checkout that cargo runs tests of, or that this harness was built from. With a target folder for several
/// checkouts, cargo may run what it has built in another one, which may be gone.
#[must_use]
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        let run = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = run.iter().flat_map(|package| package.ancestors());
        let root = root.map(Path::to_path_buf).find(|folder| folder.join("hack/tools").exists());
        root.unwrap_or_else(|| built.parent().unwrap_or(built).to_path_buf())
    })
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
