//! What the real program logs: documented lines, no secret, and no more because of many clients.

use anyhow::{Result, ensure};
use harness::{LogBook, Scratch, wait_until};

use super::http;
use super::process::Process;
use super::rig::{SOON, config, nats_with_stream, ready};

/// What clients send and nobody may read in a log.
const SECRET: &str = "hunter2";
const REFUSED: usize = 300;
/// At info: starting, serving, losing and finding NATS, stopping.
const MOST_LINES: usize = 30;

/// Clients that are refused: a handshake of another version, with a token wherever a client may have one.
async fn refuse_many(process: &Process, count: usize) -> Result<()> {
    let headers = format!("Authorization: Bearer {SECRET}\r\nCookie: session={SECRET}\r\n");
    let get = format!("GET /ws?token={SECRET}");
    for _ in 0..count {
        let request = http::upgrade_request(&headers).replace("GET /ws", &get);
        let request = request.replace("Connection: Upgrade", "Connection: Upgrade, close");
        let request = request.replace("Version: 13", "Version: 7");
        let answer = http::request(process.client_addr, &request).await?;
        ensure!(answer.status >= 400, "{answer:?}");
    }
    Ok(())
}

fn check(log: &str) -> Result<Vec<String>> {
    let book = LogBook::of("gateway")?;
    ensure!(!log.contains(SECRET), "a secret is in the log:\n{log}");
    log.lines().map(|line| book.check(line)).collect()
}

#[tokio::test]
async fn clients_that_are_refused_do_not_fill_the_log_and_every_line_is_documented() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut process = Process::start(&config(&nats.url())).await?;
    ready(process.admin_addr).await?;
    refuse_many(&process, REFUSED).await?;
    drop(nats);
    let lost = r#"wsgateway_source_state{state="live"} 0"#;
    wait_until(SOON, "a source without NATS", async || {
        let metrics = http::get(process.admin_addr, "/metrics").await;
        metrics.is_ok_and(|answer| answer.body.contains(lost))
    })
    .await?;
    let log = process.end_log().await?;
    let messages = check(&log)?;
    ensure!(messages.iter().any(|message| message == "source"), "the loss of NATS is not told");
    ensure!(messages.len() <= MOST_LINES, "{} lines:\n{log}", messages.len());
    Ok(())
}

#[tokio::test]
async fn lines_for_debugging_are_documented_and_have_no_secret_either() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let level = [("RUST_LOG", "info,gateway=debug,wsgateway_runtime=debug,wsgateway_nats=debug")];
    let mut process = Process::start_with(&config(&nats.url()), &level).await?;
    ready(process.admin_addr).await?;
    refuse_many(&process, 20).await?;
    let messages = check(&process.end_log().await?)?;
    ensure!(messages.iter().any(|message| message == "stopped"), "{messages:?}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_is_refused_is_one_documented_line() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let scratch = Scratch::new("logs")?;
    let file = scratch.write("gateway.yaml", config(&nats.url()).render()?)?;
    let least = "capacity: { connections: 7 }\nlog: { level: info }\n";
    let live = scratch.write("live.yaml", least)?;
    let mut process = Process::start_with_files(&file, Some(&live)).await?;
    ready(process.admin_addr).await?;
    std::fs::write(&live, "limits: [\n")?;
    wait_until(SOON, "a refusal", async || {
        let metrics = http::get(process.admin_addr, "/metrics").await;
        metrics.is_ok_and(|answer| answer.body.contains("\nwsgateway_config_refused 1\n"))
    })
    .await?;
    let messages = check(&process.end_log().await?)?;
    let refusals =
        messages.iter().filter(|message| message.starts_with("the configuration was refused"));
    assert_eq!(refusals.count(), 1, "{messages:?}");
    Ok(())
}
