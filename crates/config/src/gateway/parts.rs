//! The two parts of a configuration: what a running gateway takes up, and what needs a new process.
//!
//! A field is live if its change breaks nothing for the clients that are there. It needs a restart if it gives another
//! meaning to what clients hold (channels, offsets, names), if it is bound to the process (ports, threads), or to the pod
//! (the drain window must fit the grace period that the pod was created with).

use super::GatewayConfig;
use crate::ConfigError;
use crate::yaml::Tree;

/// Fields that a running gateway takes up, with everything below them.
const LIVE: [&str; 38] = [
    "accepts",
    "auth",
    "channels.rules",
    "disconnects",
    "listener.protocols",
    "listener.defaultProtocol",
    "listener.compression",
    "listener.eventSource",
    "listener.longPoll",
    "listener.keepAlive",
    "listener.statusPages",
    "listener.allowedOrigins",
    "listener.allowedHosts",
    "listener.trustedProxies",
    "listener.forwardedHeader",
    "listener.proxyProtocol",
    "odin.initialChannels",
    "odin.greeting",
    "symbols.maxSymbols",
    "heartbeat",
    "capacity.connections",
    "capacity.fallbackConnections",
    "capacity.connectionsPerUser",
    "capacity.aboveConnectionsPerUser",
    "capacity.subscriptionsPerConnection",
    "capacity.outboxBytesPerConnection",
    "capacity.outboxBytesTotal",
    "capacity.commandBytes",
    "capacity.rejectAboveCpuPercent",
    "capacity.pauseAboveCpuPercent",
    "capacity.rejectAboveMemoryPercent",
    "commandRate",
    "sourceRate",
    "slowConsumer",
    "history",
    "drain.connectionsPerMinute",
    "log",
    "tracing",
];

/// Fields that need a new process, with everything below them.
const RESTART: [&str; 12] = [
    "name",
    "source",
    "channels.stripPrefix",
    "listener.address",
    "listener.port",
    "listener.path",
    // What the port speaks; what the files hold is read again whenever it changes.
    "listener.tls",
    // Clients unsubscribe by the names that these made channels of.
    "odin.template",
    "symbols.template",
    "admin",
    "capacity.shards",
    "drain.window",
];

/// What differs between two configurations: paths of fields, as they stand in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Fields that a running gateway takes up.
    pub live: Vec<String>,
    /// Fields that need a new process.
    pub restart: Vec<String>,
}

/// The two files that a pod is given, as [`GatewayConfig::load`] reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What needs a new process. It says nothing of the live part, whose fields, defaults and limits may change from
    /// version to version.
    pub restart: String,
    /// What a running gateway takes up.
    pub live: String,
}

impl GatewayConfig {
    /// What a gateway that runs with `self` would have to change to run with `new`.
    ///
    /// # Errors
    /// When one of them cannot be written as a file.
    pub fn change_to(&self, new: &Self) -> Result<Change, ConfigError> {
        let mut change = Change::default();
        for path in Tree::of(self)?.differences(&Tree::of(new)?) {
            match is_live(&path) {
                Some(true) => change.live.push(path),
                // What is in no part is not taken up by anybody.
                Some(false) | None => change.restart.push(path),
            }
        }
        Ok(change)
    }

    /// The files of a pod with this configuration.
    ///
    /// # Errors
    /// When it cannot be written as a file.
    pub fn parts(&self) -> Result<Parts, ConfigError> {
        let tree = Tree::of(self)?;
        let restart = tree.part(&|path| is_live(path).map(|live| !live), true);
        Ok(Parts { restart: restart.render()?, live: tree.part(&is_live, false).render()? })
    }
}

/// Whether a field is live; `None` for a section with fields of both kinds.
fn is_live(path: &str) -> Option<bool> {
    if LIVE.iter().any(|field| covers(field, path)) {
        return Some(true);
    }
    RESTART.iter().any(|field| covers(field, path)).then_some(false)
}

/// Whether a path is that of a field, or below it.
fn covers(field: &str, path: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{covers, *};
    use crate::*;

    fn listener(n: u8) -> Listener {
        let odd = n == 1;
        Listener {
            address: Ipv4Addr::new(127, 0, 0, n).into(),
            port: 8_000 + u16::from(n),
            path: format!("/{n}"),
            protocols: Protocol::ALL[..3 - usize::from(n)].to_vec(),
            default_protocol: Protocol::ALL[usize::from(n)],
            compression: odd,
            event_source: odd,
            long_poll: odd,
            keep_alive: Millis(1_000 + u64::from(n)),
            status_pages: odd,
            allowed_origins: vec![format!("https://{n}")],
            allowed_hosts: vec![n.to_string()],
            trusted_proxies: vec![network(n)],
            forwarded_header: match odd {
                true => ForwardedHeader::Forwarded,
                false => ForwardedHeader::XForwardedFor,
            },
            proxy_protocol: if odd { ProxyProtocol::Accept } else { ProxyProtocol::Require },
            tls: Some(ListenerTls {
                cert_file: format!("/tls/{n}.crt").into(),
                key_file: format!("/tls/{n}.key").into(),
            }),
        }
    }

    fn network(n: u8) -> Network {
        format!("192.0.2.{n}/32").parse().unwrap()
    }

    fn accepts(n: u8) -> Accepts {
        let wide = u32::from(n);
        Accepts {
            all: AcceptRate { per_second: wide, burst: 1 + wide },
            per_address: AcceptRate { per_second: 10 + wide, burst: 10 + wide },
            connections_per_address: wide,
            exempt_networks: vec![network(n)],
        }
    }

    fn auth(n: u8) -> Auth {
        let odd = n == 1;
        let jwt = Jwt {
            keys: vec![KeyFile { file: format!("/keys/{n}").into(), id: Some(n.to_string()) }],
            jwks: Some(Jwks {
                url: format!("https://issuer-{n}/keys"),
                ca_file: Some(format!("/ca/{n}").into()),
                refresh: Millis(10_000 + u64::from(n)),
            }),
            algorithms: vec![if odd { Algorithm::ES256 } else { Algorithm::RS256 }],
            issuer: Some(format!("issuer-{n}")),
            audience: vec![format!("audience-{n}")],
            cookie: Some(format!("cookie{n}")),
            user_claim: format!("user{n}"),
            channels_claim: Some(format!("channels{n}")),
            set_channels_claim: Some(format!("set{n}")),
            leeway: Millis(u64::from(n)),
            max_lifetime: Some(Millis(10_000 + u64::from(n))),
        };
        let rule = ChannelRule {
            r#match: format!("{n}.{{sub}}"),
            deny: odd,
            set: !odd,
            when: [("role".to_owned(), n.to_string())].into(),
        };
        let anonymous = Some(Anonymous { channels: vec![format!("public{n}")] });
        Auth { jwt, anonymous, channels: vec![rule] }
    }

    fn capacity(n: u8) -> Capacity {
        let (wide, odd) = (u32::from(n), n == 1);
        Capacity {
            connections: 10 + wide,
            fallback_connections: 1 + wide,
            connections_per_user: 1 + wide,
            above_connections_per_user: match odd {
                true => AboveLimit::CloseOldest,
                false => AboveLimit::RejectNew,
            },
            subscriptions_per_connection: 1 + wide,
            outbox_bytes_per_connection: 5_000 + wide,
            outbox_bytes_total: 9_000 + u64::from(n),
            command_bytes: 1_000 + wide,
            reject_above_cpu_percent: 70 + wide,
            pause_above_cpu_percent: 80 + wide,
            reject_above_memory_percent: 90 + wide,
            shards: 1 + u16::from(n),
        }
    }

    fn disconnect(n: u8) -> Disconnect {
        Disconnect {
            user: (n == 1).then(|| n.to_string()),
            token_id: (n == 0).then(|| n.to_string()),
            at: u64::from(n),
            until: Some(1 + u64::from(n)),
        }
    }

    /// Two configurations that differ in every field. They name every field, so that they do not compile while a new one
    /// is missing here.
    fn both() -> [GatewayConfig; 2] {
        [0, 1].map(|n: u8| {
            let (wide, odd) = (u32::from(n), n == 1);
            GatewayConfig {
                name: format!("a/{n}"),
                source: Source::JetStream(JetStreamSource::new(vec![format!("nats://{n}")], "S")),
                channels: Channels {
                    strip_prefix: format!("p{n}."),
                    rules: vec![Rule {
                        r#match: format!("{n}"),
                        delivery: Delivery::Latest,
                        batch_window: Millis(1),
                        message_type: None,
                        dedupe_window: Millis(1),
                        max_rate: Some(1 + u16::from(n)),
                        flat: odd,
                    }],
                },
                listener: listener(n),
                auth: Some(auth(n)),
                disconnects: vec![disconnect(n)],
                odin: Odin {
                    template: format!("{{token}}.{n}"),
                    initial_channels: vec![n.to_string()],
                    greeting: odd,
                },
                symbols: Symbols {
                    template: Some(format!("{{symbol}}.{n}")),
                    max_symbols: 1 + wide,
                },
                admin: Admin {
                    address: Ipv4Addr::new(127, 0, 1, n).into(),
                    port: 9_000 + u16::from(n),
                },
                heartbeat: Heartbeat {
                    interval: Millis(1_000 + u64::from(n)),
                    timeout: Millis(1_000 + u64::from(n)),
                },
                capacity: capacity(n),
                accepts: accepts(n),
                command_rate: CommandRate { per_second: 1 + wide, burst: 1 + wide },
                source_rate: SourceRate {
                    messages_per_second: 1 + wide,
                    deliveries_per_second: 1 + wide,
                },
                slow_consumer: SlowConsumer { grace: Millis(1_000 + u64::from(n)) },
                history: History {
                    messages: 10 + u64::from(n),
                    bytes: (1 << 20) + u64::from(n),
                    age: Millis(1_000 + u64::from(n)),
                },
                drain: Drain { window: Millis(u64::from(n)), connections_per_minute: wide },
                log: Log { level: if odd { LogLevel::Debug } else { LogLevel::Info } },
                tracing: Tracing {
                    endpoint: Some(format!("http://collector-{n}:4318")),
                    max_per_second: 1 + wide,
                },
            }
        })
    }

    fn fields() -> Vec<String> {
        let [one, other] = both();
        Tree::of(&one).unwrap().differences(&Tree::of(&other).unwrap())
    }

    #[test]
    fn every_field_is_either_live_or_needs_a_restart() {
        let all = fields();
        assert!(all.len() > 30, "{all:?}");
        for path in &all {
            let count = |part: &[&str]| part.iter().filter(|field| covers(field, path)).count();
            let found = (count(&LIVE), count(&RESTART));
            assert!(found == (1, 0) || found == (0, 1), "{path} is in {found:?} of the lists");
        }
        for field in LIVE.iter().chain(&RESTART) {
            assert!(all.iter().any(|path| covers(field, path)), "{field} is no field");
        }
    }

    #[test]
    fn a_change_names_what_a_running_gateway_takes_up_and_what_it_cannot() {
        let [one, other] = both();
        assert_eq!(one.change_to(&one).unwrap(), Change::default());
        let all = one.change_to(&other).unwrap();
        assert_eq!(all.live.len() + all.restart.len(), fields().len());
        let mut new = one.clone();
        new.command_rate.burst += 1;
        new.channels.rules.clear();
        let Source::JetStream(source) = &mut new.source else { panic!("another source") };
        source.stream = "T".into();
        source.tls = Some(NatsTls { ca_file: Some("/ca".into()), ..NatsTls::default() });
        let change = one.change_to(&new).unwrap();
        assert_eq!(change.live, ["channels.rules", "commandRate.burst"]);
        assert_eq!(change.restart, ["source.jetStream.stream", "source.jetStream.tls"]);
        let redis = RedisSource::new(vec!["redis://r".into()], vec!["a".into()]);
        let moved = GatewayConfig { source: Source::Redis(redis), ..one.clone() };
        let change = one.change_to(&moved).unwrap();
        assert_eq!(change.restart, ["source.jetStream", "source.redis"]);
    }

    #[test]
    fn the_two_files_are_read_as_the_configuration_that_they_were_made_of() {
        for config in both() {
            let parts = config.parts().unwrap();
            let loaded = GatewayConfig::load(&parts.restart, Some(&parts.live)).unwrap();
            assert_eq!(loaded, Loaded { config: config.clone(), unknown: Vec::new() });
        }
    }

    #[test]
    fn a_file_says_nothing_of_the_other_part() {
        let [one, other] = both();
        let (parts, others) = (one.parts().unwrap(), other.parts().unwrap());
        let mixed = GatewayConfig::load(&parts.restart, Some(&others.live)).unwrap().config;
        assert_eq!(mixed.parts().unwrap(), Parts { live: others.live, ..parts.clone() });
        assert_eq!(one.change_to(&mixed).unwrap().restart, [""; 0]);
        assert_eq!(mixed.change_to(&other).unwrap().live, [""; 0]);
        assert!(!parts.restart.contains("commandRate") && !parts.live.contains("source:"));
    }

    #[test]
    fn the_restart_part_alone_starts_with_the_defaults_of_the_live_part() {
        let source = Source::Memory(MemorySource {});
        let config = GatewayConfig::new("a", source);
        let alone = GatewayConfig::load(&config.parts().unwrap().restart, None).unwrap();
        assert_eq!(alone.config, config);
    }
}
