//! Client processes that hold their connections until they are let go.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::error::{Error, io};
use crate::plan::Plan;
use crate::process::pinned;

/// How long the process that keeps a core awake spins, and sleeps: too short for the core to go to sleep itself.
const SPIN: Duration = Duration::from_micros(200);
const REST: Duration = Duration::from_micros(20);

/// The process that keeps a core awake until its standard input, of which it needs no plan, ends. It sleeps now and then:
/// Linux 6.18 was seen to leave a core for two minutes to a process of the least weight that never does, while the server
/// and the kernel's own workers waited for it.
pub(crate) fn awake() -> Result<(), Error> {
    std::thread::spawn(|| {
        loop {
            let begun = Instant::now();
            while begun.elapsed() < SPIN {
                std::hint::spin_loop();
            }
            std::thread::sleep(REST);
        }
    });
    println!("ready");
    // An error is an end, too.
    drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    Ok(())
}

/// Client processes; dropped, they end.
#[derive(Default)]
pub(crate) struct Holders(Vec<Child>);

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Holders {
    /// Starts this program in a role, and waits until it says that it is ready.
    pub(crate) fn start(&mut self, bench: &Bench, role: &str, plan: &Plan) -> Result<(), Error> {
        let mut command = pinned(bench.ground.client_core(), &bench.ground.this);
        command.arg(role);
        self.spawn(command, plan)
    }

    /// The same on whatever core is free.
    pub(crate) fn start_anywhere(
        &mut self,
        bench: &Bench,
        role: &str,
        plan: &Plan,
    ) -> Result<(), Error> {
        let mut command = pinned(None, &bench.ground.this);
        command.arg(role);
        self.spawn(command, plan)
    }

    /// The same for a process that has its core only while nobody else wants it.
    pub(crate) fn start_humbly(
        &mut self,
        bench: &Bench,
        core: Option<usize>,
        role: &str,
        plan: &Plan,
    ) -> Result<(), Error> {
        let inner = pinned(core, &bench.ground.this);
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(inner.get_program()).args(inner.get_args()).arg(role);
        self.spawn(command, plan)
    }

    fn spawn(&mut self, mut command: Command, plan: &Plan) -> Result<(), Error> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(io("cannot start the clients"))?;
        if let Some(stdin) = child.stdin.as_mut() {
            let line = serde_json::to_string(plan)? + "\n";
            stdin.write_all(line.as_bytes()).map_err(io("the clients have ended"))?;
        }
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).map_err(io("the clients have ended"))?;
        }
        self.0.push(child);
        if line.trim() == "ready" {
            return Ok(());
        }
        std::mem::take(self).finish()?;
        Err(Error::Clients("they ended before they were connected".to_owned()))
    }

    /// Keeps both cores from sleeping. To wake one up takes longer in a virtual machine than what is measured, and how
    /// often that happens would depend on what else runs.
    pub(crate) fn keep_awake(&mut self, bench: &Bench, plan: &Plan) -> Result<(), Error> {
        let Some((server, clients)) = bench.ground.cores else { return Ok(()) };
        self.start_humbly(bench, Some(server), "awake", plan)?;
        self.start_humbly(bench, Some(clients), "awake", plan)
    }

    /// Sends a line to every process, and reads a line of answer from each.
    pub(crate) fn ask(&mut self, line: &str) -> Result<Vec<String>, Error> {
        for child in &mut self.0 {
            if let Some(stdin) = child.stdin.as_mut() {
                let line = format!("{line}\n");
                stdin.write_all(line.as_bytes()).map_err(io("the clients have ended"))?;
            }
        }
        let mut answers = Vec::new();
        for child in &mut self.0 {
            let mut answer = String::new();
            if let Some(stdout) = child.stdout.as_mut() {
                BufReader::new(stdout)
                    .read_line(&mut answer)
                    .map_err(io("the clients have ended"))?;
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// How many processes.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Lets the clients go, and hears whether all connections lasted.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        for child in std::mem::take(&mut self.0) {
            let output = child.wait_with_output().map_err(io("the clients have ended"))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(Error::Clients(why));
            }
        }
        Ok(())
    }
}
