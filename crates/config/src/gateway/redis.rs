//! Redis Pub/Sub as a source, and what makes its settings runnable.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Most servers, channels and bytes of one channel.
const MOST_SERVERS: usize = 16;
/// One bit each in the source's memory of what it has seen.
const MOST_CHANNELS: usize = 32;
const LONGEST_CHANNEL: usize = 255;
/// Redis itself goes further, but a message is held in memory once per pod, and as a frame.
const LARGEST_MESSAGE: u32 = 64 << 20;

/// Redis Pub/Sub: what is published while no connection stands is lost, so positions hold for one process only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisSource {
    /// `redis://host:port`, or `rediss://host:port` for TLS; one to sixteen, tried in turn until one serves.
    pub servers: Vec<String>,
    /// Redis channels to read (1 to 32), such as `channel:trade:*`. Those with `*`, `?`, `[` or `\` are patterns as
    /// PSUBSCRIBE knows them, the others names.
    pub channels: Vec<String>,
    /// ACL user; without one the password is that of the user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File that holds the password; read again for each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that may sign a server's certificate; without it those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Largest message taken (bytes); a larger one is left out and told to every client as a gap.
    #[serde(default = "max_message_bytes")]
    pub max_message_bytes: u32,
}

fn max_message_bytes() -> u32 {
    1 << 20
}

/// Where a Redis server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port, 6379 unless the address names one.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

impl RedisServer {
    /// Reads `redis://host:port` or `rediss://host:port`. None for anything else: user, password, path and database
    /// have no place here.
    pub fn parse(address: &str) -> Option<Self> {
        let (tls, rest) = match address.strip_prefix("rediss://") {
            Some(rest) => (true, rest),
            None => (false, address.strip_prefix("redis://")?),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port)
            }
            None => {
                let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
                let edge = |c: char| c.is_ascii_alphanumeric();
                let is_host =
                    host.starts_with(edge) && host.ends_with(edge) && host.chars().all(plain);
                is_host.then_some((host, port))?
            }
        };
        let port = match port.strip_prefix(':') {
            // No sign and no leading zeros: one spelling for one port.
            Some(digits) if !digits.starts_with(['0', '+']) => digits.parse().ok()?,
            None if port.is_empty() => 6379,
            _ => return None,
        };
        (address.len() <= 255).then(|| Self { host: host.to_owned(), port, tls })
    }
}

impl RedisSource {
    /// With every default, for given servers and channels.
    pub fn new(servers: Vec<String>, channels: Vec<String>) -> Self {
        Self {
            servers,
            channels,
            username: None,
            password_file: None,
            ca_file: None,
            max_message_bytes: max_message_bytes(),
        }
    }

    /// Whether a channel of [`RedisSource::channels`] is a pattern.
    pub fn is_pattern(channel: &str) -> bool {
        channel.contains(['*', '?', '[', '\\'])
    }

    /// Refuses settings that have the right type but cannot work.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |field: &str, message: String| {
            Err(ConfigError::value(format!("source.redis.{field}"), message))
        };
        if self.servers.is_empty() || self.servers.len() > MOST_SERVERS {
            return refuse(
                "servers",
                "must name 1 to 16 servers, such as redis://redis.cache:6379".into(),
            );
        }
        for (at, server) in self.servers.iter().enumerate() {
            if RedisServer::parse(server).is_none() {
                return refuse(
                    &format!("servers[{at}]"),
                    // Without the address, which could hold a password.
                    "must be redis://host:port, or rediss://host:port for TLS, without user, password or path: a user \
                     goes into username, its password into a file that passwordFile names"
                        .into(),
                );
            }
        }
        if self.channels.is_empty() || self.channels.len() > MOST_CHANNELS {
            return refuse(
                "channels",
                "must name 1 to 32 Redis channels, such as channel:trade:*".into(),
            );
        }
        for (at, channel) in self.channels.iter().enumerate() {
            if channel.is_empty() || channel.len() > LONGEST_CHANNEL {
                return refuse(
                    &format!("channels[{at}]"),
                    format!(
                        "must be 1 to 255 bytes, such as channel:trade:*; got {}",
                        channel.len()
                    ),
                );
            }
            if self.channels[..at].contains(channel) {
                return refuse(
                    &format!("channels[{at}]"),
                    format!("{channel:?} stands there twice"),
                );
            }
        }
        if self.username.is_some() && self.password_file.is_none() {
            return refuse("passwordFile", "must be given with username".into());
        }
        if self.username.as_deref() == Some("") {
            return refuse(
                "username",
                "must not be empty: leave it out for the user default".into(),
            );
        }
        if !(1..=LARGEST_MESSAGE).contains(&self.max_message_bytes) {
            let bytes = self.max_message_bytes;
            return refuse(
                "maxMessageBytes",
                format!("must be 1 to {LARGEST_MESSAGE}; got {bytes}"),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> RedisSource {
        RedisSource::new(vec!["redis://redis.cache".into()], vec!["channel:trade:*".into()])
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_port() {
        let server = |host: &str, port, tls| Some(RedisServer { host: host.into(), port, tls });
        let long = format!("redis://{}", "x".repeat(256));
        for (address, expected) in [
            ("redis://redis.cache:6380", server("redis.cache", 6380, false)),
            ("redis://10.0.0.1", server("10.0.0.1", 6379, false)),
            ("rediss://r:1", server("r", 1, true)),
            ("rediss://[::1]:6379", server("::1", 6379, true)),
            ("redis://", None),
            ("redis://:6379", None),
            ("redis://r:0", None),
            ("redis://r:+1", None),
            ("redis://r:65536", None),
            ("redis://r:", None),
            ("redis://me:secret@r:6379", None),
            ("redis://r:6379/0", None),
            ("redis://[::1", None),
            ("redis://[r]:1", None),
            ("nats://r:4222", None),
            ("r:6379", None),
            ("redis://ü", None),
            (&long, None),
        ] {
            assert_eq!(RedisServer::parse(address), expected, "{address}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_path() {
        type Break = fn(&mut RedisSource);
        let broken: [(&str, Break); 10] = [
            ("servers: ", |s| s.servers.clear()),
            ("servers[1]", |s| s.servers.push("redis://me:secret@r".into())),
            ("channels: ", |s| s.channels.clear()),
            ("channels: ", |s| s.channels = (0..33).map(|n| n.to_string()).collect()),
            ("channels[0]", |s| s.channels = vec![String::new()]),
            ("channels[0]", |s| s.channels = vec!["x".repeat(256)]),
            ("channels[1]", |s| s.channels.push("channel:trade:*".into())),
            ("passwordFile", |s| s.username = Some("me".into())),
            ("username", |s| {
                (s.username, s.password_file) = (Some(String::new()), Some("/p".into()));
            }),
            ("maxMessageBytes", |s| s.max_message_bytes = 0),
        ];
        assert!(source().check().is_ok());
        for (path, break_it) in broken {
            let mut source = source();
            break_it(&mut source);
            let error = source.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("source.redis.{path}")), "{path}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
