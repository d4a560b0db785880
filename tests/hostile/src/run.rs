//! One kind of attack after the other, each in an environment of its own.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::wait_until;
use serde::Serialize;
use tokio::process::Command;
use tokio::time::sleep;

use crate::attack::Outcome;
use crate::environment::{Environment, Plan};
use crate::honest::{Delay, Honest};
use crate::kind::Kind;
use crate::newcomers::{Found, Newcomers};
use crate::process::{cpu_ms, resident, socket_buffers};
use crate::publisher::Publisher;

/// Between two samples of memory.
const SAMPLE: Duration = Duration::from_millis(100);

/// How long the attacking process may take beyond its time before it is killed.
const GRACE: Duration = Duration::from_secs(30);

/// How long honest clients may take to have everything, and places to be free again.
const SETTLE: Duration = Duration::from_secs(60);

/// Undisturbed time before anything is measured, so that code and caches are warm.
const WARM: Duration = Duration::from_millis(500);

/// What one kind of attack did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// How it was done.
    pub kind: Kind,
    /// How long (s).
    pub seconds: f64,
    /// Publish to read before the attack.
    pub quiet: Delay,
    /// Publish to read during the attack.
    pub attacked: Delay,
    /// Resident memory of the gateway before the attack (bytes).
    pub memory_before: u64,
    /// The most during the attack (bytes).
    pub memory_peak: u64,
    /// Memory request of such a pod (bytes).
    pub memory_request: u64,
    /// The most that buffers of TCP sockets grew on the machine, both ends (bytes).
    pub socket_buffers: u64,
    /// CPU of the gateway before and during the attack (percent of a core).
    pub cpu_percent: (f64, f64),
    /// Messages that honest clients were owed.
    pub owed: u64,
    /// Messages of those that did not come.
    pub lost: u64,
    /// Messages that came twice, out of order or garbled, and gaps reported.
    pub faulty: u64,
    /// Honest clients that were closed.
    pub closed: u64,
    /// Honest clients that came during the attack.
    pub newcomers: Found,
    /// What became of the hostile ones.
    pub hostile: Outcome,
    /// Places that were still taken long after the attack.
    pub left_over: u64,
    /// The end of the gateway's log, if the gateway has ended.
    pub ended: Option<String>,
}

impl Row {
    /// Whether honest clients kept their connections and got everything once, within the memory of the pod, and the
    /// gateway is as before.
    pub fn is_faultless(&self) -> bool {
        self.lost + self.faulty + self.closed + self.left_over == 0
            && self.memory_peak <= self.memory_request
            && self.ended.is_none()
    }

    /// p99 during the attack over p99 before.
    pub fn ratio(&self) -> f64 {
        self.attacked.p99_us as f64 / self.quiet.p99_us.max(1) as f64
    }
}

/// What happens while a run goes on.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// What is done now.
    Begins(Kind),
    /// What came of it.
    Done(&'a Row),
}

/// Attacks in one way after the other and hands out each row as soon as it is known.
///
/// # Errors
/// When something of ours fails, so that nothing can be said. What honest clients suffer is no error: rows say it.
pub async fn run(
    plan: &Plan,
    kinds: &[Kind],
    mut notify: impl FnMut(News<'_>),
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for kind in kinds {
        notify(News::Begins(*kind));
        let row = Box::pin(one(plan, *kind)).await;
        let row = row.with_context(|| format!("while: {}", kind.title()))?;
        notify(News::Done(&row));
        rows.push(row);
    }
    Ok(rows)
}

async fn one(plan: &Plan, kind: Kind) -> Result<Row> {
    let environment = Environment::start(plan).await?;
    let mut honest = Honest::connect(environment.client(), plan.honest)?;
    let publisher = Publisher::start(environment.nats.client().await?, plan.rate);
    sleep(WARM).await;

    honest.begin()?;
    let quiet_time = Duration::from_secs_f64(plan.quiet);
    let quiet_use = Usage::over(&environment, sleep(quiet_time)).await;
    let quiet = honest.seen()?.delay;

    honest.begin()?;
    let newcomers = Newcomers::start(environment.client());
    let attack = attack(plan, kind, &environment);
    let attacked_use = Usage::over(&environment, attack).await;
    let attacked = honest.seen()?.delay;
    let newcomers = newcomers.finish();

    let ticks = publisher.finish().await?;
    let owed = honest.owed(ticks);
    let settled = wait_until(SETTLE, "everything", async || {
        honest.seen().map_or(true, |seen| seen.counters.messages >= owed)
    });
    // Not in time means lost, and the row says so.
    drop(settled.await);
    let left_over = left_over(&environment, &mut honest).await?;
    let counters = honest.seen()?.counters;
    let wrong = [
        counters.duplicates,
        counters.out_of_order,
        counters.gaps,
        counters.admitted_gaps,
        counters.inconsistent,
        counters.number_gaps,
        counters.malformed,
        counters.violations,
    ];
    Ok(Row {
        kind,
        seconds: plan.seconds,
        quiet,
        attacked,
        memory_before: quiet_use.memory,
        memory_peak: attacked_use.memory.max(quiet_use.memory),
        memory_request: environment.memory_request,
        socket_buffers: attacked_use.buffers.saturating_sub(quiet_use.buffers),
        cpu_percent: (quiet_use.cpu_percent, attacked_use.cpu_percent),
        owed,
        lost: owed.saturating_sub(counters.messages),
        faulty: wrong.iter().sum(),
        closed: counters.closed(),
        newcomers,
        hostile: attacked_use.output?,
        left_over,
        ended: (!environment.alive()).then(|| environment.log_tail()),
    })
}

/// What the gateway used while something went on.
struct Usage<T> {
    memory: u64,
    buffers: u64,
    cpu_percent: f64,
    output: T,
}

impl<T> Usage<T> {
    /// Samples until `work` is done.
    async fn over(environment: &Environment, work: impl Future<Output = T>) -> Self {
        let (pid, clock) = (environment.pid(), Instant::now());
        let cpu = cpu_ms(pid);
        let (mut memory, mut buffers) = (0, 0);
        let mut work = Box::pin(work);
        let output = loop {
            memory = memory.max(resident(pid));
            buffers = buffers.max(socket_buffers());
            tokio::select! {
                output = &mut work => break output,
                () = sleep(SAMPLE) => {}
            }
        };
        let busy = cpu_ms(pid).saturating_sub(cpu) as f64;
        let cpu_percent = busy / 10.0 / clock.elapsed().as_secs_f64().max(1e-3);
        Self { memory: memory.max(resident(pid)), buffers, cpu_percent, output }
    }
}

/// Runs the attacking process, with less of a core than honest clients have.
async fn attack(plan: &Plan, kind: Kind, environment: &Environment) -> Result<Outcome> {
    let child = Command::new("nice")
        .args(["-n", "10"])
        .arg(&plan.attacker)
        .args(["attack", "--kind", &kind.name(), "--target", &environment.client().to_string()])
        .args(["--clients", &plan.hostile.to_string(), "--seconds", &plan.seconds.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the attacking process")?;
    let limit = Duration::from_secs_f64(plan.seconds) + GRACE;
    let output = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = output.context("the attacking process does not end")??;
    ensure!(output.status.success(), "the attacking process failed: {}", output.status);
    serde_json::from_slice(&output.stdout).context("what the attacking process says")
}

/// Places that are taken by nobody honest, once there was time to notice that the others are gone.
async fn left_over(environment: &Environment, honest: &mut Honest) -> Result<u64> {
    let open = honest.seen()?.counters.connected;
    let mut surplus = 0;
    let free = wait_until(SETTLE, "free places", async || {
        surplus = environment.connections().await.map_or(0, |now| now.saturating_sub(open));
        surplus == 0
    });
    // Those that are left are in the row.
    drop(free.await);
    Ok(surplus)
}
