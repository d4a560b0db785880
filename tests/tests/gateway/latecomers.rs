//! Clients that come at the moment at which a gateway stops: refused, or told to go elsewhere, but never cut off.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::wait_until;
use wsgateway_config::{MemorySource, Source};

use super::http::upgrade_request;
use super::rig::{SOON, config, ready, start};

/// Gateways that are stopped.
const ROUNDS: usize = 25;
/// Clients that come one after the other, at the same time.
const CROWDS: usize = 4;
/// The close frame of a server, uncompressed, and its code.
const RESTART: [u8; 2] = 1_012_u16.to_be_bytes();

/// How a client fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nobody listened, or nobody answered: it tries another pod.
    NotAnswered,
    Refused,
    /// Admitted, and asked to go elsewhere.
    Dismissed,
    /// Admitted, and cut off.
    CutOff,
}

/// Comes, and stays until it is told to go.
fn visit(address: SocketAddr, request: &str) -> Result<Outcome> {
    let Ok(mut stream) = TcpStream::connect(address) else { return Ok(Outcome::NotAnswered) };
    stream.set_read_timeout(Some(SOON))?;
    let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
    if stream.write_all(request.as_bytes()).is_err() {
        return Ok(Outcome::NotAnswered);
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(error).context("neither a word nor an end");
            }
            Err(_) => break,
        }
        if seen.starts_with(b"HTTP/1.1 503") {
            return Ok(Outcome::Refused);
        }
        let has_close = |frame: &[u8]| frame[0] == 0x88 && frame[2..] == RESTART;
        if seen.windows(4).any(has_close) {
            return Ok(Outcome::Dismissed);
        }
    }
    let is_answered = seen.starts_with(b"HTTP/1.1 101");
    Ok(if is_answered { Outcome::CutOff } else { Outcome::NotAnswered })
}

/// Clients without a pause, until the gateway has stopped.
fn crowd(
    address: SocketAddr,
    request: String,
    (begun, stopped): (Arc<Barrier>, Arc<AtomicBool>),
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    begun.wait();
    while !stopped.load(Ordering::Relaxed) {
        outcomes.push(visit(address, &request)?);
    }
    Ok(outcomes)
}

async fn round(request: &str) -> Result<Vec<Outcome>> {
    let mut config = config("nats://127.0.0.1:1");
    config.source = Source::Memory(MemorySource::default());
    let gateway = start(config)?;
    let address = gateway.client_addr;
    ready(gateway.admin_addr).await?;
    wait_until(SOON, "an open door", async || TcpStream::connect(address).is_ok()).await?;
    let (begun, stopped) = (Arc::new(Barrier::new(CROWDS + 1)), Arc::new(AtomicBool::new(false)));
    let crowds: Vec<_> = (0..CROWDS)
        .map(|_| {
            let (request, shared) =
                (request.to_owned(), (Arc::clone(&begun), Arc::clone(&stopped)));
            tokio::task::spawn_blocking(move || crowd(address, request, shared))
        })
        .collect();
    let stop = tokio::task::spawn_blocking(move || {
        begun.wait();
        // At another moment of their handshakes each time.
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..1_000)));
        gateway.shutdown();
        stopped.store(true, Ordering::Relaxed);
    });
    let mut outcomes = Vec::new();
    for crowd in crowds {
        outcomes.extend(crowd.await??);
    }
    stop.await?;
    Ok(outcomes)
}

async fn nobody_is_cut_off(request: String) -> Result<()> {
    let mut outcomes = Vec::new();
    for _ in 0..ROUNDS {
        outcomes.extend(round(&request).await?);
    }
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    println!(
        "{} dismissed, {} refused, {} not answered",
        count(Outcome::Dismissed),
        count(Outcome::Refused),
        count(Outcome::NotAnswered)
    );
    assert_eq!(count(Outcome::CutOff), 0, "after a 101 and without a close frame");
    assert!(count(Outcome::Dismissed) > 0, "nobody was admitted: this tests nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_a_gateway_stops_is_refused_or_told_to_go_elsewhere() -> Result<()> {
    nobody_is_cut_off(upgrade_request("")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_who_comes_by_the_http_server() -> Result<()> {
    nobody_is_cut_off(upgrade_request("Content-Length: 0\r\n")).await
}
