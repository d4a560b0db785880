//! The operator as a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::{Guarded, Identity, Scratch, free_port, wait_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::environment::Environment;
use crate::plan::Plan;

/// It has its ports in milliseconds; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(30);

/// A running operator; dropping it ends it.
#[derive(Debug)]
pub struct Operator {
    /// Who it is in the audit log.
    pub user: String,
    admin: SocketAddr,
    guarded: Guarded,
    _scratch: Scratch,
}

impl Operator {
    /// Starts it and waits until it answers. `arguments` come after those that every run has.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub async fn start(plan: &Plan, environment: &Environment, arguments: &[&str]) -> Result<Self> {
        let home = environment.namespaces.first().context("no namespace")?;
        let user = format!("operator-{home}");
        let identity = Identity::new(&user, &["system:masters"]);
        let kubeconfig = environment.plane.kubeconfig_as(&identity)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = vec![
            format!("KUBECONFIG={}", kubeconfig.display()),
            plan.operator.display().to_string(),
            format!("--admin={admin}"),
            format!("--own-namespace={home}"),
            "--gateway-image=example.com/gateway:test".to_owned(),
            format!("--resync-seconds={}", plan.resync),
        ];
        if environment.plane.is_shared() {
            command.extend(environment.namespaces.iter().map(|name| format!("--namespace={name}")));
        }
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let scratch = Scratch::new("operator")?;
        let log = scratch.join("operator.log");
        let guarded = Guarded::start("/usr/bin/env".as_ref(), &command, &log)?;
        let operator = Self { user, admin, guarded, _scratch: scratch };
        wait_until(START, "the operator", async || {
            !operator.guarded.alive() || operator.metrics().await.is_ok()
        })
        .await
        .with_context(|| operator.guarded.log_tail())?;
        operator.guarded.check_alive()?;
        Ok(operator)
    }

    /// Stops it in good order.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(mut self) -> Result<()> {
        self.guarded.terminate(STOP).await
    }

    /// # Errors
    /// When it has ended, with the end of its log.
    pub fn check_alive(&self) -> Result<()> {
        self.guarded.check_alive()
    }

    /// Resident memory now (bytes).
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory so far (bytes).
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.guarded.pid());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    /// CPU time so far (seconds), to 10 ms.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.guarded.pid()));
        let stat = stat.unwrap_or_default();
        // The name in parentheses may hold anything; user and system time are fields 14 and 15, the first one here is 3.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks: u64 =
            fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        ticks as f64 / 100.0
    }

    /// Lines of its log that report a panic.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let log = fs::read(self.guarded.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        panics.map(str::to_owned).collect()
    }

    /// Reconciliations so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reconciles(&self) -> Result<u64> {
        let metrics = self.metrics().await?;
        let series =
            metrics.lines().filter(|line| line.starts_with("wsgateway_operator_reconciles_total{"));
        let values = series.filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    async fn metrics(&self) -> Result<String> {
        let mut socket = TcpStream::connect(self.admin).await?;
        let request = "GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}
