//! Scratch folders: removed after the test, kept when it failed.
//!
//! All of a process's folders lie in one root folder. A shell waits for the end of the process (see
//! [`crate::guardian`]) and removes the root, unless a test panicked: then the root and every folder that
//! was alive stay, with the servers' logs in them, and the panic says where.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, anyhow};

/// Waits for its standard input to end, then removes the folder, unless the marker is in it. Again and
/// again for a while: servers that are being ended at the same moment may still write.
const REMOVER: &str = r#"trap '' INT TERM HUP
cat >/dev/null
[ -e "$1/failed" ] && exit 0
for _ in $(seq 100); do rm -rf "$1" 2>/dev/null && exit 0; sleep 0.1; done"#;

/// The marker a panic leaves in the root.
const FAILED: &str = "failed";

struct Root {
    path: PathBuf,
    /// Lives as long as the process; the end of its standard input is what it waits for.
    _remover: Child,
}

static ROOT: OnceLock<Root> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of one server or test. Dropping it removes it, unless a test has failed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new empty folder whose name begins with `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root()?.join(format!("{name}-{number}"));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the folder.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in the folder and returns its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !failed() {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

fn failed() -> bool {
    ROOT.get().is_some_and(|root| root.path.join(FAILED).exists())
}

fn root() -> Result<&'static Path> {
    if let Some(root) = ROOT.get() {
        return Ok(&root.path);
    }
    let made = make_root()?;
    // Two tests at the same moment make two; the one that came second is removed by its remover,
    // whose standard input ends right here.
    drop(ROOT.set(made));
    ROOT.get().map(|root| root.path.as_path()).ok_or_else(|| anyhow!("the scratch root is gone"))
}

fn make_root() -> Result<Root> {
    let path = tempfile::Builder::new().prefix("wsgateway-tests-").tempdir()?.keep();
    let remover = Command::new("sh")
        .args(["-c", REMOVER, "remover"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run sh")?;
    mark_failures(path.clone());
    Ok(Root { path, _remover: remover })
}

/// A panic in this process keeps the folders and says where they are.
fn mark_failures(root: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if root.is_dir() && std::fs::write(root.join(FAILED), "").is_ok() {
            drop(writeln!(std::io::stderr(), "files and logs of the servers are kept in {}", root.display()));
        }
    }));
}
