//! Other implementations as clients of the echo server. Each runs a list of cases of its own and says which were good.

use anyhow::{Result, ensure};

use super::peers::Peer;
use super::servers;

/// Runs all cases of a program, at least as many as stated.
async fn all_good(peer: Peer, least: usize) -> Result<()> {
    let server = servers::echo()?;
    let url = format!("ws://{}/", server.client_addr);
    let lines = peer.start("echo", &[&url])?.finish().await?;
    let good = lines.iter().filter(|line| line.starts_with("ok ")).count();
    ensure!(good == lines.len() && good >= least, "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn node_ws_gets_back_what_it_sent_compressed_or_not_in_fragments_or_whole() -> Result<()> {
    all_good(Peer::Node, 15).await
}

#[tokio::test]
async fn python_websockets_gets_back_what_it_sent_compressed_or_not_in_fragments_or_whole()
-> Result<()> {
    all_good(Peer::Python, 14).await
}
