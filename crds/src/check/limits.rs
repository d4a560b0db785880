//! Rules of what one client may take.

use wsgateway_config::{
    AboveLimit, CommandRate, Heartbeat, History, MAX_SOURCE_RATE, Millis, SlowConsumer, SourceRate,
};

use super::entry::entry;
use super::errors::Errors;
use crate::{ValidLimits, WsGatewaySpec, spec, units};

/// A message that is no JSON grows by a third, and must fit the half of an outbox from which a client counts as slow.
const MESSAGES_PER_OUTBOX: u64 = 3;
/// History of a pod, unless specified.
const HISTORY_BYTES: u32 = 64 << 20;

pub(super) fn limits(spec: &WsGatewaySpec, errors: &mut Errors) -> ValidLimits {
    let listener = &spec.listener;
    let rate = &spec.rate_limits.commands_per_connection;
    let grace = errors.duration_within(
        "spec.slowConsumer.grace",
        &spec.slow_consumer.grace,
        Millis(100)..=Millis::from_secs(60),
        "must be 100ms to 1m: without any a client is closed for one burst, and for longer breaks raise \
         capacity.outboxPerConnection",
    );
    ValidLimits {
        connections_per_user: connections_per_user(spec, errors),
        above_connections_per_user: match spec.capacity.above_connections_per_user {
            spec::AboveLimit::RejectNew => AboveLimit::RejectNew,
            spec::AboveLimit::CloseOldest => AboveLimit::CloseOldest,
        },
        subscriptions: errors.number(
            "spec.capacity.subscriptionsPerConnection",
            spec.capacity.subscriptions_per_connection,
            1..=10_000,
        ),
        outbox_bytes: outbox(spec, errors),
        command_bytes: errors.size_within(
            "spec.listener.maxCommandSize",
            &listener.max_command_size,
            1 << 10..=1 << 20,
            "must be 1Ki to 1Mi: clients send commands, not data; 64Ki holds a thousand channels",
        ),
        command_rate: CommandRate {
            per_second: errors.number(
                "spec.rateLimits.commandsPerConnection.perSecond",
                rate.per_second,
                1..=10_000,
            ),
            burst: errors.number(
                "spec.rateLimits.commandsPerConnection.burst",
                rate.burst,
                1..=100_000,
            ),
        },
        source_rate: source_rate(spec, errors),
        heartbeat: heartbeat(spec, errors),
        slow_consumer: SlowConsumer { grace },
        compression: listener.compression,
        event_source: listener.event_source,
        long_poll: listener.long_poll,
        keep_alive: errors.duration_within(
            "spec.listener.keepAlive",
            &listener.keep_alive,
            Millis::from_secs(1)..=Millis::from_secs(3_600),
            "must be 1s to 1h; 75s is above the idle timeout of most proxies",
        ),
        status_pages: listener.status_pages,
        fallbacks: fallbacks(spec, errors),
        guards: guards(spec, errors),
        history: history(spec, errors),
        entry: entry(spec, errors),
    }
}

fn connections_per_user(spec: &WsGatewaySpec, errors: &mut Errors) -> u32 {
    const PATH: &str = "spec.capacity.connectionsPerUser";
    let most = spec.capacity.connections_per_user;
    let message = "needs auth: without tokens nobody knows who a client is";
    errors.ensure(most == 0 || spec.auth.is_some(), PATH, message);
    errors.number(PATH, most, 0..=10_000)
}

/// How fast a pod takes messages from its stream.
fn source_rate(spec: &WsGatewaySpec, errors: &mut Errors) -> SourceRate {
    let limits = &spec.rate_limits;
    let [messages_per_second, deliveries_per_second] = [
        ("streamMessages", limits.stream_messages.per_second),
        ("deliveries", limits.deliveries.per_second),
    ]
    .map(|(field, rate)| {
        let path = format!("spec.rateLimits.{field}.perSecond");
        errors.ensure(
            rate == 0 || spec.redis.is_none(),
            &path,
            "is for JetStream: Redis keeps no messages, so that what waits would be lost; leave it out",
        );
        errors.number(&path, rate, 0..=i32::try_from(MAX_SOURCE_RATE).unwrap_or(i32::MAX))
    });
    SourceRate { messages_per_second, deliveries_per_second }
}

/// Event streams and long-polls of a pod, if they are given.
fn fallbacks(spec: &WsGatewaySpec, errors: &mut Errors) -> Option<u32> {
    const PATH: &str = "spec.capacity.fallbacksPerPod";
    let count = spec.capacity.fallbacks_per_pod?;
    errors.ensure(
        count <= spec.capacity.connections_per_pod,
        PATH,
        "must not exceed capacity.connectionsPerPod, of which it is a part: lower it, or raise connectionsPerPod",
    );
    Some(errors.number(PATH, count, 1..=1_000_000))
}

fn guards(spec: &WsGatewaySpec, errors: &mut Errors) -> [u32; 3] {
    let capacity = &spec.capacity;
    let (reject, pause) = (capacity.reject_above_cpu_percent, capacity.pause_above_cpu_percent);
    errors.ensure(
        pause == 0 || reject <= pause,
        "spec.capacity.rejectAboveCpuPercent",
        "must not exceed capacity.pauseAboveCpuPercent: new clients are refused before those who are connected wait; \
         lower it, or raise pauseAboveCpuPercent",
    );
    [
        ("rejectAboveCpuPercent", reject),
        ("pauseAboveCpuPercent", pause),
        ("rejectAboveMemoryPercent", capacity.reject_above_memory_percent),
    ]
    .map(|(field, percent)| errors.number(&format!("spec.capacity.{field}"), percent, 0..=100))
}

fn outbox(spec: &WsGatewaySpec, errors: &mut Errors) -> u32 {
    const PATH: &str = "spec.capacity.outboxPerConnection";
    let bytes = errors.size_within(
        PATH,
        &spec.capacity.outbox_per_connection,
        32 << 10..=256 << 20,
        "must be 32Ki to 256Mi: less is gone in one hiccup of a phone's network",
    );
    let (field, largest) = match (&spec.stream, &spec.redis) {
        (Some(stream), _) => ("stream.maxMessageSize", stream.max_message_size.as_str()),
        (None, Some(redis)) => ("redis.maxMessageSize", redis.max_message_size.as_str()),
        (None, None) => return bytes,
    };
    // What is wrong with that size is told where it stands.
    let least = units::size(largest).unwrap_or_default().saturating_mul(MESSAGES_PER_OUTBOX);
    if bytes > 0 && u64::from(bytes) < least {
        errors.refuse(
            PATH,
            format!(
                "must be at least {least}, three times {field}, or two large messages in a row could close a client \
                 that reads well: raise it (a pod's memory follows, for a tenth of its connections) or lower {field}"
            ),
        );
    }
    bytes
}

fn history(spec: &WsGatewaySpec, errors: &mut Errors) -> History {
    let history = &spec.history;
    let bytes = history.bytes.as_deref().map_or(HISTORY_BYTES, |text| {
        errors.size_within(
            "spec.history.bytes",
            text,
            1 << 20..=2 << 30,
            "must be 1Mi to 2Gi: what is older is looked up in the stream",
        )
    });
    History {
        messages: errors.number("spec.history.messages", history.messages, 1..=10_000_000),
        bytes: u64::from(bytes),
        age: errors.duration_within(
            "spec.history.age",
            &history.age,
            Millis::from_secs(1)..=Millis::from_secs(86_400),
            "must be 1s to 24h: clients that a rollout cuts off are back within a minute, and what is older is looked \
             up in the stream",
        ),
    }
}

fn heartbeat(spec: &WsGatewaySpec, errors: &mut Errors) -> Heartbeat {
    const TIMEOUT: &str = "spec.listener.heartbeat.timeout";
    let heartbeat = &spec.listener.heartbeat;
    let second = Millis::from_secs(1);
    let hour = Millis::from_secs(3_600);
    let interval = errors.duration_within(
        "spec.listener.heartbeat.interval",
        &heartbeat.interval,
        second..=hour,
        "must be 1s to 1h; 25s is below the idle timeout of most proxies",
    );
    let timeout = errors.duration_within(
        TIMEOUT,
        &heartbeat.timeout,
        second..=hour,
        "must be at least 1s and at most the interval: a phone needs that long to wake its radio",
    );
    errors.ensure(
        timeout <= interval || interval == Millis::default(),
        TIMEOUT,
        "must not exceed listener.heartbeat.interval, or a dead client would be due for its next ping before the last \
         one is judged: lower the timeout or raise the interval",
    );
    Heartbeat { interval, timeout }
}
