//! A child process that cannot outlive the test, whatever becomes of the test.
//!
//! The server is started by a small shell, the guardian, in a process group of its own. The guardian reads
//! signals to pass on from its standard input, a pipe that only the test process holds. When the pipe
//! ends, because the value was dropped or because the test process is gone (exit, panic, `kill -9`), the
//! guardian kills the server and its whole group. It is the server's parent, so the number it signals can
//! not have been given to another process.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{init_tls, wait_until};

/// `$1` is the log; the rest is the command. Descriptor 3 is the lifeline, closed in the server.
const GUARDIAN: &str = r#"trap '' INT TERM HUP
log=$1; shift; exec 3<&0
( trap - INT TERM HUP; exec "$@" ) 3<&- </dev/null >>"$log" 2>&1 &
server=$!; echo "$server"; exec >/dev/null
while read -r signal <&3; do kill -"$signal" "$server" 2>/dev/null; done
kill -KILL "$server" 2>/dev/null; wait "$server"; kill -KILL 0"#;

/// What can be sent to a guarded process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ask it to end.
    Term,
    /// End it now.
    Kill,
    /// Freeze it: connections stay, nothing answers.
    Stop,
    /// Thaw it.
    Cont,
    /// What nats-server takes as "enter lame duck mode".
    LameDuck,
    /// Read its configuration again.
    Hup,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::LameDuck => "USR2",
            Self::Hup => "HUP",
        }
    }
}

/// A running program. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    log: PathBuf,
    pid: u32,
    guardian: Child,
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program` with its output appended to `log`.
    ///
    /// # Errors
    /// When the guardian cannot be started. A program that ends at once is noticed by
    /// [`Guarded::check_alive`].
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        init_tls();
        File::options().create(true).append(true).open(log)?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(log)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let mut line = String::new();
        if let Some(stdout) = guardian.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line.trim().parse().with_context(|| format!("{name} did not start"))?;
        let lifeline = guardian.stdin.take();
        Ok(Self { name, log: log.to_owned(), pid, guardian, lifeline })
    }

    /// Process id of the program.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs. An ended program is a zombie until it is dropped, which counts as ended, but
    /// only with its last thread: until then its ports are taken.
    #[must_use]
    pub fn alive(&self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // The name in parentheses may hold anything; the state is the first field after it.
        let zombie = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        let threads =
            std::fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count);
        !zombie || threads > 1
    }

    /// # Errors
    /// When the program has ended; the error carries the end of its log.
    pub fn check_alive(&self) -> Result<()> {
        if !self.alive() {
            bail!("{} has ended. The end of its log:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// The last lines of the log, for an error message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// When the guardian is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let lifeline = self.lifeline.as_mut().context("the guardian is gone")?;
        writeln!(lifeline, "{}", signal.name())?;
        Ok(())
    }

    /// Asks the program to end and waits for it.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> Result<()> {
        self.signal(Signal::Term)?;
        wait_until(limit, &format!("the end of {}", self.name), async || !self.alive()).await
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The guardian kills without asking, so this takes milliseconds.
        drop(self.guardian.wait());
    }
}
