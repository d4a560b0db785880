//! Two operators, real processes, one writer: killed, frozen, cut off, stopped. Counted in the API server's audit log.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::wait_until;
use harness::{AuditEvent, Cable, Guarded, Identity, Scratch, Signal, built_beside, free_port};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World};

/// Shorter than the defaults, long enough for a machine that compiles at the same time.
const LEASE: SignedDuration = SignedDuration::from_secs(8);
const TIMES: [&str; 3] = ["--lease-seconds=8", "--renew-seconds=5", "--retry-seconds=1"];
/// What the issue allows beyond the lease.
const MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// An operator as a process with a user of its own.
struct Process {
    user: String,
    admin: SocketAddr,
    guarded: Guarded,
}

/// The command line of an operator, from its program on.
fn arguments(world: &World, name: &str, admin: SocketAddr) -> Vec<String> {
    let namespace = &world.namespace;
    let mut arguments: Vec<String> = [
        format!("--admin={admin}"),
        format!("--namespace={namespace}"),
        format!("--own-namespace={namespace}"),
        format!("--pod={name}"),
        "--gateway-image=example.com/gateway:test".to_owned(),
        "--resync-seconds=1".to_owned(),
    ]
    .into();
    arguments.extend(TIMES.map(str::to_owned));
    arguments
}

impl Process {
    fn start(world: &World, scratch: &Scratch, name: &str, cable: Option<&Cable>) -> Result<Self> {
        let user = format!("operator-{name}-{}", world.namespace);
        let identity = Identity::new(&user, &["system:masters"]);
        let address = cable.map_or(world.plane.address(), Cable::address);
        let kubeconfig = world.plane.kubeconfig_via(&identity, &format!("https://{address}"))?;
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut command = vec![
            format!("KUBECONFIG={}", kubeconfig.display()),
            built_beside("operator")?.display().to_string(),
        ];
        command.extend(arguments(world, name, admin));
        let log = scratch.join(&format!("{name}.log"));
        let guarded = Guarded::start("/usr/bin/env".as_ref(), &command, &log)?;
        Ok(Self { user, admin, guarded })
    }

    /// An answer of its admin port, head and body.
    async fn answer(&self, path: &str) -> Result<String> {
        let mut socket = tokio::net::TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn is_ready(&self) -> Result<()> {
        wait_until(SOON, &format!("{} to be ready", self.user), async || {
            self.answer("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await
        .with_context(|| self.guarded.log_tail())
    }

    async fn says_it_leads(&self, leads: u8) -> Result<()> {
        let line = format!("\nwsgateway_operator_leader {leads}\n");
        wait_until(SOON, &format!("{} to say {}", self.user, line.trim()), async || {
            self.answer("/metrics").await.is_ok_and(|answer| answer.contains(&line))
        })
        .await
        .with_context(|| self.guarded.log_tail())
    }

    async fn ends(&self) -> Result<()> {
        wait_until(SOON, &format!("the end of {}", self.user), async || !self.guarded.alive()).await
    }
}

/// Waits until the Lease names this pod.
async fn leads(world: &World, name: &str) -> Result<()> {
    let leases = world.api::<Lease>();
    let prefix = format!("{name}_");
    wait_until(SOON, &format!("{name} to lead"), async || {
        let lease = leases.get_opt("wsgateway-operator").await.ok().flatten();
        let holder = lease.and_then(|lease| lease.spec?.holder_identity);
        holder.is_some_and(|holder| holder.starts_with(&prefix))
    })
    .await
}

/// Somebody who changes the WsGateway all the time, so that whoever may write has something to write.
struct Editor(JoinHandle<()>);

impl Editor {
    fn start(world: &World) -> Self {
        let api = world.api::<WsGateway>();
        Self(tokio::spawn(async move {
            for number in 0_u64.. {
                let grace = format!("{}ms", 1_000 + number % 5_000);
                let change = json!({ "spec": { "slowConsumer": { "grace": grace } } });
                drop(api.patch(ODIN, &PatchParams::default(), &Patch::Merge(&change)).await);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn is_lease_write(event: &AuditEvent) -> bool {
    event.resource == "leases" && event.is_write() && event.is_done()
}

fn object_writes<'a>(events: &'a [AuditEvent], user: &str) -> Vec<&'a AuditEvent> {
    let of =
        |event: &&AuditEvent| event.user == user && event.is_write() && event.resource != "leases";
    events.iter().filter(of).collect()
}

/// Walks through the log: each write is by the one whose write of the Lease was the last that succeeded. One that the API
/// server gave up on (504) wrote nothing: a process that is frozen in the middle of a request never ends it.
fn one_writer(events: &[AuditEvent]) -> Result<()> {
    let mut holder = None;
    for event in events.iter().filter(|event| event.is_write() && event.code != 504) {
        if is_lease_write(event) {
            holder = Some(event.user.as_str());
        } else if event.resource != "leases" {
            ensure!(holder == Some(event.user.as_str()), "{holder:?} led when {event:?}");
        }
    }
    Ok(())
}

/// Time between the last write of the Lease by one and the first by the other, as the API server saw it.
fn failover(events: &[AuditEvent], from: &Process, to: &Process) -> Result<SignedDuration> {
    let of = |process: &Process| {
        let user = process.user.clone();
        events.iter().filter(move |event| is_lease_write(event) && event.user == user)
    };
    let last = of(from).next_back().context("the first never led")?;
    let first = of(to).next().context("the second never led")?;
    Ok(first.received.duration_since(last.received))
}

/// Waits until an operator has written a ConfigMap.
async fn writes(world: &World, process: &Process) -> Result<()> {
    wait_until(SOON, &format!("{} to write", process.user), async || {
        let events = world.plane.audit(&[&process.user]).unwrap_or_default();
        events.iter().any(|event| event.resource == "configmaps" && event.is_write())
    })
    .await
    .with_context(|| process.guarded.log_tail())
}

/// Two operators of which `a` leads and writes, and `b` is ready; and somebody who edits.
async fn pair(
    world: &World,
    scratch: &Scratch,
    cable: Option<&Cable>,
) -> Result<(Process, Process, Editor)> {
    let a = Process::start(world, scratch, "a", cable)?;
    leads(world, "a").await.with_context(|| a.guarded.log_tail())?;
    let b = Process::start(world, scratch, "b", None)?;
    b.is_ready().await?;
    world.create(&json!({})).await?;
    let editor = Editor::start(world);
    writes(world, &a).await?;
    Ok((a, b, editor))
}

/// What must hold after any failover from `a` to `b`.
async fn settled(
    world: &World,
    a: &Process,
    b: &Process,
    editor: Editor,
) -> Result<Vec<AuditEvent>> {
    writes(world, b).await?;
    drop(editor);
    let events = world.plane.audit_until_now(&[&a.user, &b.user]).await?;
    one_writer(&events)?;
    let took = failover(&events, a, b)?;
    ensure!(took <= LEASE + MARGIN, "the failover took {took}");
    Ok(events)
}

#[tokio::test]
async fn a_killed_operator_is_followed_by_the_one_that_waits() -> Result<()> {
    let (world, scratch) = (World::without_operator("lead-kill").await?, Scratch::new("lead")?);
    let (mut a, b, editor) = pair(&world, &scratch, None).await?;
    a.says_it_leads(1).await?;
    b.says_it_leads(0).await?;

    a.guarded.signal(Signal::Kill)?;

    leads(&world, "b").await?;
    b.says_it_leads(1).await?;
    b.is_ready().await?;
    settled(&world, &a, &b, editor).await.map(drop)
}

#[tokio::test]
async fn an_operator_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes_and_ends()
-> Result<()> {
    let (world, scratch) = (World::without_operator("lead-stop").await?, Scratch::new("lead")?);
    let (mut a, b, editor) = pair(&world, &scratch, None).await?;

    a.guarded.signal(Signal::Stop)?;
    leads(&world, "b").await?;
    writes(&world, &b).await?;
    a.guarded.signal(Signal::Cont)?;

    a.ends().await?;
    settled(&world, &a, &b, editor).await.map(drop)
}

#[tokio::test]
async fn an_operator_that_is_cut_off_ends_by_itself_and_another_leads() -> Result<()> {
    let (world, scratch) = (World::without_operator("lead-cut").await?, Scratch::new("lead")?);
    let cable = Cable::to(world.plane.address()).await?;
    let (a, b, editor) = pair(&world, &scratch, Some(&cable)).await?;

    cable.cut();
    a.ends().await?;
    leads(&world, "b").await?;
    cable.mend();

    settled(&world, &a, &b, editor).await.map(drop)
}

#[tokio::test]
async fn an_operator_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let (world, scratch) = (World::without_operator("lead-term").await?, Scratch::new("lead")?);
    let (mut a, b, editor) = pair(&world, &scratch, None).await?;

    a.guarded.terminate(SOON).await?;

    leads(&world, "b").await?;
    let events = settled(&world, &a, &b, editor).await?;
    let took = failover(&events, &a, &b)?;
    assert!(took < LEASE, "the Lease was not released: {took}");
    Ok(())
}

#[tokio::test]
async fn a_new_leader_writes_no_object_that_is_as_it_should_be() -> Result<()> {
    let (world, scratch) = (World::without_operator("lead-rest").await?, Scratch::new("lead")?);
    let mut a = Process::start(&world, &scratch, "a", None)?;
    let autoscaled = json!({ "spec": {
        "autoscaling": { "minReplicas": 2, "maxReplicas": 4, "targetConnectionsPerPod": 8000 },
        "stream": { "deletionPolicy": "Delete" },
    } });
    world.create(&autoscaled).await?;
    world.stream_ready().await?;
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "NoMetric").await?;
    let stream = world.stream().await?;
    a.guarded.terminate(SOON).await?;

    let b = Process::start(&world, &scratch, "b", None)?;
    leads(&world, "b").await.with_context(|| b.guarded.log_tail())?;
    reconciled(&b, 3).await?;

    let events = world.plane.audit_until_now(&[&b.user]).await?;
    let writes_of_b = object_writes(&events, &b.user);
    assert!(writes_of_b.is_empty(), "{writes_of_b:#?}");
    assert_eq!(world.stream().await?.config, stream.config);
    let drifted = json!({ "data": { "live.yaml": "drifted" } });
    world
        .api::<ConfigMap>()
        .patch("odin-live", &PatchParams::default(), &Patch::Merge(&drifted))
        .await?;
    writes(&world, &b).await
}

/// Waits until an operator has reconciled this often without an error.
async fn reconciled(process: &Process, times: u64) -> Result<()> {
    let series = "wsgateway_operator_reconciles_total{outcome=\"";
    wait_until(SOON, &format!("{times} reconciliations of {}", process.user), async || {
        let answer = process.answer("/metrics").await.unwrap_or_default();
        let counted = answer.lines().filter_map(|line| line.strip_prefix(series));
        let good = counted.filter_map(|line| line.split_once("\"} "));
        let good = good.filter(|(outcome, _)| *outcome != "error");
        good.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum::<u64>() >= times
    })
    .await
    .with_context(|| process.guarded.log_tail())
}

#[tokio::test]
async fn an_operator_whose_lease_is_taken_ends_with_a_code_of_its_own() -> Result<()> {
    let (world, scratch) = (World::without_operator("lead-code").await?, Scratch::new("lead")?);
    let identity = Identity::new(&format!("operator-{}", world.namespace), &["system:masters"]);
    let log = std::fs::File::create(scratch.join("a.log"))?;
    let admin = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut operator = tokio::process::Command::new(built_beside("operator")?)
        .args(arguments(&world, "a", admin))
        .env("KUBECONFIG", world.plane.kubeconfig_as(&identity)?)
        .stdin(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    leads(&world, "a").await?;

    let thief = LeaseSpec {
        holder_identity: Some("somebody".to_owned()),
        lease_duration_seconds: Some(15),
        ..LeaseSpec::default()
    };
    let leases: Api<Lease> = world.api();
    let change = json!({ "spec": thief });
    leases.patch("wsgateway-operator", &PatchParams::default(), &Patch::Merge(&change)).await?;

    let status = tokio::time::timeout(SOON, operator.wait()).await??;
    assert_eq!(status.code(), Some(75), "{}", std::fs::read_to_string(scratch.join("a.log"))?);
    Ok(())
}
