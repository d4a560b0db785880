//! The program `wsgw`, run against servers that this benchmark started.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contestant::{Ground, Running};
use crate::error::{Error, io};
use crate::plan::Wire;
use crate::process::{cpu_ns, memory, pinned};

/// Over how long clients connect, in seconds, and how much later and earlier CPU is read than they are all there.
const RAMP: u64 = 10;
const MARGIN: u64 = 2;

/// A server under one load.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measured {
    pub(super) cores: f64,
    pub(super) memory_bytes: u64,
    pub(super) clients: u64,
    pub(super) deliveries_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
    pub(super) lost: u64,
    pub(super) errors: u64,
    /// What the report says of its own figures.
    pub(super) notes: Vec<String>,
}

/// `wsgw`, the NATS that it publishes to, and where reports go.
pub(super) struct Tool {
    program: PathBuf,
    nats: String,
    core: Option<usize>,
    scratch: PathBuf,
    results: PathBuf,
}

/// What names these gateways to `wsgw`.
pub(super) fn targets(gateways: &[Running]) -> Vec<String> {
    let target = |one: &Running| format!("ws://{}/ws", one.address);
    let admin = |one: &Running| one.admin.map(|admin| format!("--admin {admin}"));
    gateways.iter().map(target).chain(gateways.iter().filter_map(admin)).collect()
}

impl Tool {
    pub(super) fn new(program: PathBuf, ground: &Ground, results: PathBuf) -> Self {
        let nats = format!("nats://{}", ground.nats);
        let scratch = ground.scratch.join("report.json");
        Self { program, nats, core: ground.client_core(), scratch, results }
    }

    /// Runs a command on all cores, with its screen; its report as HTML goes to the results.
    pub(super) fn reported(
        &self,
        command: &str,
        arguments: &[String],
        name: &str,
    ) -> Result<Value, Error> {
        let mut words = arguments.join(" ");
        words += &format!(" --publish {} --json {} --html", self.nats, self.scratch.display());
        let html = self.results.join(format!("{name}.html"));
        let mut run = pinned(None, &self.program);
        run.arg(command).args(words.split_whitespace()).arg(html);
        let status = run.stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !status.map_err(io("cannot start wsgw"))?.success() {
            return Err(Error::Tool(format!("{command} failed: wsgw {command} {words}")));
        }
        let mut report = self.report()?;
        if let Some(fields) = report.as_object_mut() {
            fields.remove("points");
            fields.remove("machine");
        }
        Ok(report)
    }

    /// The load on one server, on the clients' core; CPU is read while everybody is there.
    pub(super) fn measured(
        &self,
        server: &Running,
        load: &str,
        seconds: u64,
    ) -> Result<Measured, Error> {
        let mut run = pinned(self.core, &self.program);
        run.arg("load").args(load.split_whitespace());
        match server.wire {
            Wire::V1 => run.arg(format!("ws://{}/ws", server.address)),
            _ => run.args([
                &format!("ws://{}/", server.address),
                "--protocol",
                "raw",
                "--raw-subscribe",
                r#"{"type":"subscribe","channels":["{channel}"]}"#,
            ]),
        };
        run.args(["--publish", &self.nats, "--plain", "--json"]).arg(&self.scratch);
        run.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = run.spawn().map_err(io("cannot start wsgw"))?;
        let read = watch(server, seconds);
        ended(&mut child, load)?;
        let (cores, memory_bytes) = read?;
        of_report(&self.report()?, cores, memory_bytes)
    }

    fn report(&self) -> Result<Value, Error> {
        let text = fs::read(&self.scratch).map_err(io("wsgw wrote no report"))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The cores that `wsgw size` foretells for a pod with these clients.
    pub(super) fn foretold(&self, clients: u64, messages: u64) -> Result<f64, Error> {
        let mut run = Command::new(&self.program);
        run.args(["size", "-o", "json", "-c", &clients.to_string()]);
        run.args(["--messages", &messages.to_string()]);
        let output = run.output().map_err(io("cannot start wsgw"))?;
        let estimate: Value = serde_json::from_slice(&output.stdout)?;
        let check = &estimate["check"];
        match (check["cores"].as_f64(), check["connections"].as_u64()) {
            (Some(cores), Some(connections)) => Ok(cores * clients as f64 / connections as f64),
            _ => Err(Error::Tool("size names no point to check".to_owned())),
        }
    }
}

/// Cores that a server used while all its clients were there, and its memory at the end of that.
fn watch(server: &Running, seconds: u64) -> Result<(f64, u64), Error> {
    sleep(Duration::from_secs(RAMP + MARGIN));
    let (before, begun) = (cpu_ns(server.server.pid())?, Instant::now());
    sleep(Duration::from_secs(seconds.saturating_sub(2 * MARGIN)));
    let used = cpu_ns(server.server.pid())?.saturating_sub(before);
    Ok((used as f64 / 1e9 / begun.elapsed().as_secs_f64(), memory(server.server.pid())))
}

fn ended(child: &mut Child, load: &str) -> Result<(), Error> {
    match child.wait().map_err(io("cannot wait for wsgw"))?.success() {
        true => Ok(()),
        false => Err(Error::Tool(format!("load failed: wsgw load {load}"))),
    }
}

fn of_report(report: &Value, cores: f64, memory_bytes: u64) -> Result<Measured, Error> {
    let figure = |path: &str| {
        let missing = || Error::Tool(format!("load's report has no {path}"));
        report.pointer(path).and_then(Value::as_f64).ok_or_else(missing)
    };
    let errors = report["totals"]["errors"].as_object();
    let notes = report["notes"].as_array();
    Ok(Measured {
        cores,
        memory_bytes,
        clients: figure("/peak")? as u64,
        // What is due to everybody once they are there: what CPU is divided by.
        deliveries_per_second: figure("/setting/rate")?
            * figure("/peak")?
            * figure("/setting/channelsPerClient")?
            / figure("/setting/channels")?,
        p50_ms: figure("/latency/p50Ms")?,
        p99_ms: figure("/latency/p99Ms")?,
        max_ms: figure("/latency/maxMs")?,
        lost: figure("/totals/lost")? as u64,
        errors: errors.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum(),
        notes: notes.into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect(),
    })
}
