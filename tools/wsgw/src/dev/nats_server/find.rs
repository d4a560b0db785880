//! Where a nats-server of a sufficient version is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::NatsServerError;

/// Older servers drop stream metadata, compression and filters without an error.
const OLDEST: (u32, u32) = (2, 10);

/// A nats-server that will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) program: PathBuf,
    /// Such as `2.12.15`.
    pub(crate) version: String,
}

/// What `$NATS_SERVER` names, else the first on PATH or in the tools cache that is new enough, else none.
pub(crate) fn find() -> Result<Option<Found>, NatsServerError> {
    if let Some(named) = std::env::var_os("NATS_SERVER").filter(|value| !value.is_empty()) {
        let program = PathBuf::from(named);
        return match probe(&program) {
            Some(found) => Ok(Some(found)),
            None => Err(NatsServerError::Variable(program.display().to_string())),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    Ok(on_path
        .chain(cached())
        .filter(|program| program.is_file())
        .find_map(|program| probe(&program)))
}

/// Where `make tools` puts it.
fn cached() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("wsgateway/tools/bin/nats-server"))
}

fn probe(program: &Path) -> Option<Found> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let version = parse_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(Found { program: program.to_owned(), version })
}

/// The version in `nats-server: v2.12.15`, if it is new enough.
fn parse_version(text: &str) -> Option<String> {
    let version = text.split_whitespace().last()?.trim_start_matches('v');
    let mut parts = version.split('.').map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    ((major, minor) >= OLDEST).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_2_10_on_will_do() {
        assert_eq!(parse_version("nats-server: v2.12.15\n").as_deref(), Some("2.12.15"));
        assert_eq!(parse_version("nats-server: v2.10.0").as_deref(), Some("2.10.0"));
        assert_eq!(parse_version("nats-server: v3.0.0-RC.1").as_deref(), Some("3.0.0-RC.1"));
        for old in ["nats-server: v2.9.10", "nats-server: v1.99.0", "", "no version here"] {
            assert_eq!(parse_version(old), None, "{old}");
        }
    }
}
