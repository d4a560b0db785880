//! Child processes, pinned to cores, and what the kernel knows of them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::error::{Error, io};

/// Longest wait for a server.
const START: Duration = Duration::from_secs(30);
/// Between two looks at a server that starts.
const LOOK: Duration = Duration::from_millis(20);

/// A server process; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    what: String,
}

impl Server {
    /// Starts a program with both outputs in a log file.
    pub(crate) fn start(what: &str, mut command: Command, log: PathBuf) -> Result<Self, Error> {
        let file = File::create(&log).map_err(io("cannot write a log"))?;
        let twin = file.try_clone().map_err(io("cannot write a log"))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
        Ok(Self { child: child.map_err(io("cannot start a server"))?, log, what: what.to_owned() })
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` finds what it looks for in the log.
    pub(crate) fn wait_for<T>(
        &mut self,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + START;
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if let Some(found) = find(&log) {
                return Ok(found);
            }
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                return Err(Error::Start { what: self.what.clone(), log: tail(&log) });
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command that runs on one core, where `taskset` can be had and there are several; the kernel ends it when this
/// program ends, however that comes, where `setpriv` can be had. Only for the main thread: its end is what counts.
pub(crate) fn pinned(core: Option<usize>, program: &Path) -> Command {
    static TETHERED: LazyLock<bool> =
        LazyLock::new(|| works("setpriv", &[TETHER[1], TETHER[2], "true"]));
    let mut words: Vec<OsString> = Vec::new();
    if let Some(core) = core {
        words.extend(["taskset".into(), "-c".into(), core.to_string().into()]);
    }
    if *TETHERED {
        words.extend(TETHER.map(OsString::from));
    }
    words.push(program.into());
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Becomes the program behind it, which gets this signal when its parent ends.
const TETHER: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

fn works(program: &str, arguments: &[&str]) -> bool {
    let status =
        Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A program that was named, or the one of this name beside `this` one; `missing` where there is none.
pub(crate) fn program(
    this: &Path,
    named: Option<&PathBuf>,
    name: &str,
    missing: fn(PathBuf) -> Error,
) -> Result<PathBuf, Error> {
    let beside = || this.parent().unwrap_or(Path::new("")).join(name);
    let program = named.cloned().unwrap_or_else(beside);
    if program.is_file() { Ok(program) } else { Err(missing(program)) }
}

/// The cores for server and clients; None when they cannot be kept apart.
pub(crate) fn cores() -> Option<(usize, usize)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores >= 2 && works("taskset", &["--version"])).then_some((1, 0))
}

/// CPU time of all threads of a process, as its scheduler counts it (ns).
pub(crate) fn cpu_ns(pid: u32) -> Result<u64, Error> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(io("cannot read CPU times"))?;
    let mut sum = 0;
    for task in tasks.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Memory of a process that is its own, with its share of what others use as well (Pss, bytes).
pub(crate) fn memory(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Memory of a process that is resident, whatever it shares (bytes).
pub(crate) fn resident(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Memory that can still be had without swapping (bytes).
pub(crate) fn available() -> u64 {
    field("/proc/meminfo", "MemAvailable:")
}

/// A limit of the kernel; None where there is none.
pub(crate) fn limit(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Connections that have ended and still hold a port of the machine for their last packets.
pub(crate) fn lingering() -> usize {
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let mut words = sockets.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Memory in the kernel's own pools, sockets among it, of the whole machine (bytes).
pub(crate) fn slabs() -> u64 {
    field("/proc/meminfo", "Slab:")
}

/// Files that a process of this user may hold open.
pub(crate) fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

/// A figure in kB, in bytes.
fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The last lines of a log, for an error.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" | ")
}

/// Status and body of `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())))
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder of this process.
    pub(crate) fn new() -> Result<Self, Error> {
        let path = std::env::temp_dir().join(format!("wsgateway-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(io("cannot make a scratch folder"))?;
        Ok(Self(path))
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the temporary folder.
        drop(fs::remove_dir_all(&self.0));
    }
}
