//! The fan-out benchmark: floor and gateway in turn, several rounds, ratios within each round.
//!
//! Server on one core; nats-server, clients and this process on another, where the machine has two.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wsgateway_config::{GatewayConfig, JetStreamSource, Source};

use crate::clients::{Load, Measured};
use crate::error::{Error, io, nats_error};
use crate::load::CHANNEL;
use crate::process::{Scratch, Server, cores, get, pinned};
use crate::report::{self, Report};

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    load: Load,
    /// Rounds; in each, floor and gateway run once, in alternating order
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Gateway program (default: the one beside this program)
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

/// Everything that the rounds share.
struct Bench<'a> {
    load: &'a Load,
    gateway: PathBuf,
    this: PathBuf,
    cores: Option<(usize, usize)>,
    nats: String,
    scratch: Scratch,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let this = std::env::current_exe().map_err(io("own path"))?;
    let beside = || this.parent().unwrap_or(Path::new("")).join("gateway");
    let gateway = arguments.gateway.clone().unwrap_or_else(beside);
    if !gateway.is_file() {
        return Err(Error::NoGateway(gateway));
    }
    let (scratch, cores) = (Scratch::new()?, cores());
    let (nats_server, nats) = start_nats(&scratch, cores)?;
    let bench = Bench { load: &arguments.load, gateway, this, cores, nats, scratch };
    make_stream(&bench.nats)?;
    let mut report = Report::new(&arguments.load, cores.is_some());
    for round in 0..arguments.rounds {
        let (floor, gateway);
        if round % 2 == 0 {
            floor = bench.floor()?;
            gateway = bench.gateway(round)?;
        } else {
            gateway = bench.gateway(round)?;
            floor = bench.floor()?;
        }
        eprintln!(
            "round {} of {}: {}",
            round + 1,
            arguments.rounds,
            report::line(&floor, &gateway)
        );
        report.add(floor, gateway);
    }
    drop(nats_server);
    let markdown = report.markdown();
    println!("{markdown}");
    write_results(&arguments.results, &report, &markdown)
}

fn write_results(folder: &Path, report: &Report, markdown: &str) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(io("cannot make the results folder"))?;
    let base = folder.join(format!("fanout-{}", report.name()));
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::write(base.with_extension("json"), json).map_err(io("cannot write results"))?;
    fs::write(base.with_extension("md"), format!("{markdown}\n"))
        .map_err(io("cannot write results"))?;
    eprintln!("written to {}.{{json,md}}", base.display());
    Ok(())
}

impl Bench<'_> {
    fn floor(&self) -> Result<Measured, Error> {
        let mut command = pinned(self.cores.map(|cores| cores.0), &self.this);
        command.arg("floor").args(["--connections", &self.load.connections.to_string()]);
        command.args(["--payload", &self.load.payload.to_string()]);
        let mut server = Server::start("the floor", command, self.scratch.join("floor.log"))?;
        let field = |log: &str, name: &str| -> Option<SocketAddr> {
            log.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let (clients, control) =
            server.wait_for(|log| Some((field(log, "clients")?, field(log, "control")?)))?;
        self.clients(&server, clients, &["--control", &control.to_string()])
    }

    fn gateway(&self, round: usize) -> Result<Measured, Error> {
        let source =
            JetStreamSource { servers: vec![self.nats.clone()], stream: STREAM.to_owned() };
        let mut config = GatewayConfig::new("bench/fanout", Source::JetStream(source));
        config.capacity.connections =
            config.capacity.connections.max(self.load.connections as u32 + 100);
        let file = self.scratch.join("gateway.yaml");
        fs::write(&file, config.render()?).map_err(io("cannot write the configuration"))?;
        let mut command = pinned(self.cores.map(|cores| cores.0), &self.gateway);
        command.arg("--config").arg(&file).args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        command.env("WSGATEWAY_LOG_FORMAT", "json").env_remove("RUST_LOG");
        let log = self.scratch.join(&format!("gateway-{round}.log"));
        let mut server = Server::start("the gateway", command, log)?;
        let (admin, clients) = server
            .wait_for(|log| Some((logged(log, "admin listening")?, logged(log, "listening")?)))?;
        server.wait_for(|_| {
            get(admin, "/readyz").is_ok_and(|(status, _)| status == 200).then_some(())
        })?;
        self.clients(&server, clients, &["--nats", &self.nats])
    }

    /// Runs the client process against a server.
    fn clients(
        &self,
        server: &Server,
        address: SocketAddr,
        more: &[&str],
    ) -> Result<Measured, Error> {
        let load = self.load;
        let output = pinned(self.cores.map(|cores| cores.1), &self.this)
            .args(["clients", "--server", &address.to_string(), "--pid", &server.pid().to_string()])
            .args(["--connections", &load.connections.to_string()])
            .args(["--messages", &load.messages.to_string(), "--warmup", &load.warmup.to_string()])
            .args(["--window", &load.window.to_string(), "--payload", &load.payload.to_string()])
            .args(more)
            .stderr(Stdio::piped())
            .output()
            .map_err(io("cannot start the clients"))?;
        if !output.status.success() {
            return Err(Error::Clients(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// The stream of the benchmark, in memory, so that the disk plays no part.
const STREAM: &str = "BENCH";

fn make_stream(nats: &str) -> Result<(), Error> {
    use async_nats::jetstream::{self, stream};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io("cannot make a runtime"))?.block_on(async {
        let servers = [nats.to_owned()];
        let client = wsgateway_nats::connect(&servers, "bench", |_| ())
            .await
            .map_err(|error| nats_error(&error))?;
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![CHANNEL.to_owned()],
            storage: stream::StorageType::Memory,
            max_messages: 10_000,
            ..stream::Config::default()
        };
        jetstream::new(client).create_stream(config).await.map_err(|error| nats_error(&error))?;
        Ok(())
    })
}

/// nats-server on a free port, beside the clients.
fn start_nats(scratch: &Scratch, cores: Option<(usize, usize)>) -> Result<(Server, String), Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/tools");
    let found = Command::new("bash").arg(script).args(["--path", "nats-server"]).output();
    let found = found.map_err(io("cannot run hack/tools"))?;
    if !found.status.success() {
        return Err(Error::NoNats(String::from_utf8_lossy(&found.stderr).trim().to_owned()));
    }
    let path = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let store = scratch.join("store");
    let config =
        format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n", store.display());
    let file = scratch.join("nats.conf");
    fs::write(&file, config).map_err(io("cannot write a configuration"))?;
    let mut command = pinned(cores.map(|cores| cores.1), &path);
    command.arg("-c").arg(file);
    let mut server = Server::start("nats-server", command, scratch.join("nats.log"))?;
    let address = server.wait_for(|log| {
        let ready = log.contains("Server is ready");
        let line = log.lines().find(|line| line.contains("Listening for client connections on "));
        line.filter(|_| ready)?.rsplit(' ').next()?.parse::<SocketAddr>().ok()
    })?;
    Ok((server, format!("nats://{address}")))
}

/// The address in a line of the gateway's log.
fn logged(log: &str, message: &str) -> Option<SocketAddr> {
    let events =
        log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut events = events.filter(|event| event["message"] == message);
    events.next()?["address"].as_str()?.parse().ok()
}
