//! Rules of Redis as a source.

use std::collections::BTreeSet;

use wsgateway_config::{RedisServer, RedisSource};

use super::errors::Errors;
use super::nats::secret_key;
use crate::ValidRedis;
use crate::spec::{Redis, RedisSecret};

/// As for the stream of NATS.
const LARGEST_MESSAGE: u32 = 64 << 20;

pub(super) fn redis(redis: &Redis, errors: &mut Errors) -> ValidRedis {
    check_servers(&redis.servers, errors);
    check_channels(&redis.channels, errors);
    if let Some(username) = &redis.username {
        const PATH: &str = "spec.redis.username";
        errors.ensure((1..=255).contains(&username.len()), PATH, "must be 1 to 255 bytes");
        errors.ensure(
            redis.password_secret.is_some(),
            PATH,
            "needs passwordSecret: name the Secret that holds the user's password",
        );
    }
    errors.ensure(
        redis.ca_secret.is_none()
            || redis.servers.iter().any(|server| server.starts_with("rediss://")),
        "spec.redis.caSecret",
        "is for TLS: write the servers as rediss://host:port, or leave it out",
    );
    let secret = |field: &str, secret: &Option<RedisSecret>, errors: &mut Errors| {
        let path = format!("spec.redis.{field}");
        let mut valid =
            |secret: &RedisSecret| secret_key(&path, &secret.name, ("key", &secret.key), errors);
        secret.as_ref().map(&mut valid)
    };
    let password = secret("passwordSecret", &redis.password_secret, errors);
    let ca = secret("caSecret", &redis.ca_secret, errors);
    ValidRedis {
        servers: redis.servers.clone(),
        channels: redis.channels.clone(),
        username: redis.username.clone(),
        password,
        ca,
        max_message_bytes: errors.size_within(
            "spec.redis.maxMessageSize",
            &redis.max_message_size,
            1..=LARGEST_MESSAGE,
            "must be at most 64Mi",
        ),
    }
}

fn check_servers(servers: &[String], errors: &mut Errors) {
    const PATH: &str = "spec.redis.servers";
    errors.ensure(
        (1..=16).contains(&servers.len()),
        PATH,
        "name 1 to 16 servers, such as redis://redis.cache:6379",
    );
    for (at, server) in servers.iter().enumerate() {
        errors.ensure(
            RedisServer::parse(server).is_some(),
            &format!("{PATH}[{at}]"),
            "write redis://host:port, or rediss://host:port for TLS, without user, password, path or database",
        );
    }
    no_duplicates(servers, PATH, errors);
}

fn check_channels(channels: &[String], errors: &mut Errors) {
    const PATH: &str = "spec.redis.channels";
    errors.ensure(
        (1..=32).contains(&channels.len()),
        PATH,
        "name 1 to 32 Redis channels, such as channel:trade:*",
    );
    for (at, channel) in channels.iter().enumerate() {
        errors.ensure(
            (1..=255).contains(&channel.len()),
            &format!("{PATH}[{at}]"),
            "must be 1 to 255 bytes, such as channel:trade:*",
        );
    }
    no_duplicates(channels, PATH, errors);
}

fn no_duplicates(items: &[String], path: &str, errors: &mut Errors) {
    let distinct: BTreeSet<&String> = items.iter().collect();
    errors.ensure(distinct.len() == items.len(), path, "an entry stands twice: drop one");
}

/// Whether some channel that is read may begin with this prefix of a subject.
pub(super) fn could_begin_with(redis: &Redis, prefix: &str) -> bool {
    redis.channels.iter().any(|channel| {
        // What stands before the first wildcard is sure; colons become dots.
        let sure = if RedisSource::is_pattern(channel) {
            channel.split(['*', '?', '[', '\\']).next().unwrap_or_default()
        } else {
            channel
        };
        let sure = sure.replace(':', ".");
        sure.starts_with(prefix) || (RedisSource::is_pattern(channel) && prefix.starts_with(&sure))
    })
}
