//! The servers that are measured, and how each is started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wsgateway_config::{Delivery, GatewayConfig, JetStreamSource, Millis, Rule, Source};

use crate::error::{Error, io};
use crate::load::CHANNEL;
use crate::nats;
use crate::plan::{Feed, Wire};
use crate::process::{Scratch, Server, get, pinned};
use crate::tunnel;

/// One of those measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// The least that any server can do.
    Floor,
    /// Ours.
    Gateway,
    /// nats-server's own WebSocket listener.
    Nats,
    /// A program of bench/peers, in the folder where it is installed.
    Peer { name: String, folder: PathBuf },
}

impl Contestant {
    /// Short name, as in files and options.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Floor => "floor",
            Self::Gateway => "wsgateway",
            Self::Nats => "nats",
            Self::Peer { name, .. } => name,
        }
    }
}

/// Name for people.
pub(crate) fn title(name: &str) -> &str {
    match name {
        "floor" => "floor: one send per delivery",
        "wsgateway" => "wsgateway",
        "nats" => "nats-server WebSocket",
        "bun" => "Bun (uWebSockets)",
        "ws" => "Node ws",
        "socketio" => "Socket.IO",
        "gws" => "Go gws",
        "axum" => "axum + broadcast",
        "sockudo" => "Sockudo",
        other => other,
    }
}

/// What a server needs to be started.
pub(crate) struct Ground {
    pub(crate) this: PathBuf,
    pub(crate) gateway: PathBuf,
    /// Core of the server, core of everything else.
    pub(crate) cores: Option<(usize, usize)>,
    pub(crate) nats: SocketAddr,
    pub(crate) scratch: Scratch,
}

/// What a scenario wants of our gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) connections: usize,
    /// `batchWindow` of the published channel (ms).
    pub(crate) batch_window_ms: u64,
    /// Messages that the floor sends at once.
    pub(crate) gather: u64,
    /// Messages in our history, unless it is as usual.
    pub(crate) history: Option<u64>,
    /// Whether clients speak TLS with our gateway.
    pub(crate) tls: bool,
}

/// Where a gateway keeps its files, what it reads, and on which core it runs; None: on all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) core: Option<usize>,
}

/// A server that is ready.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// Admin port, where there is one.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) wire: Wire,
    pub(crate) feed: Feed,
    /// The clients' side of TLS; its end is that of its connections.
    pub(crate) _tunnel: Option<Server>,
}

impl Ground {
    /// Starts a server, and waits until it is ready.
    pub(crate) fn start(&self, who: &Contestant, settings: Settings) -> Result<Running, Error> {
        match who {
            Contestant::Floor => self.floor(settings),
            Contestant::Gateway => self.gateway(settings),
            Contestant::Nats => self.nats(),
            Contestant::Peer { name, folder } => self.peer(name, folder),
        }
    }

    fn server_core(&self) -> Option<usize> {
        self.cores.map(|cores| cores.0)
    }

    pub(crate) fn client_core(&self) -> Option<usize> {
        self.cores.map(|cores| cores.1)
    }

    fn floor(&self, settings: Settings) -> Result<Running, Error> {
        let mut command = pinned(self.server_core(), &self.this);
        command.arg("floor").args(["--connections", &settings.connections.to_string()]);
        command.args(["--gather", &settings.gather.max(1).to_string()]);
        let mut server = Server::start("the floor", command, self.scratch.join("floor.log"))?;
        let field = |log: &str, name: &str| -> Option<SocketAddr> {
            log.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let (address, control) =
            server.wait_for(|log| Some((field(log, "clients")?, field(log, "control")?)))?;
        Ok(Running {
            server,
            address,
            admin: None,
            wire: Wire::V1,
            feed: Feed::Floor(control),
            _tunnel: None,
        })
    }

    fn gateway(&self, settings: Settings) -> Result<Running, Error> {
        let place = Place { name: "gateway", stream: nats::STREAM, core: self.server_core() };
        self.gateway_at(place, settings)
    }

    /// One gateway of several, with files of its own.
    pub(crate) fn gateway_at(
        &self,
        place: Place<'_>,
        settings: Settings,
    ) -> Result<Running, Error> {
        let servers = vec![format!("nats://{}", self.nats)];
        let source = JetStreamSource::new(servers, place.stream);
        let mut config = GatewayConfig::new("bench/fanout", Source::JetStream(source));
        config.capacity.connections =
            config.capacity.connections.max(settings.connections as u32 + 100);
        // The curve over subscriptions goes up to 125 and one.
        config.capacity.subscriptions_per_connection =
            config.capacity.subscriptions_per_connection.max(128);
        config.history.messages = settings.history.unwrap_or(config.history.messages);
        if settings.batch_window_ms > 0 {
            config.channels.rules.push(Rule {
                r#match: CHANNEL.to_owned(),
                delivery: Delivery::Every,
                batch_window: Millis(settings.batch_window_ms),
                ..Rule::default()
            });
        }
        if settings.tls {
            config.listener.tls = Some(tunnel::pair(&self.scratch)?);
        }
        let file = self.scratch.join(&format!("{}.yaml", place.name));
        fs::write(&file, config.render()?).map_err(io("cannot write the configuration"))?;
        let mut command = pinned(place.core, &self.gateway);
        command.arg("--config").arg(&file).args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]);
        command.env("WSGATEWAY_LOG_FORMAT", "json").env_remove("RUST_LOG");
        let log = self.scratch.join(&format!("{}.log", place.name));
        let mut server = Server::start("the gateway", command, log)?;
        let (admin, address) = server
            .wait_for(|log| Some((logged(log, "admin listening")?, logged(log, "listening")?)))?;
        server.wait_for(|_| {
            get(admin, "/readyz").is_ok_and(|(status, _)| status == 200).then_some(())
        })?;
        let (mut tunnel, mut address) = (None, address);
        if settings.tls {
            let (server, near) = self.tunnel(address)?;
            (tunnel, address) = (Some(server), near);
        }
        Ok(Running {
            server,
            address,
            admin: Some(admin),
            wire: Wire::V1,
            feed: Feed::Nats(self.nats),
            _tunnel: tunnel,
        })
    }

    /// The clients' side of TLS, on the clients' core: its CPU time is nobody's.
    fn tunnel(&self, gateway: SocketAddr) -> Result<(Server, SocketAddr), Error> {
        let mut command = pinned(self.client_core(), &self.this);
        command.arg("tunnel").arg(gateway.to_string());
        let mut server = Server::start("the tunnel", command, self.scratch.join("tunnel.log"))?;
        let address = server.wait_for(|log| {
            log.lines().find_map(|line| line.strip_prefix("listening ")?.trim().parse().ok())
        })?;
        Ok((server, address))
    }

    fn nats(&self) -> Result<Running, Error> {
        let nats = nats::start(&self.scratch, "nats-peer", self.server_core())?;
        let (server, address) = (nats.server, nats.websocket);
        Ok(Running {
            server,
            address,
            admin: None,
            wire: Wire::Nats,
            feed: Feed::Nats(nats.clients),
            _tunnel: None,
        })
    }

    fn peer(&self, name: &str, folder: &Path) -> Result<Running, Error> {
        let mut command = pinned(self.server_core(), &folder.join("run"));
        command.env("NATS_URL", format!("nats://{}", self.nats)).env("NODE_ENV", "production");
        let log = self.scratch.join(&format!("{name}.log"));
        let mut server = Server::start(name, command, log)?;
        let address = server.wait_for(|log| {
            log.lines().find_map(|line| line.strip_prefix("listening ")?.trim().parse().ok())
        })?;
        let wire = if name == "socketio" { Wire::SocketIo } else { Wire::Plain };
        Ok(Running {
            server,
            address,
            admin: None,
            wire,
            feed: Feed::Nats(self.nats),
            _tunnel: None,
        })
    }
}

/// The address in a line of the gateway's log.
fn logged(log: &str, message: &str) -> Option<SocketAddr> {
    let events =
        log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut events = events.filter(|event| event["message"] == message);
    events.next()?["address"].as_str()?.parse().ok()
}

/// Peers that can be measured, and those that cannot.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) ready: Vec<Contestant>,
    /// Name, and why it is not installed.
    pub(crate) missing: Vec<(String, String)>,
}

/// Installs what is missing of these.
pub(crate) fn peers(names: &[String]) -> Result<Peers, Error> {
    let mut peers = Peers::default();
    if names.iter().any(|name| name == "nats") {
        peers.ready.push(Contestant::Nats);
    }
    let others: Vec<&String> = names.iter().filter(|name| *name != "nats").collect();
    if others.is_empty() {
        return Ok(peers);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/install");
    let mut command = Command::new("bash");
    command.arg(script).args(others).stderr(Stdio::inherit());
    let output = command.output().map_err(io("cannot run bench/peers/install"))?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        match (words.next(), words.next().as_deref(), words.next()) {
            (Some(name), Some("ready"), Some(folder)) => {
                peers.ready.push(Contestant::Peer { name, folder: folder.into() });
            }
            (Some(name), Some("missing"), Some(why)) => peers.missing.push((name, why)),
            _ => {}
        }
    }
    Ok(peers)
}
