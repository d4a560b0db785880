//! An echo server on the gateway's data plane, for conformance suites.
//!
//! `cargo run --release -p gateway --example echo -- --port 9001`, then point a suite at `ws://127.0.0.1:9001/`.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Parser;
use wsgateway_runtime::{logs, shutdown};

/// Sends every WebSocket message back as it came: text and binary, messages up to 16 MiB in up to 131,072 fragments,
/// compressed if the client offers permessage-deflate.
#[derive(Debug, Parser)]
struct Arguments {
    /// Port to listen on; 0 picks a free one, which is logged
    #[arg(long, default_value_t = 9001)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    logs::init("gateway");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = runtime.block_on(async { shutdown::watch() })?;
    let running = gateway::echo::start(SocketAddr::new(arguments.address, arguments.port))?;
    runtime.block_on(stop.cancelled());
    running.shutdown();
    Ok(())
}
