//! Our client role with servers of other implementations: the blocking client, and the swarm, which compresses.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use wsgateway_client::client::{Client, ClientOptions, Received};
use wsgateway_client::swarm::{Dialect, Heard};
use wsgateway_client::{Swarm, SwarmOptions};
use wsgateway_proto::frame::Opcode;

use super::peers::{Peer, SOON};
use super::servers::Theirs;
use super::wire::{noise, wordy};

const CONNECTIONS: usize = 8;
const LENGTHS: [usize; 12] =
    [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 1 << 20, 200_000, 3_000, 10];

fn client(address: SocketAddr, path: &str) -> Result<Client> {
    Ok(Client::connect(address, &ClientOptions { path: path.to_owned(), ..Default::default() })?)
}

fn text(length: usize) -> String {
    String::from_utf8_lossy(&wordy(length)).into_owned()
}

/// Plain messages of every length form, whole and in fragments with pings between them.
fn lengths(address: SocketAddr) -> Result<()> {
    for path in ["/", "/fragments"] {
        let mut client = client(address, path)?;
        for length in LENGTHS {
            let message = text(length);
            client.send_text(&message)?;
            ensure!(client.next_text(SOON)? == message, "{path}, text of {length}");
            client.send_frame(Opcode::Binary, &noise(length))?;
            let back = loop {
                match client.next_event(SOON)? {
                    Received::Ping(_) => {}
                    other => break other,
                }
            };
            ensure!(back == Received::Binary(noise(length)), "{path}, binary of {length}");
        }
        client.send_frame(Opcode::Ping, b"are you there")?;
        let pong = Received::Pong(b"are you there".to_vec());
        ensure!(client.next_event(SOON)? == pong, "{path}: no pong");
        let end = client.close(1000, SOON)?;
        ensure!(end.0 == 1000, "{path}: {end:?}");
    }
    Ok(())
}

/// Close codes and reasons in both directions.
fn endings(address: SocketAddr) -> Result<()> {
    for code in [1000, 1001, 1008, 1011, 1012, 3000, 4000, 4999] {
        let end = client(address, "/")?.close(code, SOON)?;
        ensure!(end.0 == code, "{end:?} instead of {code}");
        let mut told = client(address, &format!("/close/{code}/because%20%C3%A9"))?;
        told.send_text("go")?;
        let end = told.wait_closed(SOON)?;
        ensure!(end == (code, "because é".to_owned()), "{end:?} from the server, {code}");
    }
    let mut big = client(address, "/big")?;
    big.send_text(&text(1_001))?;
    let end = big.wait_closed(SOON)?;
    ensure!(end.0 == 1009, "{end:?} instead of 1009");
    let mut broken = client(address, "/")?;
    broken.send_frame(Opcode::Text, b"a\xff")?;
    let end = broken.wait_closed(SOON)?;
    ensure!(end.0 == 1007, "{end:?} instead of 1007");
    Ok(())
}

/// Keeps what each connection hears; the connections are told apart by what they say.
struct Ear(Arc<Mutex<Vec<Vec<u8>>>>);

impl Dialect for Ear {
    fn acknowledgements(&self) -> u64 {
        0
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        heard.delivery(bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.to_vec());
        bytes.len()
    }
}

/// Compressed messages on many connections at once: each message comes back once, as it was.
fn compressed(address: SocketAddr, path: &str) -> Result<()> {
    let said = |connection: usize, length: usize| format!("{connection} says {}", text(length));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let options = SwarmOptions {
        connections: CONNECTIONS,
        path: path.to_owned(),
        deflate: true,
        dialect: Some(Box::new(Ear(Arc::clone(&heard)))),
        commands: Box::new(move |connection| LENGTHS.map(|length| said(connection, length)).into()),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(address, options)?;
    let all = (CONNECTIONS * LENGTHS.len()) as u64;
    swarm.run_until(|counters| counters.messages == all || counters.closed() > 0, SOON)?;
    let counters = swarm.counters().clone();
    ensure!(counters.messages == all, "{path}: {counters}, {:?}", swarm.last_error());
    ensure!(counters.deflated * 2 > all, "{path}: only {} came compressed", counters.deflated);
    ensure!(counters.violations == 0, "{path}: {counters}, {:?}", swarm.last_error());
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut expected: Vec<Vec<u8>> = (0..CONNECTIONS)
        .flat_map(|connection| LENGTHS.map(|length| said(connection, length).into_bytes()))
        .collect();
    heard.sort();
    expected.sort();
    ensure!(heard == expected, "{path}: a message is not what was said");
    swarm.close_all(1000);
    swarm.run_until(|counters| counters.closed() == CONNECTIONS as u64, SOON)?;
    ensure!(swarm.counters().closes.get(&1000) == Some(&(CONNECTIONS as u64)), "{path}: closes");
    Ok(())
}

async fn everything(peer: Peer) -> Result<()> {
    let server = Theirs::start(peer).await?;
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        lengths(address)?;
        endings(address)?;
        ["/", "/window", "/fragments"].into_iter().try_for_each(|path| compressed(address, path))
    })
    .await?
}

#[tokio::test]
async fn our_clients_and_a_node_ws_server_understand_one_another() -> Result<()> {
    everything(Peer::Node).await
}

#[tokio::test]
async fn our_clients_and_a_python_websockets_server_understand_one_another() -> Result<()> {
    everything(Peer::Python).await
}
