//! A container that is short of CPU: a small quota, and a process in its cgroup that wants all of it. And the crowd that comes
//! meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// CPU time of a container in each [`PERIOD`] (µs): an eighth of a CPU is left for a gateway beside the busy process.
const QUOTA: u32 = 25_000;
/// Usual period of a quota (µs).
const PERIOD: u32 = 100_000;
/// Most CPU time of the busy process (s).
const LONGEST: u32 = 120;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One container that is short of CPU, until this is dropped.
#[derive(Debug)]
pub(crate) struct Squeeze {
    file: PathBuf,
    before: String,
    /// Held for its drop, which ends it.
    _busy: Child,
}

impl Squeeze {
    /// Squeezes the container of a process.
    pub(crate) fn begin(pid: u32) -> Result<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let folders = folders(&groups).context("the cgroup of the container")?;
        let file = folders.iter().map(|folder| folder.join("cpu.max")).find(|file| file.exists());
        let (file, quota) = match file {
            Some(file) => (file, format!("{QUOTA} {PERIOD}")),
            None => (folders[0].join("cpu.cfs_quota_us"), QUOTA.to_string()),
        };
        let before = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        // It ends by itself, whatever becomes of this process.
        let mut busy = Command::new("sh");
        busy.args(["-c", &format!("ulimit -t {LONGEST}; while :; do :; done")]);
        let busy = busy.stdin(Stdio::null()).kill_on_drop(true).spawn()?;
        let pid = busy.id().context("the busy process has ended")?;
        let squeeze = Self { file, before, _busy: busy };
        for folder in &folders {
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        fs::write(&squeeze.file, quota)?;
        Ok(squeeze)
    }
}

impl Drop for Squeeze {
    fn drop(&mut self) {
        // The container may be gone.
        drop(fs::write(&self.file, self.before.trim()));
    }
}

/// Where the CPU of a process is limited and counted: one folder with cgroup v2, two with v1.
fn folders(groups: &str) -> Option<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    let of = |controller: &str| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            let is_it = names.split(',').any(|name| name == controller);
            is_it.then(|| root.join(names).join(path.trim_start_matches('/')))
        })
    };
    match (of("cpu"), of("cpuacct")) {
        (Some(cpu), Some(counted)) => Some(vec![cpu, counted]),
        _ => of("").map(|folder| vec![folder]),
    }
}

/// So many clients knock, one after the other; how many of them are answered 503.
pub(crate) async fn refused(address: SocketAddr, clients: u32) -> usize {
    let mut refused = 0;
    for _ in 0..clients {
        let status = timeout(PATIENCE, knock(address)).await;
        refused += usize::from(status.is_ok_and(|status| status.is_ok_and(|code| code == 503)));
    }
    refused
}

/// The status of an upgrade.
async fn knock(address: SocketAddr) -> Result<u16> {
    let mut socket = TcpStream::connect(address).await?;
    let request = "GET /ws HTTP/1.1\r\nHost: loss\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    socket.read_exact(&mut head).await?;
    let text = std::str::from_utf8(&head)?;
    text.strip_prefix("HTTP/1.1 ").context("no HTTP/1.1")?.parse().context("no status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_found() {
        let first = "3:memory:/pod\n2:cpuacct:/kube/pod\n1:cpu:/kube/pod\n0::/\n";
        let root = Path::new("/sys/fs/cgroup");
        let both = vec![root.join("cpu/kube/pod"), root.join("cpuacct/kube/pod")];
        assert_eq!(folders(first), Some(both));
        let together = root.join("cpu,cpuacct/pod");
        assert_eq!(folders("4:cpu,cpuacct:/pod\n"), Some(vec![together.clone(), together]));
        assert_eq!(folders("0::/kube/pod\n"), Some(vec![root.join("kube/pod")]));
    }
}
