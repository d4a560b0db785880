//! The servers of the suites: the echo server of the gateway's data plane, and those of other implementations.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use gateway::app::Running;

use super::peers::{Peer, Program};

/// Our echo server on a free port.
pub(super) fn echo() -> Result<Running> {
    Ok(gateway::echo::start(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?)
}

/// The echo servers of another implementation: one port, and paths that tell how to answer. They end with the value.
pub(super) struct Theirs {
    pub address: SocketAddr,
    _program: Program,
}

impl Theirs {
    pub(super) async fn start(peer: Peer) -> Result<Self> {
        let mut program = peer.start("server", &[])?;
        let line = program.line().await?;
        let port = line.strip_prefix("listening ").with_context(|| line.clone())?.parse()?;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Ok(Self { address, _program: program })
    }
}
