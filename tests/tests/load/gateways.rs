//! Against the real gateway and the real NATS.

use anyhow::Result;
use serde_json::{Value, json};

use super::rig::{Gateway, Running, load, nats, number};

/// Lost, twice, out of order, and errors of any kind.
fn harm(report: &Value) -> Value {
    let totals = &report["totals"];
    json!([totals["lost"], totals["twice"], totals["outOfOrder"], totals["errors"]])
}

fn none() -> Value {
    json!([0, 0, 0, {}])
}

#[tokio::test]
async fn hundreds_of_clients_of_a_gateway_lose_nothing_and_the_report_says_so_in_each_form()
-> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let [html, markdown] = ["load.html", "load.md"].map(|name| gateway.file(name));
    let ended = load(&format!(
        "{} -c 300 --ramp 1s --duration 2s --publish {} --rate 200 --channels 4 --per-client 2 --subject p.{{channel}} \
         --admin {} --fail-if lost>0 --fail-if connected<300 --json - --html {html} --markdown {markdown}",
        gateway.url(),
        nats.url(),
        gateway.admin
    ))
    .await?;

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = ended.report()?;
    assert_eq!(harm(&report), none(), "{report:#}");
    // On a machine that is busy NATS may confirm late; that is neither a loss nor a refusal.
    let [due, stored, unconfirmed, refused] = ["due", "stored", "unconfirmed", "refused"]
        .map(|name| number(&report, &format!("/published/{name}")));
    assert_eq!((number(&report, "/peak"), refused, stored + unconfirmed), (300.0, 0.0, due));
    assert_eq!(report["latencyFrom"], "publisher");
    assert!(number(&report, "/latency/count") > 10_000.0, "{report:#}");
    assert_eq!(report["latency"]["count"], report["totals"]["ours"]);
    assert!(number(&report, "/targets/0/memoryBytes") > 1e6, "{report:#}");
    let ahead = number(&report, "/targets/0/clock/aheadMs").abs();
    assert!(ahead <= number(&report, "/targets/0/clock/errorMs") + 1.0, "one clock: {report:#}");
    let (html, markdown) = (std::fs::read_to_string(html)?, std::fs::read_to_string(markdown)?);
    assert!(html.contains("<svg") && html.ends_with("</html>\n"), "{html}");
    assert!(markdown.contains("| Lost | 0 |"), "{markdown}");
    Ok(())
}

#[tokio::test]
async fn each_protocol_counts_what_it_receives() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let [ws, sse, poll] = ["/ws", "/sse", "/poll"].map(|path| gateway.url().replace("/ws", path));
    for (protocol, url, subject) in [
        ("odin", &ws, "p.{channel}"),
        ("symbols", &ws, "p.{channel}.trade"),
        ("sse", &sse, "p.{channel}"),
        ("poll", &poll, "p.{channel}"),
    ] {
        let ended = load(&format!(
            "{url} --protocol {protocol} -c 20 --ramp 0s --duration 2s --publish {} --rate 50 --channel S{{}} --subject {subject} \
             --json -",
            nats.url()
        ))
        .await?;
        let report = ended.report()?;
        assert_eq!(harm(&report), none(), "{protocol}: {report:#}");
        assert!(number(&report, "/totals/ours") > 100.0, "{protocol}: {report:#}");
        assert_eq!(number(&report, "/peak"), 20.0, "{protocol}");
        let ahead = number(&report, "/targets/0/clock/aheadMs").abs();
        assert!(
            ahead <= number(&report, "/targets/0/clock/errorMs") + 1.0,
            "one clock: {report:#}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn without_a_publisher_latency_is_counted_from_the_stream() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let other = Running::start(&format!(
        "{} -c 1 --ramp 0s --duration 20s --publish {} --subject p.{{channel}}",
        gateway.url(),
        nats.url()
    ))?;
    for (protocol, path, knows_clock) in [
        ("v1", "/ws", true),
        ("odin", "/ws", true),
        ("sse", "/sse", false),
        ("poll", "/poll", false),
    ] {
        let report = load(&format!(
            "{} --protocol {protocol} -c 10 --ramp 0s --duration 2s --json -",
            gateway.url().replace("/ws", path)
        ))
        .await?
        .report()?;
        assert_eq!(harm(&report), none(), "{protocol}: {report:#}");
        assert_eq!(report["latencyFrom"], "stream");
        assert!(number(&report, "/latency/count") > 100.0, "{protocol}: {report:#}");
        assert_eq!(
            report["targets"][0]["clock"].is_object(),
            knows_clock,
            "{protocol}: {report:#}"
        );
        let said = report["notes"].to_string().contains("how far the clocks differ is not known");
        assert_eq!(said, !knows_clock, "{protocol}: {report:#}");
    }
    drop(other);
    Ok(())
}

#[tokio::test]
async fn clients_are_shared_by_targets_and_by_processes() -> Result<()> {
    let nats = nats().await?;
    let (one, two) = (Gateway::start(&nats).await?, Gateway::start(&nats).await?);
    let ended = load(&format!(
        "{} {} -c 100 --ramp 0s --duration 2s --processes 2 --publish {} --subject p.{{channel}} --json -",
        one.url(),
        two.url(),
        nats.url()
    ))
    .await?;
    let report = ended.report()?;
    assert_eq!(harm(&report), none(), "{report:#}");
    assert_eq!((number(&report, "/peak"), number(&report, "/setting/processes")), (100.0, 2.0));
    assert!(report["targets"][0]["clock"].is_object() && report["targets"][1]["clock"].is_object());
    Ok(())
}

#[tokio::test]
async fn clients_of_a_gateway_that_is_killed_come_back_and_resume() -> Result<()> {
    let nats = nats().await?;
    let mut gateway = Gateway::start(&nats).await?;
    for (protocol, path) in [("v1", "/ws"), ("sse", "/sse"), ("poll", "/poll")] {
        let mut run = Running::start(&format!(
            "{} --protocol {protocol} -c 50 --ramp 0s --duration 12s --publish {} --subject p.{{channel}} --json -",
            gateway.url().replace("/ws", path),
            nats.url()
        ))?;
        run.says(" 50 clients").await?;
        gateway.kill().await?;
        gateway.again().await?;
        let report = run.ended().await?.report()?;
        let totals = &report["totals"];
        assert_eq!(totals["reconnects"], 50, "{protocol}: {report:#}");
        assert_eq!(totals["errors"]["closed with 1006"], 50, "{protocol}: {report:#}");
        let harm = (&totals["lost"], &totals["twice"]);
        assert_eq!(harm, (&json!(0), &json!(0)), "{protocol}: {report:#}");
    }
    Ok(())
}

#[tokio::test]
async fn what_clients_of_a_gateway_that_stays_away_miss_is_lost() -> Result<()> {
    let nats = nats().await?;
    let mut gateway = Gateway::start(&nats).await?;
    let mut run = Running::start(&format!(
        "{} -c 20 --ramp 0s --duration 5s --publish {} --subject p.{{channel}} --channels 1 --fail-if lost>0 --json -",
        gateway.url(),
        nats.url()
    ))?;
    run.says(" 20 clients").await?;
    gateway.kill().await?;
    let ended = run.ended().await?;
    let report = ended.report()?;
    assert!(number(&report, "/totals/lost") >= 20.0, "{report:#}");
    assert!(number(&report, "/totals/errors/connection refused") > 0.0, "{report:#}");
    assert_eq!(ended.code, Some(1));
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_with_the_report() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    for processes in ["", "--processes 2"] {
        let mut run =
            Running::start(&format!("{} --duration 1h --json - {processes}", gateway.url()))?;
        run.says(" 100 clients").await?;
        run.interrupt().await?;
        let ended = run.ended().await?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report = ended.report()?;
        assert_eq!((&report["end"], number(&report, "/peak")), (&json!("interrupted"), 100.0));
    }
    Ok(())
}
