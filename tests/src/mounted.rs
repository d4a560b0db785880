//! A Secret as a pod sees it: a folder whose files are links through `..data`, which the kubelet swaps in one step.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::Scratch;

/// A folder that a Secret is mounted to.
#[derive(Debug)]
pub struct MountedSecret {
    folder: Scratch,
    version: u32,
}

impl MountedSecret {
    /// A folder with these files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(files: &[(&str, &str)]) -> Result<Self> {
        let mut mounted = Self { folder: Scratch::new("secret")?, version: 0 };
        mounted.replace(files)?;
        Ok(mounted)
    }

    /// Replaces all content in one step, as the kubelet does when the Secret has changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace(&mut self, files: &[(&str, &str)]) -> Result<()> {
        self.version += 1;
        let version = format!("..version_{}", self.version);
        let folder = self.folder.path();
        std::fs::create_dir(folder.join(&version))?;
        for (name, content) in files {
            std::fs::write(folder.join(&version).join(name), content)?;
        }
        symlink(&version, folder.join("..data_tmp"))?;
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
        for (name, _) in files {
            let link = folder.join(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link)?;
            }
        }
        Ok(())
    }

    /// Path of a file in it, which need not be there yet.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
