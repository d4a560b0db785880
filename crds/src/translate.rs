//! From a checked WsGateway to what the gateway and NATS are told.

use wsgateway_config::{
    Admin, Capacity, Channels, GatewayConfig, JetStreamSource, Listener, Source, StreamConfig,
};

use crate::{ADMIN_PORT, ValidCredentials, ValidGateway, ValidTls};

/// The configuration file of a gateway.
pub fn gateway_config(gateway: &ValidGateway) -> GatewayConfig {
    let source = JetStreamSource {
        auth: gateway.credentials.as_ref().map(ValidCredentials::in_a_pod),
        tls: gateway.tls.as_ref().map(ValidTls::in_a_pod),
        ..JetStreamSource::new(gateway.servers.clone(), &gateway.stream.name)
    };
    let name = format!("{}/{}", gateway.namespace, gateway.name);
    let limits = &gateway.limits;
    GatewayConfig {
        channels: Channels {
            strip_prefix: gateway.strip_prefix.clone(),
            rules: gateway.rules.clone(),
        },
        listener: Listener {
            port: gateway.port,
            path: gateway.path.clone(),
            protocols: gateway.protocols.served.clone(),
            default_protocol: gateway.protocols.default,
            compression: limits.compression,
            event_source: limits.event_source,
            long_poll: limits.long_poll,
            ..Listener::default()
        },
        odin: gateway.protocols.odin.clone(),
        symbols: gateway.protocols.symbols.clone(),
        admin: Admin { port: ADMIN_PORT, ..Admin::default() },
        heartbeat: limits.heartbeat.clone(),
        capacity: Capacity {
            connections: gateway.derived.connections,
            subscriptions_per_connection: limits.subscriptions,
            outbox_bytes_per_connection: limits.outbox_bytes,
            outbox_bytes_total: gateway.derived.outbox_bytes,
            command_bytes: limits.command_bytes,
            ..Capacity::default()
        },
        command_rate: limits.command_rate.clone(),
        slow_consumer: limits.slow_consumer.clone(),
        history: limits.history.clone(),
        ..GatewayConfig::new(name, Source::JetStream(source))
    }
}

/// The stream that feeds it.
pub fn stream_config(gateway: &ValidGateway) -> StreamConfig {
    gateway.stream.clone()
}
