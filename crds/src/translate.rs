//! From a checked WsGateway to what the gateway and NATS are told.

use wsgateway_config::{
    Admin, Capacity, Channels, Drain, GatewayConfig, JetStreamSource, Listener, RedisSource, Source,
};

use crate::{
    ADMIN_PORT, ValidCredentials, ValidGateway, ValidListenerTls, ValidNats, ValidRedis,
    ValidSource, ValidTls,
};

/// The configuration file of a gateway.
pub fn gateway_config(gateway: &ValidGateway) -> GatewayConfig {
    let source = match &gateway.source {
        ValidSource::Nats(nats) => Source::JetStream(jetstream(nats)),
        ValidSource::Redis(valid) => Source::Redis(redis(valid)),
    };
    let name = format!("{}/{}", gateway.namespace, gateway.name);
    let limits = &gateway.limits;
    let mut config = GatewayConfig {
        channels: Channels {
            strip_prefix: gateway.strip_prefix.clone(),
            rules: gateway.rules.clone(),
        },
        listener: listener(gateway),
        odin: gateway.protocols.odin.clone(),
        symbols: gateway.protocols.symbols.clone(),
        auth: gateway.auth.as_ref().map(|auth| auth.config.clone()),
        disconnects: gateway.disconnects.clone(),
        admin: Admin { port: ADMIN_PORT, ..Admin::default() },
        heartbeat: limits.heartbeat.clone(),
        capacity: capacity(gateway),
        accepts: limits.entry.accepts.clone(),
        command_rate: limits.command_rate.clone(),
        source_rate: limits.source_rate,
        slow_consumer: limits.slow_consumer.clone(),
        history: limits.history.clone(),
        drain: Drain {
            window: gateway.rollout.drain,
            connections_per_minute: gateway.rollout.connections_per_minute,
        },
        log: gateway.log,
        tracing: gateway.tracing.clone(),
        ..GatewayConfig::new(name, source)
    };
    // Written out, so that the configuration shows which channels symbols are.
    config.symbols.template = Some(config.symbols_template());
    config
}

/// The port of clients.
fn listener(gateway: &ValidGateway) -> Listener {
    let limits = &gateway.limits;
    let entry = &limits.entry;
    Listener {
        port: gateway.port,
        path: gateway.path.clone(),
        protocols: gateway.protocols.served.clone(),
        default_protocol: gateway.protocols.default,
        compression: limits.compression,
        event_source: limits.event_source,
        long_poll: limits.long_poll,
        keep_alive: limits.keep_alive,
        status_pages: limits.status_pages,
        allowed_origins: entry.allowed_origins.clone(),
        allowed_hosts: entry.allowed_hosts.clone(),
        trusted_proxies: entry.trusted_proxies.clone(),
        forwarded_header: entry.forwarded_header,
        proxy_protocol: entry.proxy_protocol,
        tls: gateway.tls.as_ref().map(ValidListenerTls::in_a_pod),
        ..Listener::default()
    }
}

/// The limits of a pod.
fn capacity(gateway: &ValidGateway) -> Capacity {
    let limits = &gateway.limits;
    let [reject_cpu, pause_cpu, reject_memory] = limits.guards;
    Capacity {
        connections: gateway.derived.connections,
        fallback_connections: gateway.derived.fallbacks,
        connections_per_user: limits.connections_per_user,
        above_connections_per_user: limits.above_connections_per_user,
        subscriptions_per_connection: limits.subscriptions,
        outbox_bytes_per_connection: limits.outbox_bytes,
        outbox_bytes_total: gateway.derived.outbox_bytes,
        command_bytes: limits.command_bytes,
        reject_above_cpu_percent: reject_cpu,
        pause_above_cpu_percent: pause_cpu,
        reject_above_memory_percent: reject_memory,
        ..Capacity::default()
    }
}

fn jetstream(nats: &ValidNats) -> JetStreamSource {
    let usual = JetStreamSource::new(nats.servers.clone(), &nats.stream.name);
    JetStreamSource {
        auth: nats.credentials.as_ref().map(ValidCredentials::in_a_pod),
        tls: nats.tls.as_ref().map(ValidTls::in_a_pod),
        api_prefix: nats.api_prefix.clone().unwrap_or(usual.api_prefix),
        inbox_prefix: nats.inbox_prefix.clone().unwrap_or(usual.inbox_prefix),
        servers: usual.servers,
        stream: usual.stream,
    }
}

fn redis(redis: &ValidRedis) -> RedisSource {
    RedisSource {
        username: redis.username.clone(),
        password_file: redis.password_file(),
        ca_file: redis.ca_file(),
        max_message_bytes: redis.max_message_bytes,
        ..RedisSource::new(redis.servers.clone(), redis.channels.clone())
    }
}
