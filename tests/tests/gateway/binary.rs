//! The program itself: arguments, exit codes, signals.

use anyhow::Result;
use harness::{Scratch, wait_until};
use wsgateway_config::Millis;

use super::client::Client;
use super::http::get;
use super::process::{Process, output};
use super::rig::{SOON, config, nats_with_stream, publish_all, ready};

#[tokio::test]
async fn sigterm_drains_and_ends_with_code_0() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut gateway = Process::start(&config(&nats.url())).await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["a"]).await?;
    publish_all(&jetstream, [("a".to_owned(), b"1".to_vec())]).await?;
    client.expect("message").await?;

    gateway.signal("TERM").await?;
    let (pushes, code) = client.until_closed().await?;
    assert_eq!((code, pushes[0]["type"].as_str()), (1012, Some("reconnect")));
    assert_eq!(gateway.logged("stopped").await?["level"], "INFO");
    assert_eq!(gateway.exit_code().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_program_at_once() -> Result<()> {
    let (nats, _) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    // Longer than any test waits.
    config.drain.window = Millis(3_600_000);
    let mut gateway = Process::start(&config).await?;
    ready(gateway.admin_addr).await?;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(gateway.client_addr).await?);
    }
    gateway.signal("INT").await?;
    wait_until(SOON, "an unready gateway", async || {
        get(gateway.admin_addr, "/readyz").await.is_ok_and(|answer| answer.status == 503)
    })
    .await?;
    gateway.signal("TERM").await?;
    assert_eq!(gateway.exit_code().await?, Some(130));
    Ok(())
}

#[tokio::test]
async fn sigterm_before_nats_was_ever_there_ends_with_code_0() -> Result<()> {
    let mut gateway = Process::start(&config("nats://127.0.0.1:1")).await?;
    assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);
    gateway.signal("TERM").await?;
    assert_eq!(gateway.exit_code().await?, Some(0));
    Ok(())
}

/// Runs the program with a configuration that it must refuse; returns what it says.
async fn refused(text: &str) -> Result<String> {
    let scratch = Scratch::new("refused")?;
    let file = scratch.write("gateway.yaml", text)?;
    let ended = output(&["--config", &file.display().to_string()]).await?;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    Ok(String::from_utf8(ended.stderr)?)
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_code_1_and_the_path_of_the_field() -> Result<()> {
    let good = "name: a\nsource: { jetStream: { servers: ['nats://n:4222'], stream: S } }\n";
    for (more, path) in [
        ("capacity: { connections: 0 }", "capacity.connections"),
        ("history: { messages: 0 }", "history.messages"),
        ("listener: { port: 70000 }", "listener.port"),
        ("heartbeat: { interval: fast }", "heartbeat.interval"),
    ] {
        let said = refused(&format!("{good}{more}\n")).await?;
        assert!(said.contains(path), "{path} is not in {said}");
    }
    assert!(refused("name: [").await?.contains("gateway.yaml"));
    Ok(())
}

#[tokio::test]
async fn a_missing_file_and_a_taken_port_are_named() -> Result<()> {
    let missing = output(&["--config", "/nowhere/gateway.yaml"]).await?;
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr)?.contains("/nowhere/gateway.yaml"));

    let taken = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let _holder = std::net::TcpListener::bind(taken)?;
    let scratch = Scratch::new("taken")?;
    let file = scratch.write("gateway.yaml", config("nats://127.0.0.1:1").render()?)?;
    for option in ["--listen", "--admin"] {
        let file = file.display().to_string();
        let ended = output(&["--config", &file, option, &taken.to_string()]).await?;
        assert_eq!(ended.status.code(), Some(1));
        let said = String::from_utf8(ended.stderr)?;
        assert!(said.contains(&taken.to_string()), "{taken} is not in {said}");
    }
    Ok(())
}

#[tokio::test]
async fn help_names_every_option_and_a_wrong_one_is_refused_with_code_2() -> Result<()> {
    let help = output(&["--help"]).await?;
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout)?;
    for word in ["--config", "--listen", "--admin", "WSGATEWAY_LOG_FORMAT", "RUST_LOG"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert_eq!(output(&["--confg", "x"]).await?.status.code(), Some(2));
    assert_eq!(output(&[]).await?.status.code(), Some(2));
    Ok(())
}
