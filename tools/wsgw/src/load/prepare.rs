//! Flags become a plan: everything that can be wrong before the run is found here.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use wsgateway_client::{PER_SOURCE, loopback_sources};
use wsgateway_load::address::Address;
use wsgateway_load::plan::{
    Changes, Channels, Endpoint, Profile, Publishing, Raw, Seats, Shape, Wire, WorkerPlan, share,
};
use wsgateway_load::report::Setting;
use wsgateway_load::simulate::market::Market;
use wsgateway_load::tls::Trust;

use super::LoadError;
use super::files::Files;
use crate::cli::{Load, Protocol, RawArgs, Unit};
use crate::error::Error;
use crate::wire;

/// Clients that one thread is good for, before a second one is worth it.
const PER_THREAD: u32 = 2_000;
/// Open files besides connections.
const SPARE_FILES: u64 = 64;
/// How long the last messages may take.
const DRAIN: Duration = Duration::from_secs(5);
/// Bytes of a file with tokens.
const MOST_TOKEN_BYTES: u64 = 64 << 20;

/// A run that may begin.
#[derive(Debug)]
pub(super) struct Preparation {
    pub(super) shape: Shape,
    pub(super) setting: Setting,
    pub(super) channels: Channels,
    pub(super) files: Files,
    pub(super) drain: Duration,
    /// The market, if it is a simulation.
    pub(super) market: Option<Market>,
    /// Set when the publisher starts.
    pub(super) publishing: Option<Publishing>,
    /// Whether each worker is a process of its own.
    pub(super) processes: bool,
    pub(super) workers: u32,
    endpoints: Vec<Endpoint>,
    wire: Wire,
    tokens: Vec<String>,
    sources: Vec<IpAddr>,
    comes_back: bool,
    resumes: bool,
    patience: Duration,
}

impl Preparation {
    pub(super) fn new(options: &Load) -> Result<Self, Error> {
        let changes = Changes {
            clients: options.connections,
            ramp: options.ramp,
            hold: options.duration,
            rate: options.publishing.rate,
        };
        let profile = Profile::from(options.profile);
        let shape = profile.shape(changes).ok_or(LoadError::Connections)?;
        let wire = wire(options.protocol, &options.raw)?;
        let channels = channels(options)?;
        let addresses = options.targets.iter().map(|text| Address::parse(text));
        let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(LoadError::from)?;
        let trust = trust(options, &addresses)?;
        let endpoints = addresses.iter().map(|address| endpoint(address, &wire, &trust));
        let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
        if options.result.admin.len() > endpoints.len() {
            return Err(LoadError::Admins.into());
        }
        let (workers, processes) = workers(options, shape.clients, endpoints.len() as u32)?;
        let tokens =
            options.clients.token_file.as_deref().map(tokens).transpose()?.unwrap_or_default();
        Ok(Self {
            setting: setting(options, &shape, &channels, &addresses, (workers, processes)),
            sources: sources(options, &endpoints, shape.clients),
            files: Files::open(options)?,
            shape,
            channels,
            drain: DRAIN,
            market: None,
            publishing: None,
            processes,
            workers,
            endpoints,
            wire,
            tokens,
            comes_back: !options.no_reconnect,
            resumes: !options.no_resume,
            patience: options.clients.timeout.max(Duration::from_millis(100)),
        })
    }

    /// The plan of a worker.
    pub(super) fn worker(&self, worker: u32) -> Option<WorkerPlan> {
        let target = worker.checked_rem(self.endpoints.len() as u32)?;
        let (first, stride, clients) = share(self.shape.clients, self.workers, worker);
        Some(WorkerPlan {
            worker,
            target,
            endpoint: self.endpoints.get(target as usize)?.clone(),
            first,
            stride,
            clients,
            all_clients: self.shape.clients,
            ramp: self.shape.ramp,
            wire: self.wire.clone(),
            channels: self.channels.clone(),
            publishing: self.publishing,
            tokens: self.tokens.clone(),
            sources: self.sources.clone(),
            comes_back: self.comes_back,
            resumes: self.resumes,
            patience: self.patience,
            drain: self.drain,
            market: self.market,
            seats: Seats::default(),
        })
    }
}

fn wire(protocol: Protocol, flags: &RawArgs) -> Result<Wire, LoadError> {
    if protocol != Protocol::Raw {
        let given = [
            ("--raw-subscribe", flags.raw_subscribe.is_some()),
            ("--raw-subprotocol", flags.raw_subprotocol.is_some()),
            ("--raw-sequence", flags.raw_sequence.is_some()),
            ("--raw-time", flags.raw_time.is_some()),
        ];
        if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(LoadError::NotRaw { flag });
        }
    }
    Ok(match protocol {
        Protocol::V1 => Wire::V1,
        Protocol::Sse => Wire::Events,
        Protocol::Poll => Wire::Polls,
        Protocol::Odin => Wire::Odin,
        Protocol::Symbols => Wire::Symbols,
        Protocol::Raw => Wire::Raw(Raw {
            subscribe: flags.raw_subscribe.clone(),
            protocol: flags.raw_subprotocol.clone(),
            sequence: flags.raw_sequence.clone(),
            channel: flags.raw_channel.clone(),
            time: flags.raw_time.clone(),
            unit_ns: match flags.raw_unit {
                Unit::S => 1_000_000_000,
                Unit::Ms => 1_000_000,
                Unit::Us => 1_000,
                Unit::Ns => 1,
            },
        }),
    })
}

fn channels(options: &Load) -> Result<Channels, LoadError> {
    let publishes = options.publishing.publish.is_some();
    let given = match (options.clients.channel.as_slice(), publishes) {
        ([], true) => vec!["load.{}".to_owned()],
        ([], false) => vec![">".to_owned()],
        (given, _) => given.to_vec(),
    };
    let channels = Channels::new(&given, options.clients.channels, options.clients.per_client)?;
    let wild = |name: &&String| name.contains(['*', '>', ' ']);
    if publishes && let Some(channel) = channels.names.iter().find(wild) {
        return Err(LoadError::Wildcard { channel: channel.clone() });
    }
    let subject = &options.publishing.subject;
    if publishes && channels.names.len() > 1 && !subject.contains("{channel}") {
        return Err(LoadError::Subject { subject: subject.clone() });
    }
    Ok(channels)
}

/// Whom clients trust; also whether there is somebody to trust, before the run.
fn trust(options: &Load, addresses: &[Address]) -> Result<Trust, LoadError> {
    let secure = addresses.iter().any(|address| address.secure);
    match (&options.clients.ca, options.clients.insecure) {
        (Some(_), _) if !secure => Err(LoadError::NotSecure { flag: "--ca" }),
        (None, true) if !secure => Err(LoadError::NotSecure { flag: "--insecure" }),
        (Some(file), _) => {
            wire::trust(Some(file))?;
            let failed = |source| LoadError::Authorities { path: file.to_path_buf(), source };
            Ok(Trust::Authorities(std::fs::read_to_string(file).map_err(failed)?))
        }
        (None, true) => Ok(Trust::Anybody),
        (None, false) => Ok(Trust::System),
    }
}

fn endpoint(address: &Address, wire: &Wire, trust: &Trust) -> Result<Endpoint, LoadError> {
    let host = address.host_header();
    let found = (address.host.as_str(), address.port).to_socket_addrs();
    let found = found.map_err(|source| LoadError::Resolve { host: host.clone(), source })?;
    let found: Vec<SocketAddr> = found.collect();
    // Most servers of a laptop listen on IPv4 alone.
    let found = found.iter().find(|found| found.is_ipv4()).or(found.first());
    let path = match (address.path.as_str(), wire) {
        ("", Wire::Raw(_)) => "/",
        ("", Wire::Events) => "/sse",
        ("", Wire::Polls) => "/poll",
        ("", _) => "/ws",
        (path, _) => path,
    };
    let (path, name) = (path.to_owned(), &address.host);
    let tls = address.secure.then(|| trust.tls(name).map(|_| (name.clone(), trust.clone())));
    let tls = tls.transpose()?;
    let address = *found.ok_or_else(|| LoadError::NoAddress { host: host.clone() })?;
    Ok(Endpoint { address, host, path, tls })
}

/// How many workers, and whether they are processes: where the connections are more than the open files of one.
fn workers(options: &Load, clients: u32, targets: u32) -> Result<(u32, bool), LoadError> {
    let limit = wsgateway_runtime::descriptors::raise_limit();
    let room = u32::try_from(limit.saturating_sub(SPARE_FILES)).unwrap_or(u32::MAX).max(1);
    let needed = clients.div_ceil(room);
    let processes = options.clients.processes.unwrap_or(needed);
    if processes > 1 || needed > 1 {
        // Each target has as many as another one.
        let workers = processes.max(1).next_multiple_of(targets);
        let each = clients.div_ceil(workers);
        return match each > room {
            true => Err(LoadError::Files { count: each, limit }),
            false => Ok((workers, true)),
        };
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let threads = clients.div_ceil(PER_THREAD).min(cores);
    Ok((threads.max(1).next_multiple_of(targets), false))
}

fn sources(options: &Load, endpoints: &[Endpoint], clients: u32) -> Vec<IpAddr> {
    let loopback = |endpoint: &Endpoint| match endpoint.address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(_) => false,
    };
    if !endpoints.iter().all(loopback) {
        return Vec::new();
    }
    match options.clients.source_addresses {
        Some(count) => {
            let connections = usize::from(count).saturating_mul(PER_SOURCE);
            loopback_sources(connections)
        }
        None if clients as usize > PER_SOURCE => loopback_sources(clients as usize),
        None => Vec::new(),
    }
}

fn tokens(path: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |source| LoadError::Tokens { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.len() > MOST_TOKEN_BYTES {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let tokens = lines.map(|(at, line)| match line.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(line.to_owned()),
        // Not the line itself: it may be most of a secret.
        false => Err(LoadError::NotAToken { path: path.to_owned(), line: at + 1 }),
    });
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    if tokens.is_empty() { Err(LoadError::NoToken { path: path.to_owned() }) } else { Ok(tokens) }
}

fn setting(
    options: &Load,
    shape: &Shape,
    channels: &Channels,
    addresses: &[Address],
    (workers, processes): (u32, bool),
) -> Setting {
    let name = clap::ValueEnum::to_possible_value(&options.profile);
    let publishes = options.publishing.publish.is_some();
    Setting {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: String::new(),
        profile: name.map(|name| name.get_name().to_owned()).unwrap_or_default(),
        protocol: match options.protocol {
            Protocol::V1 => "wsgateway.v1",
            Protocol::Sse => "wsgateway.v1 (event stream)",
            Protocol::Poll => "wsgateway.v1 (long-poll)",
            Protocol::Odin => "odin.v1",
            Protocol::Symbols => "symbols.v1",
            Protocol::Raw => "raw",
        }
        .to_owned(),
        targets: addresses.iter().map(Address::public).collect(),
        clients: shape.clients,
        channels: channels.names.len() as u32,
        channels_per_client: channels.per_client,
        ramp_seconds: shape.ramp.length().as_secs_f64(),
        hold_seconds: shape.hold.as_secs_f64(),
        rate: publishes.then_some(shape.rate),
        payload_bytes: publishes.then_some(options.publishing.payload as usize),
        processes: if processes { workers } else { 1 },
        insecure: options.clients.insecure,
    }
}
