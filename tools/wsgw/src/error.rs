//! Why a command failed, and what to do.

use std::fmt;

use wsgateway_crds::FieldError;
use wsgateway_nats::Refusal;

/// A failed command. Every text stands on its own after `wsgw: error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {name}: {source}")]
    Read { name: String, source: std::io::Error },
    #[error("{name}: {count} documents of kind WsGateway; give one that holds exactly one")]
    Documents { name: String, count: usize },
    #[error("{name}: {errors}")]
    Manifest { name: String, errors: FieldErrors },
    #[error("{}", several(.0))]
    Several(Vec<Error>),
    #[error("cannot write the configuration: {0}")]
    Render(#[from] wsgateway_config::ConfigError),
    #[error("cannot start a thread: {0}")]
    Threads(std::io::Error),
    #[error("cannot write to standard output: {0}")]
    Write(#[from] std::io::Error),
    #[error(transparent)]
    NatsServer(#[from] crate::dev::NatsServerError),
    #[error(transparent)]
    Connect(#[from] wsgateway_nats::ConnectError),
    #[error("cannot find {}: {source}", path.display())]
    Path { path: std::path::PathBuf, source: std::io::Error },
    #[error("no NATS server answers at {url}: {hint}")]
    Unreachable { url: String, hint: &'static str },
    #[error("{trouble}; or {hint}")]
    Refusing { trouble: String, hint: &'static str },
    #[error(
        "the manifest names Secrets of its cluster, which are not here: give --nats with --creds, --nats-user, --nats-ca \
         or --nats-cert"
    )]
    SecretsElsewhere,
    #[error(
        "{section} names key {key} of Secret {secret}, which is in the cluster of the manifest: give a folder with --secrets \
         that has it as the file {secret}/{key}, such as from kubectl get secret {secret} -o \
         go-template='{{{{index .data \"{key}\" | base64decode}}}}'"
    )]
    NoKey { section: &'static str, secret: String, key: String },
    #[error("{}: a gateway cannot use this key of spec.auth: {source}; {hint}", file.display())]
    BadKey { file: std::path::PathBuf, source: wsgateway_access::KeyError, hint: &'static str },
    #[error("stream {stream} on {url}: {message}")]
    Stream { stream: String, url: String, message: String },
    #[error("stream {stream} on {url}: {refusal}")]
    Refused { stream: String, url: String, refusal: Refusal },
    #[error(
        "{refused}. The manifest is the built-in demo: give one of your own with --file, such as a copy of \
         manifests/samples/odin.yaml"
    )]
    Demo { refused: Box<Error> },
    #[error(
        "{flag} does not fit a manifest whose messages come from {from}: leave it out, or give another manifest"
    )]
    OtherSource { flag: &'static str, from: &'static str },
    #[error("{flag} {message}")]
    Flag { flag: &'static str, message: String },
    #[error(
        "--redis must be redis://host:port, or rediss://host:port for TLS, without user, password, path and database: what \
         stands on a command line stands in the list of processes, too"
    )]
    RedisAddress,
    #[error("no messages can be read from Redis at {servers}: {trouble}; {hint}")]
    Redis { servers: String, trouble: gateway::RedisTrouble, hint: String },
    #[error(transparent)]
    Gateway(#[from] Box<gateway::app::StartError>),
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Trouble),
    #[error(transparent)]
    Drain(#[from] crate::drain::DrainError),
    #[error(transparent)]
    Disconnect(#[from] crate::disconnect::DisconnectError),
    #[error(transparent)]
    Token(#[from] crate::token::TokenError),
    #[error(transparent)]
    Size(#[from] crate::size::SizeError),
    #[error(transparent)]
    Sub(#[from] crate::sub::SubError),
    #[error(transparent)]
    Pub(#[from] crate::publish::PubError),
    #[error(transparent)]
    Doctor(#[from] crate::doctor::DoctorError),
    #[error(transparent)]
    Load(#[from] crate::load::LoadError),
    #[error(transparent)]
    Simulate(#[from] crate::simulate::SimulateError),
    #[error(transparent)]
    Market(#[from] crate::market::MarketError),
    #[error("cannot listen on {address}: {source}; choose another port with {flag}")]
    Port { address: std::net::SocketAddr, flag: &'static str, source: std::io::Error },
    #[error("cannot listen on {host}: {source}; choose an address of this machine with --host")]
    Host { host: std::net::IpAddr, source: std::io::Error },
    #[error("--port and --admin-port are both {port}: choose another one for one of them")]
    SamePort { port: u16 },
    #[error("ports {first} to {last} are all taken; choose one with {flag}")]
    NoPort { first: u16, last: u16, flag: &'static str },
}

impl Error {
    /// What the program ends with: 1, but for what a script wants to tell apart.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Sub(error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Errors of several manifests: one stays on the line, several get lines of their own.
fn several(errors: &[Error]) -> String {
    if let [only] = errors {
        return only.to_string();
    }
    let lines: String = errors.iter().map(|error| format!("\n{error}")).collect();
    format!("{} manifests cannot work:{lines}", errors.len())
}

/// Every error of a manifest: one stays on the line, several get a line each.
#[derive(Debug)]
pub(crate) struct FieldErrors(pub(crate) Vec<FieldError>);

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(f, "{only}");
        }
        write!(f, "{} errors", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
