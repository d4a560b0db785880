//! From a checked WsGateway to what the gateway and NATS are told.

use wsgateway_config::{
    Admin, Capacity, Channels, GatewayConfig, JetStreamSource, Listener, Source, StreamConfig,
};

use crate::{ADMIN_PORT, ValidGateway};

/// The configuration file of a gateway.
pub fn gateway_config(gateway: &ValidGateway) -> GatewayConfig {
    let source =
        JetStreamSource { servers: gateway.servers.clone(), stream: gateway.stream.name.clone() };
    let name = format!("{}/{}", gateway.namespace, gateway.name);
    GatewayConfig {
        channels: Channels { strip_prefix: gateway.strip_prefix.clone(), ..Channels::default() },
        listener: Listener {
            port: gateway.port,
            path: gateway.path.clone(),
            ..Listener::default()
        },
        admin: Admin { port: ADMIN_PORT, ..Admin::default() },
        capacity: Capacity {
            connections: gateway.derived.connections,
            outbox_bytes_total: gateway.derived.outbox_bytes,
            ..Capacity::default()
        },
        ..GatewayConfig::new(name, Source::JetStream(source))
    }
}

/// The stream that feeds it.
pub fn stream_config(gateway: &ValidGateway) -> StreamConfig {
    gateway.stream.clone()
}
