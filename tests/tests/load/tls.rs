//! TLS on the way to the gateway.

use anyhow::Result;
use harness::{Authority, Scratch};
use serde_json::json;

use super::rig::{Gateway, load, nats, number};

#[tokio::test]
async fn clients_of_a_gateway_with_tls_lose_nothing_and_know_its_authority() -> Result<()> {
    let (nats, authority) = (nats().await?, Authority::new("load")?);
    let gateway = Gateway::start_with_tls(&nats, &authority).await?;
    let scratch = Scratch::new("load-tls")?;
    let ca = scratch.write("ca.pem", authority.pem())?;
    let url = gateway.url().replace("ws://", "wss://");
    for (protocol, url, more) in [
        ("v1", url.clone(), "--processes 2"),
        ("sse", url.replace("/ws", "/sse"), ""),
        ("poll", url.replace("/ws", "/poll"), ""),
        // Larger than a record of TLS.
        ("odin", url, "--payload 40000"),
    ] {
        let ended = load(&format!(
            "{url} --ca {} --protocol {protocol} -c 30 --ramp 0s --duration 2s --publish {} --subject p.{{channel}} {more} --json -",
            ca.display(),
            nats.url()
        ))
        .await?;
        let report = ended.report()?;
        let totals = &report["totals"];
        let harm = json!([totals["lost"], totals["twice"], totals["outOfOrder"], totals["errors"]]);
        assert_eq!(harm, json!([0, 0, 0, {}]), "{protocol}: {report:#}");
        assert_eq!(number(&report, "/peak"), 30.0, "{protocol}: {report:#}");
        assert!(number(&report, "/totals/ours") > 300.0, "{protocol}: {report:#}");
        assert!(report["setting"]["targets"][0].as_str().unwrap_or("").starts_with("wss://"));
        assert!(!ended.stderr.contains("WARNING"), "{ended:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused_unless_asked_otherwise_and_then_loudly()
-> Result<()> {
    let (nats, authority) = (nats().await?, Authority::new("load")?);
    let gateway = Gateway::start_with_tls(&nats, &authority).await?;
    let url = gateway.url().replace("ws://", "wss://");
    let run = format!("{url} -c 10 --ramp 0s --duration 1s --no-reconnect --json -");

    let ended = load(&run).await?;
    assert_eq!(ended.report()?["totals"]["errors"]["TLS failed"], 10, "{ended:?}");
    assert!(ended.stderr.contains("UnknownIssuer"), "{ended:?}");
    assert_eq!(ended.code, Some(1));

    let ended = load(&format!("{run} --insecure")).await?;
    let report = ended.report()?;
    assert_eq!((number(&report, "/peak"), ended.code), (10.0, Some(0)), "{report:#}");
    assert!(ended.stderr.starts_with("WARNING: certificates are not checked"), "{ended:?}");
    assert!(report["notes"].to_string().contains("certificates were not checked"), "{report:#}");
    Ok(())
}

#[tokio::test]
async fn a_target_without_tls_is_counted_as_a_failure_of_tls() -> Result<()> {
    let nats = nats().await?;
    let gateway = Gateway::start(&nats).await?;
    let url = gateway.url().replace("ws://", "wss://");
    let ended =
        load(&format!("{url} --insecure -c 5 --ramp 0s --duration 1s --no-reconnect --json -"))
            .await?;
    assert_eq!(ended.report()?["totals"]["errors"]["TLS failed"], 5, "{ended:?}");
    Ok(())
}
