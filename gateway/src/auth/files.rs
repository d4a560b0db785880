//! Files with keys: read again and again, since Secrets change under a running pod.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use wsgateway_access::{Keys, Origin};
use wsgateway_config::KeyFile;

use crate::settle::Settle;

/// The largest Secret that Kubernetes keeps.
const LARGEST: u64 = 1 << 20;

/// The files of a configuration.
#[derive(Debug)]
pub(super) struct KeyFiles {
    files: Vec<Watched>,
}

/// One file.
struct Watched {
    file: KeyFile,
    read: Settle<Content>,
    /// The last keys that could be read of it.
    good: Option<Keys>,
    /// Why these are not what it says now.
    problem: Option<String>,
}

/// The bytes of a file, or why there are none. Shows neither.
type Content = Result<Vec<u8>, String>;

impl std::fmt::Debug for Watched {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watched").field("file", &self.file).finish_non_exhaustive()
    }
}

impl KeyFiles {
    /// Files that were not read yet.
    pub(super) fn new(files: &[KeyFile]) -> Self {
        let watched = |file: &KeyFile| Watched {
            file: file.clone(),
            read: Settle::new(),
            good: None,
            problem: None,
        };
        Self { files: files.iter().map(watched).collect() }
    }

    /// Reads all of them; true if other keys are to be used.
    pub(super) fn poll(&mut self) -> bool {
        // Every file, whatever the ones before it said.
        self.files.iter_mut().fold(false, |changed, file| file.poll() | changed)
    }

    /// The keys that could be read last, of each file that ever had any.
    pub(super) fn good(&self) -> impl Iterator<Item = &Keys> {
        self.files.iter().filter_map(|file| file.good.as_ref())
    }

    /// What is wrong with files.
    pub(super) fn problems(&self) -> Vec<String> {
        self.files.iter().filter_map(|file| file.problem.clone()).collect()
    }
}

impl Watched {
    fn poll(&mut self) -> bool {
        let now = read(&self.file.file);
        // At the start nobody waits.
        let now = match self.read.is_new() {
            true => Some(self.read.set(now)),
            false => self.read.look(now),
        };
        let Some(now) = now else { return false };
        let keys = match now {
            Ok(bytes) => Keys::read(bytes, self.file.id.as_deref(), Origin::File)
                .map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        match keys {
            Ok(keys) => {
                (self.good, self.problem) = (Some(keys), None);
                true
            }
            Err(why) => {
                let problem = format!("{}: {why}", self.file.file.display());
                tracing::warn!(
                    problem,
                    "a file has no key: tokens are verified with the last good ones"
                );
                self.problem = Some(problem);
                false
            }
        }
    }
}

fn read(path: &Path) -> Content {
    let mut bytes = Vec::new();
    let whole = File::open(path).and_then(|file| {
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > LARGEST {
            true => Err(io::Error::other("it is larger than 1 MiB, so it is something else")),
            false => Ok(()),
        }
    });
    whole.map(|()| bytes).map_err(|error| error.to_string())
}
