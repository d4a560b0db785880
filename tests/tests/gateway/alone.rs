//! The program without an operator: what is missing is said at once, with what to do, and no secret is.

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use harness::{Nats, Scratch};
use serde_json::Value;

use super::http::get;
use super::process::{Process, output};
use super::rig::{STREAM, config, ready, stream_config};

/// What the source says of itself in the log and on the status page.
async fn told(gateway: &mut Process) -> Result<String> {
    let logged = gateway.logged("source").await?;
    let logged = logged["error"].as_str().context("no error")?.to_owned();
    let status: Value = get(gateway.admin_addr, "/status").await?.json()?;
    assert_eq!(status["source"]["error"].as_str(), Some(logged.as_str()));
    Ok(logged)
}

#[tokio::test]
async fn a_gateway_without_nats_and_without_a_stream_says_what_is_missing_and_who_creates_it()
-> Result<()> {
    let nowhere = format!("nats://127.0.0.1:{}", harness::free_port()?);
    let mut gateway = Process::start(&config(&nowhere)).await?;
    let error = told(&mut gateway).await?;
    for text in [nowhere.as_str(), "nats-server -js", "source.jetStream.servers"] {
        assert!(error.contains(text), "{text}: {error}");
    }

    let nats = Nats::start().await?;
    let mut gateway = Process::start(&config(&nats.url())).await?;
    let error = told(&mut gateway).await?;
    let (missing, command) =
        (format!("the stream {STREAM} does not exist"), format!("nats stream add {STREAM} "));
    for text in [missing.as_str(), "an operator creates it", &command] {
        assert!(error.contains(text), "{text}: {error}");
    }
    jetstream::new(nats.client().await?).create_stream(stream_config()).await?;
    ready(gateway.admin_addr).await
}

#[tokio::test]
async fn a_password_in_an_address_ends_the_program_and_is_in_no_line_of_its_log() -> Result<()> {
    let scratch = Scratch::new("alone")?;
    for source in [
        "jetStream: { servers: ['nats://n', 'nats://me:s3cret@n:4222'], stream: S }",
        "jetStream: { servers: 'nats://me:s3cret@n:4222', stream: S }",
        "redis: { servers: ['redis://me:s3cret@n'], channels: [a] }",
    ] {
        let file = scratch.write("gateway.yaml", format!("name: a\nsource: {{ {source} }}\n"))?;
        let ended = output(&["--config", &file.display().to_string()]).await?;
        let text = String::from_utf8([ended.stdout, ended.stderr].concat())?;
        assert!(!ended.status.success() && text.contains(".servers"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    Ok(())
}
