//! One run: fault after fault, and the balance after each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::wait_until;
use serde::Serialize;
use tokio::time::sleep;

use crate::fault::Fault;
use crate::ledger::{Counts, Excuse};
use crate::meter::Spans;
use crate::servers::Kind;
use crate::world::{Plan, World};

/// After everything has come: time for what should not come any more. A repetition that is later still is counted with
/// the next fault.
const LINGER: Duration = Duration::from_millis(300);

/// What one fault did.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// NATS.
    pub nats: Kind,
    /// What was done.
    pub fault: Fault,
    /// How long all of it took (s), undisturbed time included.
    pub seconds: f64,
    /// Messages that JetStream acknowledged.
    pub published: u64,
    /// Attempts to publish that were not acknowledged, and repeated.
    pub retries: u64,
    /// What came and what did not.
    #[serde(flatten)]
    pub counts: Counts,
    /// From the end of a connection until its client was up to date again.
    pub back: Spans,
    /// From the end of the trouble until every client was connected and up to date (ms).
    pub mended_ms: Option<u64>,
    /// Clients that were not up to date when it was given up.
    pub behind: u64,
    /// Clients that were not told that the stream is another one, though it is.
    pub unaware: u64,
    /// Gateways that did not become ready again.
    pub unready: u64,
    /// How connections ended, by close code.
    pub closes: BTreeMap<u16, u64>,
    /// What went wrong, in words; not all of it.
    pub examples: Vec<String>,
}

impl Row {
    /// Whether nothing was lost, repeated or reordered, and all that had to be told was told.
    pub fn is_faultless(&self) -> bool {
        self.counts.is_faultless(self.fault.excuse())
            && self.behind + self.unaware + self.unready == 0
    }
}

/// What happens while a run goes on.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// What is done now.
    Begins(&'a str),
    /// What came of it.
    Done(&'a Row),
}

/// Inflicts the faults one after the other and hands out each row as soon as it is known.
///
/// # Errors
/// When something of ours fails, so that nothing can be said. Losses are no error: rows tell them.
pub async fn run(
    plan: &Plan,
    faults: &[Fault],
    mut tell: impl FnMut(News<'_>),
) -> Result<Vec<Row>> {
    tell(News::Begins("starting"));
    let mut world = World::start(plan).await.context("cannot start")?;
    let mut rows = Vec::new();
    for fault in faults {
        tell(News::Begins(fault.title(plan.kind)));
        let row = one(&mut world, plan, *fault).await;
        let row = row.with_context(|| format!("while: {}", fault.title(plan.kind)))?;
        tell(News::Done(&row));
        rows.push(row);
    }
    Ok(rows)
}

async fn one(world: &mut World, plan: &Plan, fault: Fault) -> Result<Row> {
    let begin = Instant::now();
    let before = world.meter.lock().published_in_all();
    world.publishers.go();
    sleep(world.times.steady).await;
    fault.inflict(world).await?;

    let mended = Instant::now();
    let mark = world.meter.lock().mark();
    let back = up_to_date(world, &mark).await?;
    let mended_ms = back.then(|| u64::try_from(mended.elapsed().as_millis()).unwrap_or(u64::MAX));
    sleep(world.times.steady).await;
    world.publishers.rest().await;
    let mark = world.meter.lock().mark();
    if back {
        up_to_date(world, &mark).await?;
    }
    sleep(LINGER).await;

    let mut meter = world.meter.lock();
    let behind = meter.behind(&mark) as u64;
    let unaware = if fault.excuse() == Excuse::Epoch { meter.unaware() as u64 } else { 0 };
    let published = meter.published_in_all() - before;
    let settled = meter.settle();
    drop(meter);
    Ok(Row {
        nats: plan.kind,
        fault,
        seconds: begin.elapsed().as_secs_f64(),
        published,
        retries: world.publishers.retries(),
        counts: settled.counts,
        back: settled.spans,
        mended_ms,
        behind,
        unaware,
        unready: std::mem::take(&mut world.unready),
        closes: settled.closes,
        examples: settled.examples,
    })
}

/// Waits until every client is connected and has everything up to the mark; false when it was given up.
async fn up_to_date(world: &World, mark: &[u32]) -> Result<bool> {
    let reached = wait_until(world.times.give_up, "clients", async || {
        world.swarm.failure().is_some() || world.meter.lock().behind(mark) == 0
    });
    let reached = reached.await.is_ok();
    world.check()?;
    Ok(reached)
}
