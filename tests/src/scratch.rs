//! Scratch folders, and what becomes of the servers' logs.
//!
//! All of a process's folders lie in one root folder. A shell waits for the end of the process, however it
//! ends (see [`crate::guardian`]), copies the logs to a fixed place, `wsgateway-tests/PROGRAM` in the
//! temporary folder, where the next run of the same test program replaces them, and removes the root.
//! The logs of a good run are kept too: a test that fails by returning an error cannot be told from one
//! that passes, from in here.

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

/// `$1` is the root, `$2` the place for the logs. Tries again and again for a while: servers that are
/// being ended at the same moment may still write.
const REMOVER: &str = r#"trap '' INT TERM HUP
cat >/dev/null
rm -rf "$2"; mkdir -p "$2" && cd "$1" && find . -maxdepth 2 -name '*.log' -exec cp --parents {} "$2" \;
cd /; for _ in $(seq 100); do rm -rf "$1" 2>/dev/null && exit 0; sleep 0.1; done"#;

struct Root {
    path: PathBuf,
    /// Lives as long as the process; the end of its standard input is what it waits for.
    _remover: Child,
}

static ROOT: OnceLock<Root> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of one server or test. It is removed at the end of the process.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new empty folder whose name begins with `name`. Files in it that end in `.log` outlive the run.
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
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn root() -> Result<&'static Path> {
    if let Some(root) = ROOT.get() {
        return Ok(&root.path);
    }
    let made = make_root()?;
    // Two tests at the same moment make two; the second is removed by its own remover, whose standard
    // input ends right here.
    drop(ROOT.set(made));
    ROOT.get().map(|root| root.path.as_path()).ok_or_else(|| anyhow!("the scratch root is gone"))
}

fn make_root() -> Result<Root> {
    let path = tempfile::Builder::new().prefix("wsgateway-tests-").tempdir()?.keep();
    let logs = std::env::temp_dir().join("wsgateway-tests").join(program());
    let remover = Command::new("sh")
        .args(["-c", REMOVER, "remover"])
        .args([&path, &logs])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run sh")?;
    // Past the capture of a test's output: this is for whoever reads the whole run.
    drop(writeln!(std::io::stderr(), "logs of the servers, after the run: {}", logs.display()));
    Ok(Root { path, _remover: remover })
}

/// The test program's name without the hash that cargo appends.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit_once('-').map_or(name.clone(), |(name, _)| name.to_owned())
}

/// Copies a folder with everything in it, as a backup of a stopped server's store.
///
/// # Errors
/// When something cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
