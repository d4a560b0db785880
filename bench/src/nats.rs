//! nats-server: the one that every server reads from, and the one that is a peer by its own WebSocket listener.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use async_nats::jetstream::{self, stream};
use wsgateway_nats::Access;

use crate::error::{Error, io, nats_error};
use crate::load::CHANNEL;
use crate::process::{Scratch, Server, pinned};

/// The stream of the benchmark, in memory, so that the disk plays no part.
pub(crate) const STREAM: &str = "BENCH";

/// A running nats-server.
pub(crate) struct Nats {
    pub(crate) server: Server,
    pub(crate) clients: SocketAddr,
    pub(crate) websocket: SocketAddr,
}

/// Starts nats-server on free ports.
pub(crate) fn start(scratch: &Scratch, name: &str, core: Option<usize>) -> Result<Nats, Error> {
    let program = program()?;
    // The log does not say which port the listener for WebSockets got, so one is chosen here.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let websocket = free.map_err(io("no free port"))?;
    let config = format!(
        "listen: \"127.0.0.1:-1\"\n\
         jetstream {{ store_dir: \"{}\" }}\n\
         ping_interval: \"25s\"\n\
         websocket {{ listen: \"{websocket}\", no_tls: true, compression: false }}\n",
        scratch.join(name).display()
    );
    let file = scratch.join(&format!("{name}.conf"));
    fs::write(&file, config).map_err(io("cannot write a configuration"))?;
    let mut command = pinned(core, &program);
    command.arg("-c").arg(file);
    let mut server = Server::start(name, command, scratch.join(&format!("{name}.log")))?;
    let clients = server.wait_for(|log| {
        let ready = log.contains("Server is ready");
        let line = log.lines().find(|line| line.contains("Listening for client connections on "));
        line.filter(|_| ready)?.rsplit(' ').next()?.parse::<SocketAddr>().ok()
    })?;
    Ok(Nats { server, clients, websocket })
}

fn program() -> Result<PathBuf, Error> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/tools");
    let found = Command::new("bash").arg(script).args(["--path", "nats-server"]).output();
    let found = found.map_err(io("cannot run hack/tools"))?;
    match found.status.success() {
        true => Ok(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())),
        false => Err(Error::NoNats(String::from_utf8_lossy(&found.stderr).trim().to_owned())),
    }
}

/// Makes the stream that our gateway reads.
pub(crate) fn make_stream(nats: SocketAddr) -> Result<(), Error> {
    make(nats, STREAM, CHANNEL)
}

/// Makes a stream of these subjects.
pub(crate) fn make(nats: SocketAddr, name: &str, subjects: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io("cannot make a runtime"))?.block_on(async {
        let access = Access::open(vec![format!("nats://{nats}")]);
        let client = wsgateway_nats::connect(&access, "bench", |_| ())
            .await
            .map_err(|error| nats_error(&error))?
            .client;
        let config = stream::Config {
            name: name.to_owned(),
            subjects: vec![subjects.to_owned()],
            storage: stream::StorageType::Memory,
            max_messages: 10_000,
            ..stream::Config::default()
        };
        jetstream::new(client).create_stream(config).await.map_err(|error| nats_error(&error))?;
        Ok(())
    })
}
