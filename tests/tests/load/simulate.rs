//! `wsgw simulate` against the real gateway and the real NATS, and against pages of health that refuse, hang and lie.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::rig::{Gateway, Running, load, nats, number, simulate};

/// Lost, twice, out of order, what the gateway reported, and errors of any kind.
fn harm(report: &Value) -> Value {
    let totals = &report["totals"];
    json!([
        totals["lost"],
        totals["twice"],
        totals["outOfOrder"],
        totals["gapsReported"],
        totals["errors"]
    ])
}

fn none() -> Value {
    json!([0, 0, 0, 0, {}])
}

/// A sum over all types of traders.
fn sum(report: &Value, field: &str) -> f64 {
    let kinds = report["simulation"]["crowd"]["kinds"].as_array();
    kinds.into_iter().flatten().filter_map(|kind| kind[field].as_f64()).sum()
}

/// Answers every question with this page from now on; nothing: it hangs.
async fn health(page: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, page) = (listener.local_addr()?, page.to_owned());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(page.as_bytes()).await;
            if page.is_empty() {
                kept.push(stream);
            }
        }
    });
    Ok(address)
}

fn page(body: &Value) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn dozens_of_traders_come_leave_and_resume_and_nothing_is_lost() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    for (protocol, path, processes) in [("v1", "/ws", 1), ("sse", "/sse", 2)] {
        let html = gateway.file("market.html");
        let ended = simulate(&format!(
            "{} --protocol {protocol} --profile custom -c 60 --duration 20m --speed 240 --ramp 2m --seed 7 --no-health \
             --publish {} --rate 100 --channels 6 --per-client 2 --subject p.{{channel}} --processes {processes} \
             --fail-if lost>0 --json - --html {html}",
            gateway.url().replace("/ws", path),
            nats.url()
        ))
        .await?;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let report = ended.report()?;
        assert_eq!(harm(&report), none(), "{protocol}: {report:#}");
        assert_eq!(number(&report, "/totals/reconnects"), 0.0, "{report:#}");
        // Quick traders alone have a dozen places and leave every two minutes.
        assert!(sum(&report, "ended") > 60.0, "{report:#}");
        assert!(sum(&report, "resumed") > 20.0 && sum(&report, "anew") > 0.0, "{report:#}");
        assert!(number(&report, "/simulation/crowd/caughtUp") > 20.0, "{report:#}");
        let opened = number(&report, "/totals/opened");
        assert!(opened > 100.0 && opened <= sum(&report, "sessions"), "{report:#}");
        let peak = number(&report, "/peak");
        assert!((50.0..=60.0).contains(&peak), "{report:#}");
        let html = std::fs::read_to_string(html)?;
        assert!(html.contains("<h2>Traders</h2>") && html.contains("quick traders"), "{html}");
    }
    Ok(())
}

#[tokio::test]
async fn protocols_without_a_cursor_begin_anew_and_miss_nothing_that_they_were_there_for()
-> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let ended = simulate(&format!(
        "{} --protocol odin --profile custom -c 30 --duration 10m --speed 240 --ramp 0s --publish {} --rate 50 \
         --channel S{{}} --subject p.{{channel}} --json -",
        gateway.url(),
        nats.url()
    ))
    .await?;
    let report = ended.report()?;
    assert_eq!(harm(&report), none(), "{report:#}");
    assert!(sum(&report, "resumed") == 0.0 && sum(&report, "anew") > 0.0, "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_warns_is_left_by_some_of_its_traders() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let warns = json!({
        "status": "degraded", "healthy": true, "warnings": ["cpu at 97 %: add pods"], "errors": [],
    });
    let health = health(&page(&warns)).await?;
    let ended = simulate(&format!(
        "{} -c 40 --speed 30 --ramp 0s --duration 4m --health http://{health}/health --json -",
        gateway.url()
    ))
    .await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.report()?;
    assert_eq!(harm(&report), none(), "{report:#}");
    let simulation = &report["simulation"];
    assert!(number(simulation, "/backOffs") >= 1.0, "{report:#}");
    assert!(number(simulation, "/lowestPercent") <= 80.0, "{report:#}");
    assert!(sum(&report, "sentAway") >= 5.0, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("warned (cpu at N %: add pods)"), "{notes}");
    Ok(())
}

#[tokio::test]
async fn health_that_refuses_hangs_or_lies_is_said_before_the_run() -> Result<()> {
    let other = page(&json!({ "hello": "world" }));
    let sick =
        json!({ "status": "unhealthy", "healthy": false, "errors": ["draining: about to stop"] });
    for (answer, expected) in [
        ("", "no answer within 2s"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "it answers 404"),
        ("SSH-2.0-other\r\n", "not HTTP"),
        (other.as_str(), "not the health of a gateway"),
        (page(&sick).as_str(), "it is unhealthy: draining"),
    ] {
        let address = health(answer).await?;
        let ended = simulate(&format!("ws://{address}/ws --json -")).await?;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.stderr.contains(expected) && ended.stderr.contains("--no-health"),
            "{ended:?}"
        );
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
    let refused = simulate("ws://127.0.0.1:1/ws").await?;
    assert!(refused.stderr.contains("Connection refused"), "{refused:?}");
    let without = simulate("ws://127.0.0.1:1/ws --no-health --speed 60 --duration 2m").await?;
    assert!(without.stderr.contains("no connection was opened: Connection refused"), "{without:?}");
    Ok(())
}

#[tokio::test]
async fn what_makes_no_market_is_refused() -> Result<()> {
    for (arguments, expected) in [
        ("-c 0", "0 is not in 1"),
        ("--speed 0", "from 1 to 1440"),
        ("--profile custom", "needs --connections and --duration"),
        ("--speed 1000", "must take from 1s to 7 days"),
        ("--duration 1m --ramp 1h", "longer than"),
        ("--start noon", "such as 13:00"),
        ("--health http://a --health http://b", "2 --health and 1 targets"),
    ] {
        let ended = simulate(&format!("ws://127.0.0.1:1/ws {arguments}")).await?;
        assert!(matches!(ended.code, Some(1 | 2)), "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments}: {ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_a_simulation_with_its_report() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let url = gateway.url();
    let mut run =
        Running::of("simulate", &format!("{url} -c 20 --ramp 0s --profile long --json -"))?;
    run.says(" 20 clients").await?;
    run.interrupt().await?;
    let report = run.ended().await?.report()?;
    assert_eq!((&report["end"], number(&report, "/peak")), (&json!("interrupted"), 20.0));
    assert_eq!(number(&report, "/simulation/market/speed"), 1.0);
    let page = load(&format!("{url} -c 1 --ramp 0s --duration 1s --json -")).await?.report()?;
    page.get("simulation").is_none().then_some(()).context("a load is no simulation")
}
