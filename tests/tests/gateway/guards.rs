//! A gateway whose container is short of CPU or memory: new clients are refused, those who are there are served.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use gateway::app::{self, Options};
use gateway::reload::Given;
use harness::{Scratch, wait_until};
use serde_json::json;
use wsgateway_config::GatewayConfig;

use super::client::Client;
use super::http::{ask, get, refused_upgrade};
use super::rig::{Rig, SOON, config, nats_with_stream, ready};

const CPU_LIMIT: &str = "100000 100000\n";
const MEMORY_LIMIT: u64 = 1 << 30;

/// A cgroup of version 2 that says what a test writes.
struct Cgroup {
    scratch: Scratch,
    cpu_us: u64,
}

impl Cgroup {
    fn new() -> Result<Self> {
        let mut cgroup = Self { scratch: Scratch::new("cgroup")?, cpu_us: 0 };
        cgroup.scratch.write("cpu.max", CPU_LIMIT)?;
        cgroup.scratch.write("memory.max", MEMORY_LIMIT.to_string())?;
        cgroup.scratch.write("memory.stat", "inactive_file 0\n")?;
        cgroup.memory(10)?;
        cgroup.cpu_for(Duration::ZERO)?;
        Ok(cgroup)
    }

    /// So much CPU time more. Replaced as a whole: nobody reads half of it.
    fn cpu_for(&mut self, time: Duration) -> Result<()> {
        self.cpu_us += u64::try_from(time.as_micros())?;
        let new = self.scratch.write("cpu.new", format!("usage_usec {}\n", self.cpu_us))?;
        fs::rename(new, self.scratch.join("cpu.stat"))?;
        Ok(())
    }

    fn memory(&self, percent: u64) -> Result<()> {
        let used = MEMORY_LIMIT / 100 * percent;
        let new = self.scratch.write("memory.new", used.to_string())?;
        fs::rename(new, self.scratch.join("memory.current"))?;
        Ok(())
    }
}

fn guarded(config: &mut GatewayConfig) {
    config.capacity.reject_above_cpu_percent = 75;
    config.capacity.pause_above_cpu_percent = 80;
    config.capacity.reject_above_memory_percent = 90;
}

async fn rig(change: impl FnOnce(&mut GatewayConfig)) -> Result<(Rig, Cgroup)> {
    let (nats, jetstream) = nats_with_stream().await?;
    let cgroup = Cgroup::new()?;
    let mut config = config(&nats.url());
    change(&mut config);
    let options = Options { pod: "pod-1".to_owned() };
    let gateway = app::start_in(Given::of(config)?, options, cgroup.scratch.path())?;
    ready(gateway.admin_addr).await?;
    Ok((Rig::of(nats, jetstream, gateway), cgroup))
}

async fn acts(rig: &Rig, guard: &str) -> Result<bool> {
    Ok(rig.metric(&format!("wsgateway_guard_active{{guard=\"{guard}\"}}")).await? == 1)
}

#[tokio::test]
async fn a_pod_without_memory_refuses_whoever_comes_and_serves_those_who_are_there() -> Result<()> {
    let (rig, cgroup) = rig(guarded).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    cgroup.memory(95)?;
    wait_until(SOON, "the guard", async || acts(&rig, "reject_memory").await.unwrap_or(false))
        .await?;

    let refused = refused_upgrade(rig.client_addr).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("overloaded")));
    assert!(refused.header("retry-after").is_some());
    for path in ["/sse?channels=a", "/poll?channels=a"] {
        let refused = ask(rig.client_addr, path, "Connection: close\r\n").await?;
        assert_eq!(
            (refused.status, refused.json()?["code"].as_str()),
            (503, Some("overloaded")),
            "{path}"
        );
    }
    let reason = "wsgateway_upgrade_rejections_total{reason=\"overloaded\"}";
    assert_eq!(rig.metric(reason).await?, 3);
    let health = get(rig.admin_addr, "/health").await?;
    assert_eq!(health.status, 200, "those who are there need it");
    let health = health.json()?;
    assert_eq!(health["status"], "degraded");
    let warning = "overloaded: new clients are refused until less memory is used";
    ensure!(
        health["warnings"].as_array().is_some_and(|all| all.contains(&json!(warning))),
        "{health}"
    );
    assert_eq!(get(rig.admin_addr, "/readyz").await?.status, 200);

    rig.publish("a", "1").await?;
    client.expect("message").await?;
    assert!(!acts(&rig, "reject_cpu").await? && !acts(&rig, "pause_cpu").await?);

    cgroup.memory(50)?;
    wait_until(SOON, "room again", async || Client::connect(rig.client_addr).await.is_ok()).await?;
    assert!(!acts(&rig, "reject_memory").await?);
    Ok(())
}

#[tokio::test]
async fn a_pod_without_cpu_refuses_whoever_comes_until_its_levels_are_off() -> Result<()> {
    let (mut rig, mut cgroup) = rig(guarded).await?;
    let gateway = rig.take_gateway()?;
    wait_until(SOON, "both guards", async || {
        // More than there is, however seldom the test gets its turn.
        let is_written = cgroup.cpu_for(Duration::from_secs(60)).is_ok();
        let all = async || {
            Ok::<_, anyhow::Error>(
                acts(&rig, "reject_cpu").await? && acts(&rig, "pause_cpu").await?,
            )
        };
        is_written && all().await.unwrap_or(false)
    })
    .await?;
    assert_eq!(refused_upgrade(rig.client_addr).await?.json()?["code"], "overloaded");

    let mut config = config(&rig.nats.url());
    config.capacity.reject_above_memory_percent = 90;
    let mut fields = gateway.reload(Given::of(config)?)?;
    fields.sort();
    assert_eq!(fields, ["capacity.pauseAboveCpuPercent", "capacity.rejectAboveCpuPercent"]);
    wait_until(SOON, "an open door", async || Client::connect(rig.client_addr).await.is_ok())
        .await?;
    assert!(!acts(&rig, "pause_cpu").await?);
    drop(gateway);
    Ok(())
}

#[tokio::test]
async fn clients_that_catch_up_get_everything_from_a_pod_that_lets_them_wait() -> Result<()> {
    let (rig, mut cgroup) = rig(|config| {
        config.history.messages = 1;
        config.capacity.pause_above_cpu_percent = 80;
    })
    .await?;
    rig.publish_all((0..600).map(|number| ("a".to_owned(), number.to_string().into_bytes())))
        .await?;
    let last = rig.settle("a", "600").await?;
    wait_until(SOON, "the guard", async || {
        cgroup.cpu_for(Duration::from_secs(60)).is_ok()
            && acts(&rig, "pause_cpu").await.unwrap_or(false)
    })
    .await?;
    let mut client = rig.client().await?;
    let epoch = client.epoch().to_owned();
    let command = json!({ "type": "subscribe", "id": 1, "channels": ["a"],
        "resume": { "epoch": epoch, "offset": 0 } });
    client.send(&command).await?;
    client.expect("subscription_ack").await?;
    let mut offset = 0;
    while offset < last {
        let message = client.expect("message").await?;
        assert_eq!(message["offset"].as_u64(), Some(offset + 1), "{message}");
        offset += 1;
    }
    Ok(())
}
