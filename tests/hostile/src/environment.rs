//! The servers of one attack: NATS with a stream that is worth asking for, and a gateway as the operator would run it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use async_nats::jetstream::{self, stream};
use harness::{Guarded, Nats, Scratch, free_port, wait_until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a start may take on a machine that does a lot else.
pub const SOON: Duration = Duration::from_secs(120);

/// Longest wait for one answer of the gateway.
const ANSWER: Duration = Duration::from_secs(10);

/// The stream.
pub const STREAM: &str = "HOSTILE";

/// What subjects begin with; the gateway strips it.
pub const PREFIX: &str = "h.";

/// Channels with last values.
const FILLED: usize = 5_000;

/// Bytes of a message that was there before.
const FILLER: usize = 200;

/// What an attack is made on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program of the gateway.
    pub gateway: PathBuf,
    /// The program with the attacking process.
    pub attacker: PathBuf,
    /// The gateway's core, if it has one of its own.
    pub core: Option<usize>,
    /// Honest clients.
    pub honest: usize,
    /// Hostile clients.
    pub hostile: usize,
    /// Messages a second that every honest client gets.
    pub rate: u32,
    /// Messages in the stream before anything begins; the gateway keeps half of them in memory.
    pub stream: usize,
    /// How long an attack lasts (s).
    pub seconds: f64,
    /// How long the quiet time before it lasts (s).
    pub quiet: f64,
}

/// The running servers. What is declared first ends first.
#[derive(Debug)]
pub struct Environment {
    gateway: Guarded,
    client: SocketAddr,
    admin: SocketAddr,
    /// Memory request of the pod (bytes).
    pub memory_request: u64,
    /// NATS, for the publisher.
    pub nats: Nats,
    _scratch: Scratch,
}

impl Environment {
    /// Starts NATS, fills the stream, starts the gateway and waits until it is ready.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(plan: &Plan) -> Result<Self> {
        let scratch = Scratch::new("hostile")?;
        let nats = Nats::start().await?;
        fill(&nats, plan.stream).await?;
        let manifest = wsgateway_crds::parse(&manifest(&nats.url(), plan)).map_err(wrong)?;
        let valid = wsgateway_crds::validate(&manifest).map_err(wrong)?;
        let mut config = wsgateway_crds::gateway_config(&valid);
        let client = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        (config.listener.address, config.listener.port) = (client.ip(), client.port());
        (config.admin.address, config.admin.port) = (admin.ip(), admin.port());
        let file = scratch.write("gateway.yaml", config.render()?)?;
        let mut words = vec![plan.gateway.display().to_string()];
        words.extend(["--config".to_owned(), file.display().to_string()]);
        if let Some(core) = plan.core {
            words.splice(..0, ["taskset".to_owned(), "-c".to_owned(), core.to_string()]);
        }
        let program = PathBuf::from(words.remove(0));
        let gateway = Guarded::start(&program, &words, &scratch.join("gateway.log"))?;
        let memory_request = valid.derived.memory_request;
        let environment = Self { gateway, client, admin, memory_request, nats, _scratch: scratch };
        environment.ready().await?;
        Ok(environment)
    }

    async fn ready(&self) -> Result<()> {
        wait_until(SOON, "a ready gateway", async || {
            !self.alive() || get(self.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200)
        })
        .await
        .with_context(|| self.gateway.log_tail())?;
        self.gateway.check_alive()
    }

    /// The port for clients.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Process id of the gateway.
    pub fn pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// Whether the gateway still runs.
    pub fn alive(&self) -> bool {
        self.gateway.alive()
    }

    /// The end of the gateway's log.
    pub fn log_tail(&self) -> String {
        self.gateway.log_tail()
    }

    /// Connections that the gateway counts now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn connections(&self) -> Result<u64> {
        let (_, body) = get(self.admin, "/status").await?;
        let status: Value = serde_json::from_str(&body)?;
        status["connections"].as_u64().context("a status without connections")
    }
}

fn wrong<E: std::fmt::Debug>(errors: E) -> anyhow::Error {
    anyhow!("the manifest of the benchmark is wrong: {errors:?}")
}

/// What a team would apply. A third of the pod's places stays free for newcomers.
fn manifest(nats: &str, plan: &Plan) -> String {
    let places = (plan.honest + plan.hostile) * 3 / 2;
    let history = plan.stream / 2;
    format!(
        "apiVersion: wsgateway.dev/v1alpha1\n\
         kind: WsGateway\n\
         metadata: {{ name: hostile, namespace: hostile }}\n\
         spec:\n\
         \x20 nats: {{ servers: [\"{nats}\"] }}\n\
         \x20 stream: {{ name: {STREAM}, subjects: [\"{PREFIX}>\"] }}\n\
         \x20 channels: {{ stripPrefix: \"{PREFIX}\" }}\n\
         \x20 history: {{ messages: {history} }}\n\
         \x20 capacity: {{ connectionsPerPod: {places} }}\n"
    )
}

/// Makes the stream, with messages on many channels.
async fn fill(nats: &Nats, messages: usize) -> Result<()> {
    let client = nats.client().await?;
    let jetstream = jetstream::new(client.clone());
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{PREFIX}>")],
        allow_direct: true,
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await?;
    let payload = format!("{{\"x\":\"{}\"}}", "x".repeat(FILLER));
    for number in 0..messages {
        let subject = format!("{PREFIX}fill.{}", number % FILLED);
        client.publish(subject, payload.clone().into()).await?;
    }
    client.flush().await?;
    wait_until(SOON, "a filled stream", async || {
        let stream = jetstream.get_stream(STREAM).await;
        stream.is_ok_and(|stream| stream.cached_info().state.messages >= messages as u64)
    })
    .await
}

/// Status and body of `GET path`.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: hostile\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned());
        anyhow::Ok((status, body))
    };
    timeout(ANSWER, ask).await.context("no answer of the gateway")?
}
