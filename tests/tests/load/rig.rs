//! A stream, the real gateway program, and runs of `wsgw load` with their reports.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, stream};
use harness::{Authority, Nats, Scratch, built_beside, free_port, wait_until, wsgw};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use wsgateway_config::{GatewayConfig, JetStreamSource, ListenerTls, Millis, Source};

/// How long anything may take on a machine that compiles at the same time.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// A server with a stream of `p.>`.
pub(super) async fn nats() -> Result<Nats> {
    nats_with(stream::Config::default()).await
}

/// A server with a stream of `p.>` that is otherwise as given.
pub(super) async fn nats_with(config: stream::Config) -> Result<Nats> {
    let nats = Nats::start().await?;
    let config = stream::Config {
        name: "LOAD".to_owned(),
        subjects: vec!["p.>".to_owned()],
        allow_direct: true,
        ..config
    };
    jetstream::new(nats.client().await?).create_stream(config).await?;
    Ok(nats)
}

/// A gateway program with ports of its own, which stay the same when it is started again.
pub(super) struct Gateway {
    child: Child,
    config: String,
    scratch: Scratch,
    pub client: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    /// Starts one that reads the stream, and waits until it is ready.
    pub(super) async fn start(nats: &Nats) -> Result<Self> {
        Self::start_with(nats, |_, _| Ok(())).await
    }

    /// Starts one with a certificate of this authority on its port for clients.
    pub(super) async fn start_with_tls(nats: &Nats, authority: &Authority) -> Result<Self> {
        let pair = authority.server()?;
        Self::start_with(nats, |config, scratch| {
            let file = |name, text: &str| Ok(scratch.write(name, text)?.display().to_string());
            let (cert_file, key_file): (Result<_>, Result<_>) =
                (file("tls.crt", &pair.certificate), file("tls.key", &pair.key));
            config.listener.tls =
                Some(ListenerTls { cert_file: cert_file?.into(), key_file: key_file?.into() });
            Ok(())
        })
        .await
    }

    async fn start_with(
        nats: &Nats,
        change: impl FnOnce(&mut GatewayConfig, &Scratch) -> Result<()>,
    ) -> Result<Self> {
        let source = JetStreamSource::new(vec![nats.url()], "LOAD");
        let mut config = GatewayConfig::new("test/load", Source::JetStream(source));
        config.channels.strip_prefix = "p.".to_owned();
        config.capacity.shards = 2;
        config.drain.window = Millis(0);
        let scratch = Scratch::new("load")?;
        change(&mut config, &scratch)?;
        let config = scratch.write("gateway.yaml", config.render()?)?;
        let config = config.to_str().context("a path of text")?.to_owned();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (client, admin) = (address(free_port()?), address(free_port()?));
        let child = spawn(&config, client, admin)?;
        let gateway = Self { child, config, scratch, client, admin };
        gateway.ready().await?;
        Ok(gateway)
    }

    /// Ends it without a word, as the out-of-memory killer does.
    pub(super) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it in the middle of whatever it does, without its connections being closed.
    pub(super) async fn freeze(&self) -> Result<()> {
        let pid = self.child.id().context("it has ended")?.to_string();
        let status = Command::new("kill").args(["-STOP", &pid]).status().await?;
        ensure!(status.success(), "cannot signal it");
        Ok(())
    }

    /// Starts it again, on the same ports.
    pub(super) async fn again(&mut self) -> Result<()> {
        self.child = spawn(&self.config, self.client, self.admin)?;
        self.ready().await
    }

    /// The address for clients.
    pub(super) fn url(&self) -> String {
        format!("ws://{}/ws", self.client)
    }

    /// A file for a report.
    pub(super) fn file(&self, name: &str) -> String {
        self.scratch.path().join(name).to_string_lossy().into_owned()
    }

    async fn ready(&self) -> Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        wait_until(SOON, "a ready gateway", async || {
            let asked = async {
                let mut stream = TcpStream::connect(self.admin).await?;
                let request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                stream.write_all(request.as_bytes()).await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                anyhow::Ok(answer.contains(" 200 "))
            };
            asked.await.unwrap_or(false)
        })
        .await
    }
}

fn spawn(config: &str, client: SocketAddr, admin: SocketAddr) -> Result<Child> {
    Ok(Command::new(built_beside("gateway")?)
        .args(["--config", config, "--listen", &client.to_string(), "--admin", &admin.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The report that `--json -` wrote.
    pub(super) fn report(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no report in {self:?}"))
    }
}

/// A run in the background.
pub(super) struct Running(Child);

impl Running {
    /// Starts `wsgw load` with these arguments, split at spaces.
    pub(super) fn start(arguments: &str) -> Result<Self> {
        Self::of("load", arguments)
    }

    /// The same of another subcommand.
    pub(super) fn of(subcommand: &str, arguments: &str) -> Result<Self> {
        let mut command = wsgw()?;
        command.arg(subcommand).args(arguments.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Waits until a line of its progress holds this text.
    pub(super) async fn says(&mut self, text: &str) -> Result<()> {
        use tokio::io::AsyncReadExt;
        let stderr = self.0.stderr.as_mut().context("no standard error")?;
        let mut seen = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&seen).contains(text) {
                let count = stderr.read_buf(&mut seen).await?;
                ensure!(count > 0, "it ended: {}", String::from_utf8_lossy(&seen));
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(SOON, read).await.with_context(|| format!("{text:?} is not said"))?
    }

    /// Presses Ctrl-C.
    pub(super) async fn interrupt(&self) -> Result<()> {
        let pid = self.0.id().context("it has ended")?.to_string();
        let status = Command::new("kill").args(["-INT", &pid]).status().await?;
        ensure!(status.success(), "cannot signal it");
        Ok(())
    }

    /// Waits for its end; also the most memory that it had (KiB).
    pub(super) async fn ended_with_memory(self) -> Result<(Ended, u64)> {
        let status = format!("/proc/{}/status", self.0.id().context("it has ended")?);
        let most = std::cell::Cell::new(0);
        let watch = async {
            loop {
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
                most.set(peak.unwrap_or(0).max(most.get()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::select! {
            ended = self.ended() => ended?,
            () = watch => unreachable!("it watches until the end"),
        };
        Ok((ended, most.get()))
    }

    /// Waits for its end.
    pub(super) async fn ended(self) -> Result<Ended> {
        let output = tokio::time::timeout(SOON, self.0.wait_with_output()).await;
        let output = output.context("wsgw load does not end")??;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }
}

/// Runs `wsgw load` to its end.
pub(super) async fn load(arguments: &str) -> Result<Ended> {
    Running::start(arguments)?.ended().await
}

/// Runs `wsgw simulate` to its end.
pub(super) async fn simulate(arguments: &str) -> Result<Ended> {
    Running::of("simulate", arguments)?.ended().await
}

/// A number of a report.
pub(super) fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
