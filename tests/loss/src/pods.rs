//! The gateway processes: the real program, on ports that stay the same when it is started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::{Certified, Guarded, Scratch, Signal, free_port, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::{GatewayConfig, JetStreamSource, ListenerTls, Millis, Source};

use crate::publisher::PREFIX;

/// The stream of a run.
pub const STREAM: &str = "LOSS";

/// How long a start or a stop may take on a machine that does a lot else.
pub const SOON: Duration = Duration::from_secs(120);

/// The time over which a pod that stops hands its clients over.
const DRAIN: Millis = Millis(2_000);

/// One gateway process, running or not. Dropping it kills the process.
#[derive(Debug)]
pub struct Pod {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    client: SocketAddr,
    admin: SocketAddr,
    process: Option<Guarded>,
}

impl Pod {
    /// Starts a gateway that reads [`STREAM`] from these servers, with TLS towards clients if it has a certificate.
    ///
    /// # Errors
    /// When there is no port, or the program cannot be run.
    pub fn start(
        program: &Path,
        scratch: &Scratch,
        name: &str,
        servers: &[String],
        certified: Option<&Certified>,
    ) -> Result<Self> {
        let client = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let source = Source::JetStream(JetStreamSource::new(servers.to_vec(), STREAM));
        let mut config = GatewayConfig::new(format!("loss/{name}"), source);
        (config.listener.address, config.listener.port) = (client.ip(), client.port());
        (config.admin.address, config.admin.port) = (admin.ip(), admin.port());
        config.channels.strip_prefix = PREFIX.to_owned();
        config.drain.window = DRAIN;
        if let Some(Certified { certificate, key }) = certified {
            config.listener.tls = Some(ListenerTls {
                cert_file: scratch.write(&format!("{name}.crt"), certificate)?,
                key_file: scratch.write(&format!("{name}.key"), key)?,
            });
        }
        let file = scratch.write(&format!("{name}.yaml"), config.render()?)?;
        let mut pod = Self {
            program: program.to_owned(),
            arguments: vec!["--config".into(), file.display().to_string()],
            log: scratch.join(&format!("{name}.log")),
            client,
            admin,
            process: None,
        };
        pod.launch()?;
        Ok(pod)
    }

    /// Starts the process again.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn launch(&mut self) -> Result<()> {
        self.process = Some(Guarded::start(&self.program, &self.arguments, &self.log)?);
        Ok(())
    }

    /// Where its clients connect to.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Ends the process at once.
    pub fn kill9(&mut self) {
        drop(self.process.take());
    }

    /// Asks the process to hand over its clients and to end, and waits for that.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(&mut self) -> Result<()> {
        let mut process = self.process.take().context("this gateway does not run")?;
        process.terminate(SOON).await
    }

    /// Stops the process in good order, starts it again and waits until it is ready.
    ///
    /// # Errors
    /// When it does not end, or is not ready in time.
    pub async fn restart(&mut self) -> Result<()> {
        self.terminate().await?;
        self.launch()?;
        self.ready().await
    }

    /// Freezes or thaws the process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process.as_mut().context("this gateway does not run")?.signal(signal)
    }

    /// Waits until the pod says that it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time; with its log.
    pub async fn ready(&self) -> Result<()> {
        let process = self.process.as_ref().context("this gateway does not run")?;
        wait_until(SOON, "a ready gateway", async || {
            !process.alive() || is_ready(self.admin).await
        })
        .await
        .with_context(|| process.log_tail())?;
        process.check_alive()
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(admin).await.ok()?;
        let request = "GET /readyz HTTP/1.1\r\nHost: loss\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut status = [0; 12];
        socket.read_exact(&mut status).await.ok()?;
        Some(status.ends_with(b" 200"))
    };
    timeout(Duration::from_secs(1), ask).await.ok().flatten().unwrap_or(false)
}
