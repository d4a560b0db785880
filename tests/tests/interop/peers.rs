//! The programs of `tests/interop`: other implementations, as clients or as servers.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::repository;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

/// How long anything may take on a machine that compiles at the same time.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Node, with `ws`.
    Node,
    /// Python, with `websockets`.
    Python,
}

/// A running program. It ends with the value.
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: ChildStderr,
}

/// The folder of what `hack/interop` has installed.
fn installed() -> Result<PathBuf> {
    let output = std::process::Command::new(repository().join("hack/interop"))
        .arg("--dir")
        .output()
        .context("cannot run hack/interop")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

impl Peer {
    /// Starts a program by its name without extension.
    pub(super) fn start(self, name: &str, arguments: &[&str]) -> Result<Program> {
        let (installed, sources) = (installed()?, repository().join("tests/interop"));
        let mut command = match self {
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(sources.join("node").join(format!("{name}.cjs")));
                command.arg(installed.join("node/node_modules"));
                command
            }
            Self::Python => {
                let mut command = Command::new(installed.join("python/bin/python"));
                // Nothing is written into the checkout.
                command.arg("-B").arg(sources.join("python").join(format!("{name}.py")));
                command
            }
        };
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {self:?}"))?;
        let stdout = child.stdout.take().context("no stdout")?;
        let errors = child.stderr.take().context("no stderr")?;
        Ok(Program { child, lines: BufReader::new(stdout).lines(), errors })
    }
}

impl Program {
    /// The next line of its output; its errors if there is none.
    pub(super) async fn line(&mut self) -> Result<String> {
        let line =
            timeout(SOON, self.lines.next_line()).await.context("the program says nothing")??;
        match line {
            Some(line) => Ok(line),
            None => {
                let mut errors = String::new();
                timeout(SOON, self.errors.read_to_string(&mut errors)).await??;
                anyhow::bail!("the program has ended: {errors}")
            }
        }
    }

    /// The rest of its output. It must end by itself, and well.
    pub(super) async fn finish(mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) =
            timeout(SOON, self.lines.next_line()).await.context("the program hangs")??
        {
            lines.push(line);
        }
        let mut errors = String::new();
        timeout(SOON, self.errors.read_to_string(&mut errors)).await??;
        let status = self.child.wait().await?;
        ensure!(status.success(), "{status} after {lines:?}:\n{errors}");
        Ok(lines)
    }
}
