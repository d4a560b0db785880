//! An echo server on the data plane of the gateway, so that a conformance suite tests what clients will meet.
//!
//! Same sockets, shards, codec and outboxes; instead of commands, every message goes back as it came.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use wsgateway_config::{CommandRate, GatewayConfig, Heartbeat, MemorySource, Millis, Source};
use wsgateway_proto::frame::Opcode;

use crate::app::{self, Options, Running, StartError};
use crate::http;
use crate::hub::shard::Settings;
use crate::hub::shard::handler::Handler;
use crate::hub::shard::input::Message;
use crate::hub::shard::live::Live;
use crate::hub::shard::session::Sessions;
use crate::reload::Given;
use crate::resources::cgroup;

/// Largest message, either way: what the longest tests of the suites send.
pub const MESSAGE_BYTES: u32 = 16 << 20;

/// Most fragments of one message: suites send 4 MiB in fragments of 64 bytes, and an empty one behind the 65,536th.
pub const FRAGMENTS: u32 = 2 * 65_536;

/// Starts an echo server at an address (port 0: any free one), on every path.
///
/// # Errors
/// As [`app::start`].
pub fn start(address: SocketAddr) -> Result<Running, StartError> {
    let mut config = GatewayConfig::new("echo", Source::Memory(MemorySource {}));
    (config.listener.address, config.listener.port) = (address.ip(), address.port());
    (config.admin.address, config.admin.port) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    config.capacity.command_bytes = MESSAGE_BYTES;
    // Suites send many messages before they read an answer.
    config.capacity.outbox_bytes_per_connection = 8 * MESSAGE_BYTES;
    config.capacity.outbox_bytes_total = 32 * u64::from(MESSAGE_BYTES);
    config.command_rate = CommandRate { per_second: 1_000_000, burst: 1_000_000 };
    // A ping in the middle of a test would be a frame that the suite did not ask for.
    config.heartbeat =
        Heartbeat { interval: Millis::from_secs(3_600), timeout: Millis::from_secs(60) };
    config.drain.window = Millis(0);
    app::start_with(
        Given::of(config)?,
        Options::default(),
        Path::new(cgroup::ROOT),
        adapt,
        http::endpoint_only,
    )
}

fn adapt(mut settings: Settings) -> (Settings, &'static dyn Handler) {
    settings.input.decoder.fragments = FRAGMENTS;
    settings.clients.message_timeout = None;
    settings.clients.unfinished_bytes = usize::MAX;
    (settings, &Echo)
}

/// Sends every message back.
#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn opened(&self, _: &mut Sessions, live: &mut Live, conn: u32, response: &[u8]) {
        live.clients.send_bytes(conn, response);
    }

    fn message(&self, _: &mut Sessions, live: &mut Live, conn: u32, message: Message<'_>) {
        let (opcode, bytes) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        };
        live.clients.send_message(conn, opcode, bytes);
    }
}
