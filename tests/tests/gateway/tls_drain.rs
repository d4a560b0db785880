//! A gateway with TLS that stops: its clients go on at another one and miss nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsgateway_config::Millis;

use super::client::{Client, essence};
use super::resume::{END, numbered, resume};
use super::rig::{Rig, SOON, config, publish_all, ready, start};
use super::tunnel::Secured;

const CLIENTS: usize = 20;
const MESSAGES: u64 = 2_000;

/// Offsets of what comes until the end marker or the end of the connection, whose close code is returned.
async fn read(client: &mut Client, got: &mut Vec<u64>) -> Result<Option<u16>> {
    loop {
        let push: Value = client.next().await?;
        match push["type"].as_str() {
            Some("message") if push["channel"] == END => return Ok(None),
            Some("message") => got.push(essence(&push).0),
            Some("reconnect") => {
                let (more, code) = client.until_closed().await?;
                ensure!(more.is_empty(), "{more:?} behind the advice");
                return Ok(Some(code));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn clients_of_a_gateway_that_stops_go_on_over_tls_without_a_loss() -> Result<()> {
    let secured = Secured::new()?;
    let mut rig = Rig::start_with(|config| {
        secured.listen(config);
        config.drain.window = Millis(500);
    })
    .await?;
    let mut other = config(&rig.nats.url());
    secured.listen(&mut other);
    let other = start(other)?;
    ready(other.admin_addr).await?;
    let from = secured.tunnel(rig.client_addr).await?;
    let to = secured.tunnel(other.client_addr).await?;

    let mut readers = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(from).await?;
        client.subscribe(&[">"]).await?;
        readers.spawn(async move {
            let mut got = Vec::new();
            let code = read(&mut client, &mut got).await?;
            ensure!(code == Some(1012), "{code:?}");
            let mut client = Client::connect(to).await?;
            let cursor = got.last().copied().context("nothing came before the drain")?;
            let ack = resume(&mut client, &[">"], cursor).await?;
            ensure!(ack["recovered"] == json!(true), "{ack}");
            ensure!(read(&mut client, &mut got).await?.is_none());
            anyhow::Ok(got)
        });
    }
    publish_all(&rig.jetstream, numbered(MESSAGES / 2)).await?;
    rig.has_read(MESSAGES / 2).await?;
    let jetstream = rig.jetstream.clone();
    let publisher =
        tokio::spawn(async move { publish_all(&jetstream, numbered(MESSAGES / 2)).await });
    let gateway = rig.take_gateway()?;
    let stopped = tokio::task::spawn_blocking(move || gateway.shutdown());
    publisher.await??;
    timeout(SOON, stopped).await??;
    // Only now: whoever has seen the end is where it stays.
    publish_all(&rig.jetstream, [(END.to_owned(), b"0".to_vec())]).await?;
    while let Some(read) = timeout(SOON, readers.join_next()).await? {
        assert_eq!(read??, (1..=MESSAGES).collect::<Vec<_>>());
    }
    other.abort();
    Ok(())
}
