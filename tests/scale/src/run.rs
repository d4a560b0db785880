//! One run: event after event, and the balance after each.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::sleep;

use crate::cluster::{CLIENTS, Cluster};
use crate::crowd::Crowd;
use crate::event::Event;
use crate::report::{Results, Row};
use crate::samples::Samples;

/// Undisturbed time before and after each event.
const STEADY: Duration = Duration::from_secs(3);
/// Port of NATS.
const NATS: u16 = 4222;

/// What a run consists of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients that are there all the time.
    pub always: usize,
    /// Clients that come and go.
    pub guests: usize,
    /// Messages a second in all.
    pub rate: u32,
    /// Connections that may end a minute.
    pub pace: u32,
}

/// Makes every event happen and hands out each row as soon as it is known.
///
/// # Errors
/// When something of ours fails, so that nothing can be said. What clients lose is no error: rows tell it.
pub async fn run(
    cluster: &Cluster,
    plan: Plan,
    events: &[Event],
    mut tell: impl FnMut(Event, Option<&Row>),
) -> Result<Results> {
    let begin = Instant::now();
    let address = cluster.service(&cluster.name, CLIENTS).await?;
    let nats = cluster.service("nats", NATS).await?;
    set_pace(cluster, plan.pace).await?;
    cluster.settled(2).await?;
    let samples = Samples::start(cluster.clone(), begin);
    let mut crowd = Crowd::start(address, nats, (plan.always, plan.guests), plan.rate).await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut pace = plan.pace;
    for (stamp, event) in (1..).zip(events) {
        tell(*event, None);
        let wanted = event.pace(plan.pace);
        if wanted != pace {
            set_pace(cluster, wanted).await?;
            pace = wanted;
        }
        let row = one(cluster, &mut crowd, &samples, (*event, stamp, wanted), begin).await;
        let row = row.with_context(|| format!("while: {}", event.title()))?;
        tell(*event, Some(&row));
        rows.push(row);
    }
    let disruptions = cluster.disruptions().await?;
    Ok(Results::new(plan, begin.elapsed(), rows, disruptions, samples.all()))
}

async fn set_pace(cluster: &Cluster, pace: u32) -> Result<()> {
    let change = json!({ "spec": {
        "disruption": { "connectionsPerMinute": pace },
        "rollout": { "connectionsPerMinute": pace },
        "autoscaling": { "scaleDown": { "connectionsPerMinute": pace } },
        "rebalance": { "connectionsPerMinute": pace },
    } });
    cluster.edit(&change).await
}

async fn one(
    cluster: &Cluster,
    crowd: &mut Crowd,
    samples: &Samples,
    (event, stamp, pace): (Event, u64, u32),
    begin: Instant,
) -> Result<Row> {
    let began = begin.elapsed();
    let published = crowd.meter.lock().published_in_all();
    crowd.publishers.go();
    sleep(STEADY).await;
    let pods = samples.last().len();
    event.inflict(cluster, crowd, samples, stamp).await?;
    sleep(STEADY).await;
    let (settled, retries) = crowd.settle().await?;
    Ok(Row {
        event,
        began_seconds: began.as_secs_f64(),
        seconds: (begin.elapsed() - began).as_secs_f64(),
        clients: crowd.present(),
        pods: (pods, samples.last().len()),
        pace,
        published: crowd.meter.lock().published_in_all() - published,
        retries,
        counts: settled.counts,
        cuts: settled.cuts,
        away: settled.spans,
        closes: settled.closes,
        examples: settled.examples,
    })
}
