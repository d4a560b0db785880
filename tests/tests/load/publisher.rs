//! What the report says of messages that the stream did not take, or did not confirm.

use anyhow::Result;
use async_nats::jetstream::stream::{self, DiscardPolicy};
use serde_json::{Value, json};

use super::rig::{Ended, Gateway, Running, load, nats, nats_with, number};

/// Refused, unconfirmed, without a connection.
fn not_stored(report: &Value) -> Value {
    let published = &report["published"];
    json!([published["refused"], published["unconfirmed"], published["disconnected"]])
}

/// No message counts as anything wrong, and each that was due has one outcome.
fn is_exact(ended: &Ended) -> Result<Value> {
    let report = ended.report()?;
    let (totals, published) = (&report["totals"], &report["published"]);
    let harm = json!([totals["lost"], totals["twice"], totals["outOfOrder"], totals["errors"]]);
    assert_eq!(harm, json!([0, 0, 0, {}]), "{report:#}");
    let sum =
        |names: &[&str]| names.iter().filter_map(|name| published[name].as_u64()).sum::<u64>();
    assert_eq!(sum(&["stored", "failed"]), sum(&["due"]), "{report:#}");
    assert_eq!(sum(&["refused", "unconfirmed", "disconnected"]), sum(&["failed"]), "{report:#}");
    Ok(report)
}

fn arguments(gateway: &Gateway, nats: &str, duration: &str) -> String {
    format!(
        "{} -c 20 --ramp 0s --duration {duration} --publish {nats} --rate 50 --channels 3 --per-client 2 \
         --subject p.{{channel}} --fail-if lost>0 --json -",
        gateway.url()
    )
}

#[tokio::test]
async fn what_the_stream_refuses_is_counted_as_refused_and_not_as_lost() -> Result<()> {
    let full = stream::Config {
        max_messages: 40,
        discard: DiscardPolicy::New,
        ..stream::Config::default()
    };
    let nats = nats_with(full).await?;
    let gateway = Gateway::start(&nats).await?;
    let markdown = gateway.file("load.md");
    let run = arguments(&gateway, &nats.url(), "2s");
    let ended = load(&format!("{run} --fail-if failed>0 --markdown {markdown}")).await?;
    let report = is_exact(&ended)?;
    assert_eq!(report["published"]["stored"], 40, "{report:#}");
    let refused = number(&report, "/published/refused");
    assert_eq!(not_stored(&report), json!([refused as u64, 0, 0]), "{report:#}");
    assert!(refused > 20.0 && number(&report, "/totals/ours") > 300.0, "{report:#}");
    let markdown = std::fs::read_to_string(markdown)?;
    assert!(markdown.contains(&format!("the stream refused {refused} messages")), "{markdown}");
    assert_eq!((ended.code, ended.stderr.contains("failed by failed>0")), (Some(1), true));
    Ok(())
}

#[tokio::test]
async fn what_is_stored_and_not_confirmed_is_neither_lost_nor_wrong_when_it_arrives() -> Result<()>
{
    let mute = stream::Config { no_ack: true, ..stream::Config::default() };
    let nats = nats_with(mute).await?;
    let gateway = Gateway::start(&nats).await?;
    let ended = load(&arguments(&gateway, &nats.url(), "2s")).await?;
    let report = is_exact(&ended)?;
    let due = &report["published"]["due"];
    assert_eq!(not_stored(&report), json!([0, due, 0]), "{report:#}");
    assert!(number(&report, "/totals/ours") > 500.0, "they arrive: {report:#}");
    assert!(report["notes"].to_string().contains("they may be stored"), "{report:#}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_due_while_nats_is_away_is_counted_as_without_a_connection() -> Result<()> {
    let mut nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let mut run = Running::start(&arguments(&gateway, &nats.url(), "3s"))?;
    run.says(" 20 clients").await?;
    nats.stop().await?;
    let ended = run.ended().await?;
    let report = is_exact(&ended)?;
    assert!(number(&report, "/published/disconnected") > 20.0, "{report:#}");
    assert!(report["notes"].to_string().contains("without a connection to NATS"), "{report:#}");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Ok(())
}
