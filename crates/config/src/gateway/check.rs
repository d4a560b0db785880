//! The rules that make a configuration runnable; each refusal names the field and what would be right.

use super::{GatewayConfig, History, Source, disconnect, protocols};
use crate::{ConfigError, Millis};

/// The timer wheels of the gateway are no finer.
const SHORTEST: Millis = Millis(100);
const HOUR: Millis = Millis::from_secs(3_600);
const MOST_GRACE: Millis = Millis::from_secs(60);

/// Paths that the gateway serves itself; the WebSocket endpoint cannot be one of them.
const RESERVED_PATHS: [&str; 5] = ["/", "/health", "/stats", "/sse", "/poll"];

const DAY: Millis = Millis::from_secs(86_400);

impl History {
    fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("history.messages", self.messages, 1, 10_000_000),
            ("history.bytes", self.bytes, 1 << 20, 64 << 30),
            ("history.age", self.age.0, 1_000, DAY.0),
        ];
        for (path, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                let message = format!("must be {least} to {most}; got {value}");
                return Err(ConfigError::value(path, message));
            }
        }
        Ok(())
    }
}

impl GatewayConfig {
    /// Refuses values that have the right type but cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        match &self.source {
            Source::JetStream(source) => source.check()?,
            Source::Redis(source) => source.check()?,
            Source::Memory(_) => {}
        }
        let path = &self.listener.path;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        if !path.starts_with('/')
            || !path.chars().all(plain)
            || RESERVED_PATHS.contains(&path.as_str())
        {
            return Err(ConfigError::value(
                "listener.path",
                format!(
                    "must start with /, hold letters, digits and - . _ ~ / only, and not be one of \
                     {RESERVED_PATHS:?}, such as /ws; got {path:?}"
                ),
            ));
        }
        if self.listener.port != 0
            && self.listener.port == self.admin.port
            && self.listener.address == self.admin.address
        {
            return Err(ConfigError::value("admin.port", "must differ from listener.port"));
        }
        for (path, value, most) in [
            ("listener.keepAlive", self.listener.keep_alive, HOUR),
            ("heartbeat.interval", self.heartbeat.interval, HOUR),
            ("heartbeat.timeout", self.heartbeat.timeout, HOUR),
            // 0 would close a client for one burst; the hard bound is there for those that never read.
            ("slowConsumer.grace", self.slow_consumer.grace, MOST_GRACE),
        ] {
            if value < SHORTEST || value > most {
                return Err(ConfigError::value(
                    path,
                    format!("must be {} to {} ms; got {}", SHORTEST.0, most.0, value.0),
                ));
            }
        }
        protocols::check(&self.listener.protocols, self.listener.default_protocol)?;
        self.listener.check_entry()?;
        self.accepts.check()?;
        self.source_rate.check(&self.source)?;
        self.odin.check()?;
        self.symbols.check()?;
        self.channels.check()?;
        self.history.check()?;
        self.tracing.check()?;
        let origins = &self.listener.allowed_origins;
        self.auth.as_ref().map_or(Ok(()), |auth| auth.check(origins))?;
        disconnect::check(&self.disconnects)?;
        self.check_limits()
    }

    fn check_guards(&self) -> Result<(), ConfigError> {
        let capacity = &self.capacity;
        let (reject, pause) = (capacity.reject_above_cpu_percent, capacity.pause_above_cpu_percent);
        for (path, percent) in [
            ("capacity.rejectAboveCpuPercent", reject),
            ("capacity.pauseAboveCpuPercent", pause),
            ("capacity.rejectAboveMemoryPercent", capacity.reject_above_memory_percent),
        ] {
            if percent > 100 {
                return Err(ConfigError::value(
                    path,
                    format!("must be at most 100; got {percent}"),
                ));
            }
        }
        if pause > 0 && reject > pause {
            return Err(ConfigError::value(
                "capacity.rejectAboveCpuPercent",
                "must not exceed capacity.pauseAboveCpuPercent",
            ));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let capacity = &self.capacity;
        let limits = [
            ("capacity.connections", capacity.connections, 1),
            ("capacity.subscriptionsPerConnection", capacity.subscriptions_per_connection, 1),
            // One frame of the largest command's answer must fit.
            ("capacity.outboxBytesPerConnection", capacity.outbox_bytes_per_connection, 4 << 10),
            ("capacity.commandBytes", capacity.command_bytes, 128),
            ("commandRate.perSecond", self.command_rate.per_second, 1),
            ("commandRate.burst", self.command_rate.burst, 1),
        ];
        for (path, value, least) in limits {
            if value < least {
                return Err(ConfigError::value(
                    path,
                    format!("must be at least {least}; got {value}"),
                ));
            }
        }
        self.check_guards()?;
        if capacity.outbox_bytes_total < u64::from(capacity.outbox_bytes_per_connection) {
            return Err(ConfigError::value(
                "capacity.outboxBytesTotal",
                "must be at least capacity.outboxBytesPerConnection",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Delivery, JetStreamSource, ListenerTls, Protocol, ProxyProtocol, RedisSource, Rule,
        is_template,
    };

    fn example() -> GatewayConfig {
        let servers = vec!["nats://nats.messaging:4222".into()];
        let source = JetStreamSource::new(servers, "ODIN_TOKENS");
        GatewayConfig::new("trading/odin", Source::JetStream(source))
    }

    fn rule(pattern: &str, delivery: Delivery, window: u64) -> Rule {
        let (r#match, batch_window) = (pattern.to_owned(), Millis(window));
        Rule { r#match, delivery, batch_window, ..Rule::default() }
    }

    #[test]
    fn what_is_rendered_is_read_back_unchanged() {
        let mut config = example();
        config
            .channels
            .rules
            .push(Rule { max_rate: Some(5), ..rule("*.price", Delivery::Latest, 100) });
        config.source_rate.deliveries_per_second = 7;
        config.channels.rules.push(Rule {
            message_type: Some("trade:executed".into()),
            dedupe_window: Millis(5_000),
            flat: true,
            ..rule("*.trade", Delivery::Every, 0)
        });
        config.listener.default_protocol = Protocol::Odin;
        config.odin.initial_channels = vec![">".into()];
        config.symbols.max_symbols = 50;
        assert_eq!(GatewayConfig::parse(&config.render().unwrap()).unwrap(), config);
    }

    #[test]
    fn a_file_with_only_name_and_source_gets_every_default() {
        let text = "name: a/b\nsource: { jetStream: { servers: ['nats://n:4222'], stream: S } }\n";
        let config = GatewayConfig::parse(text).unwrap();
        assert_eq!(config.listener.port, 8080);
        assert_eq!(config.capacity.connections, 10_000);
        assert!(config.listener.compression && config.listener.status_pages);
        assert_eq!(config.listener.keep_alive, Millis::from_secs(75));
        assert_eq!(config.capacity.fallbacks(), 2_500);
        assert_eq!(config.slow_consumer.grace, Millis(5_000));
        assert_eq!(config.channels.rules, []);
        assert_eq!(config.listener.protocols, Protocol::ALL);
        assert_eq!(config.listener.default_protocol, Protocol::WsGateway);
        assert_eq!(
            (&*config.odin.template, &*config.symbols_template()),
            ("{token}.>", "{symbol}.trade")
        );
        assert_eq!(config.symbols.max_symbols, 5);
        assert!(config.odin.greeting);
    }

    #[test]
    fn symbols_of_a_redis_source_are_the_channels_that_it_reads() {
        for (channels, strip_prefix, expected) in [
            (&["channel:trade:*"][..], "", "channel.trade.{symbol}"),
            (&["channel:trade:*"], "channel.trade.", "{symbol}"),
            (&["channel:trade:*"], "channel.", "trade.{symbol}"),
            (&["prices:*:v1", "channel:trade:*"], "", "prices.{symbol}.v1"),
            (&["trade-*"], "", "trade-{symbol}"),
            (&["*"], "", "{symbol}"),
            // None of these shows where the symbol stands.
            (&["channel:trade:AAPL", "channel:trade:TSLA"], "channel.trade.", "{symbol}"),
            (
                &["*:*", "a:[xy]:*", "a:?:*", "100%:*", "a::*", "{a}:*"],
                "",
                "channel.trade.{symbol}",
            ),
            (&["*:*", "quotes.*"], "", "quotes.{symbol}"),
            // A prefix that no symbol has.
            (&["channel:trade:*"], "other.", "channel.trade.{symbol}"),
        ] {
            let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
            let source = RedisSource::new(vec!["redis://r".into()], channels);
            let mut config = GatewayConfig::new("a", Source::Redis(source));
            config.channels.strip_prefix = strip_prefix.into();
            config.check().unwrap();
            assert_eq!(config.symbols_template(), expected, "{:?} {strip_prefix}", config.source);
            assert!(is_template(expected, "{symbol}"));
            config.symbols.template = Some("own.{symbol}".into());
            assert_eq!(config.symbols_template(), "own.{symbol}");
        }
    }

    #[test]
    fn a_redis_source_needs_servers_and_channels_and_is_read_back_unchanged() {
        let text = "name: a\nsource: { redis: { servers: ['redis://r'], channels: ['channel:trade:*'] } }\n";
        let config = GatewayConfig::parse(text).unwrap();
        let Source::Redis(source) = &config.source else { panic!("{:?}", config.source) };
        assert_eq!(source.max_message_bytes, 1 << 20);
        assert_eq!(GatewayConfig::parse(&config.render().unwrap()).unwrap(), config);
        let error = GatewayConfig::parse(&text.replace("['redis://r']", "[]")).unwrap_err();
        assert!(error.to_string().starts_with("source.redis.servers: "), "{error}");
    }

    #[test]
    fn two_sources_are_refused() {
        let text =
            "name: a\nsource: { memory: {}, redis: { servers: ['redis://r'], channels: [c] } }\n";
        let error = GatewayConfig::parse(text).unwrap_err().to_string();
        assert!(error.contains("exactly one of jetStream, redis, memory"), "{error}");
    }

    #[test]
    fn a_rule_needs_no_more_than_what_it_matches() {
        let text = "name: a\nsource: { memory: {} }\nchannels: { rules: [{ match: '*.price', delivery: Latest }, \
                    { match: '>', batchWindow: 50 }] }\n";
        let rules = GatewayConfig::parse(text).unwrap().channels.rules;
        assert_eq!(rules[0], rule("*.price", Delivery::Latest, 0));
        assert_eq!(rules[1], rule(">", Delivery::Every, 50));
    }

    #[test]
    fn a_rule_behind_a_broader_one_is_refused_with_the_rule_that_hides_it() {
        let mut config = example();
        let rules = ["BTC.price", "*.price", "ETH.price"];
        config.channels.rules = rules.map(|pattern| rule(pattern, Delivery::Latest, 0)).into();
        let error = config.check().unwrap_err().to_string();
        assert!(
            error.starts_with("channels.rules[2].match: ETH.price never gets its turn"),
            "{error}"
        );
        assert!(error.contains("rules[1] (*.price)"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_path() {
        let text = "name: a\nsource: { memory: {} }\nlistener: { prot: 1 }\n";
        let error = GatewayConfig::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("listener.prot: ") && error.contains("unknown field `prot`"),
            "{error}"
        );
    }

    #[test]
    fn protocols_that_cannot_work_are_refused_with_their_path() {
        type Break = fn(&mut GatewayConfig);
        let broken: [(&str, Break); 14] = [
            ("listener.protocols", |c| c.listener.protocols.clear()),
            ("listener.protocols", |c| c.listener.protocols.push(Protocol::Odin)),
            ("listener.defaultProtocol", |c| c.listener.protocols = vec![Protocol::Odin]),
            ("odin.template", |c| c.odin.template = "token.>".into()),
            ("odin.template", |c| c.odin.template = "{token}.{token}".into()),
            ("odin.initialChannels: ", |c| c.odin.initial_channels = vec!["a".into(); 65]),
            ("odin.initialChannels[1]", |c| {
                c.odin.initial_channels = vec![">".into(), "odin.".into()];
            }),
            ("symbols.template", |c| c.symbols.template = Some("{symbol}.*".into())),
            ("symbols.template", |c| c.symbols.template = Some("{token}.trade".into())),
            ("symbols.maxSymbols", |c| c.symbols.max_symbols = 0),
            ("symbols.maxSymbols", |c| c.symbols.max_symbols = 10_001),
            ("channels.rules[0].type", |c| {
                c.channels.rules = vec![rule(">", Delivery::Every, 0)];
                c.channels.rules[0].message_type = Some("a\"b".into());
            }),
            ("channels.rules[0].type", |c| {
                c.channels.rules = vec![rule(">", Delivery::Every, 0)];
                c.channels.rules[0].message_type = Some(String::new());
            }),
            ("channels.rules[0].dedupeWindow", |c| {
                c.channels.rules = vec![rule(">", Delivery::Every, 0)];
                c.channels.rules[0].dedupe_window = Millis(600_001);
            }),
        ];
        for (path, break_it) in broken {
            let mut config = example();
            break_it(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(path), "{path}: {error}");
        }
    }

    #[test]
    fn a_protocol_is_named_as_on_the_wire() {
        for (protocol, name) in [
            (Protocol::WsGateway, "wsgateway.v1"),
            (Protocol::Odin, "odin.v1"),
            (Protocol::Symbols, "symbols.v1"),
        ] {
            assert_eq!(protocol.name(), name);
            let text = format!(
                "name: a\nsource: {{ memory: {{}} }}\nlistener: {{ defaultProtocol: {name} }}\n"
            );
            let config = GatewayConfig::parse(&text).unwrap();
            assert_eq!(config.listener.default_protocol, protocol);
        }
    }

    type Break = fn(&mut GatewayConfig);

    fn refused(broken: &[(&str, Break)]) {
        for (path, break_it) in broken {
            let mut config = example();
            break_it(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(path), "{path}: {error}");
        }
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_their_path() {
        refused(&[
            ("listener.allowedOrigins[1]", |c| {
                c.listener.allowed_origins = vec!["https://a".into(), "a".into()];
            }),
            ("listener.allowedOrigins: ", |c| {
                c.listener.allowed_origins = vec!["https://a".into(); 65];
            }),
            ("listener.allowedHosts[0]", |c| c.listener.allowed_hosts = vec!["a:80".into()]),
            ("listener.trustedProxies", |c| {
                c.listener.trusted_proxies = vec!["::/0".parse().unwrap(); 257];
            }),
            ("listener.proxyProtocol", |c| c.listener.proxy_protocol = ProxyProtocol::Accept),
            ("listener.tls.keyFile", |c| {
                let (cert_file, key_file) = ("/tls.crt".into(), "tls.key".into());
                c.listener.tls = Some(ListenerTls { cert_file, key_file });
            }),
            ("accepts.all", |c| c.accepts.all.per_second = 1_000_001),
            ("accepts.perAddress", |c| c.accepts.per_address.burst = 0),
            ("accepts.perAddress", |c| c.accepts.per_address.burst = 1_000_001),
            ("accepts.exemptNetworks", |c| {
                c.accepts.exempt_networks = vec!["::/0".parse().unwrap(); 257];
            }),
            ("listener.path", |c| c.listener.path = "/health".into()),
            ("listener.keepAlive", |c| c.listener.keep_alive = Millis(0)),
            ("listener.keepAlive", |c| c.listener.keep_alive = Millis(3_600_001)),
            ("listener.path", |c| c.listener.path = "/ws\"><script>".into()),
            ("admin.port", |c| c.admin.port = 8080),
            ("heartbeat.interval", |c| c.heartbeat.interval = Millis(5)),
            ("heartbeat.timeout", |c| c.heartbeat.timeout = Millis(3_600_001)),
            ("slowConsumer.grace", |c| c.slow_consumer.grace = Millis(0)),
            ("slowConsumer.grace", |c| c.slow_consumer.grace = Millis(60_001)),
            ("capacity.connections", |c| c.capacity.connections = 0),
            ("capacity.pauseAboveCpuPercent", |c| c.capacity.pause_above_cpu_percent = 101),
            ("capacity.rejectAboveMemoryPercent", |c| c.capacity.reject_above_memory_percent = 101),
            ("capacity.rejectAboveCpuPercent", |c| {
                (c.capacity.reject_above_cpu_percent, c.capacity.pause_above_cpu_percent) =
                    (81, 80);
            }),
            ("capacity.outboxBytesTotal", |c| c.capacity.outbox_bytes_total = 1),
        ]);
    }

    #[test]
    fn rules_of_channels_and_sources_that_cannot_work_are_refused_with_their_path() {
        refused(&[
            ("channels.rules: ", |c| {
                c.channels.rules =
                    (0..65).map(|n| rule(&n.to_string(), Delivery::Every, 0)).collect();
            }),
            ("channels.rules[0].match", |c| {
                c.channels.rules = vec![rule("BT*", Delivery::Every, 0)];
            }),
            ("channels.rules[0].match", |c| c.channels.rules = vec![rule("", Delivery::Every, 0)]),
            ("channels.rules[0].batchWindow", |c| {
                c.channels.rules = vec![rule(">", Delivery::Every, 1_001)];
            }),
            ("channels.rules[0].maxRate", |c| {
                c.channels.rules =
                    vec![Rule { max_rate: Some(5), ..rule(">", Delivery::Every, 0) }];
            }),
            ("channels.rules[0].maxRate", |c| {
                c.channels.rules =
                    vec![Rule { max_rate: Some(0), ..rule(">", Delivery::Latest, 0) }];
            }),
            ("channels.rules[0].maxRate", |c| {
                let rule = rule(">", Delivery::Latest, 0);
                c.channels.rules = vec![Rule { max_rate: Some(101), ..rule }];
            }),
            ("sourceRate.messagesPerSecond", |c| {
                c.source_rate.messages_per_second = 100_000_001;
            }),
            ("sourceRate.deliveriesPerSecond", |c| {
                c.source_rate.deliveries_per_second = 1;
                let channels = vec!["a".into()];
                c.source = Source::Redis(RedisSource::new(vec!["redis://r".into()], channels));
            }),
            ("source.jetStream.stream", |c| {
                c.source = Source::JetStream(JetStreamSource::new(vec!["x".into()], "a.b"));
            }),
        ]);
    }
}
