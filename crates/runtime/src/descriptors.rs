//! File descriptors of this process: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, as far as the system lets us. Returns the limit that holds from
/// now on; a process without one gets [`u64::MAX`].
///
/// The soft limit is often 1,024 for the sake of programs that use `select`, which we do not.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
    }
    self::limit()
}

/// The soft limit of open files.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors open now. 0 if /proc is not there.
pub fn open() -> u64 {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 the folder's size is the count; before, it is 0.
    let size = std::fs::metadata(folder).map_or(0, |folder| folder.len());
    if size > 0 { size } else { std::fs::read_dir(folder).map_or(0, |files| files.count() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_the_hard_one_once_raised() {
        let raised = raise_limit();
        assert_eq!(raised, limit());
        assert_eq!(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX), raised);
    }

    #[test]
    fn an_open_file_counts() {
        let held: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(open() >= held.len() as u64);
    }
}
