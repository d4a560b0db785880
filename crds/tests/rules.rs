//! Every rule of the schema, accepted and refused, without a cluster; and that the CEL rules and `validate` agree.

use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use wsgateway_config::yaml;
use wsgateway_crds::{WsGateway, parse, parse_valid, validate};

const SAMPLE: &str = include_str!("../../manifests/samples/odin.yaml");
const REFUSED: &str = include_str!("refused.yaml");

#[derive(Deserialize)]
struct Case {
    name: String,
    change: Value,
    message: String,
    by: By,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum By {
    Cel,
    Schema,
}

fn cases() -> Vec<Case> {
    yaml::from_str(REFUSED).expect("a table of cases")
}

fn sample() -> Value {
    yaml::from_str(SAMPLE).expect("the sample is YAML")
}

/// RFC 7396.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in change {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn changed(change: &Value) -> Value {
    let mut manifest = sample();
    merge(&mut manifest, change);
    manifest
}

fn cel(manifest: &Value, old: Option<&Value>) -> Vec<String> {
    use kube::CustomResourceExt as _;
    let crd = serde_json::to_value(WsGateway::crd()).expect("the CRD is JSON");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    match kube::core::cel::Validator::new().validate(schema, manifest, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

fn validated(manifest: &Value) -> Result<(), Vec<String>> {
    let text = yaml::to_string(manifest).expect("the manifest is YAML");
    parse(&text)
        .and_then(|gateway| validate(&gateway).map(drop))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn cel_refuses_what_it_must_with_the_right_words() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.by == By::Cel).collect();
    assert!(cases.len() >= 20);
    for case in cases {
        let errors = cel(&changed(&case.change), None);
        assert!(
            errors.iter().any(|error| error.contains(&case.message)),
            "{}: {errors:?}",
            case.name
        );
    }
}

#[test]
fn whatever_the_api_server_refuses_is_refused_without_a_cluster_too() {
    for case in cases() {
        assert!(validated(&changed(&case.change)).is_err(), "{} was accepted", case.name);
    }
}

#[rstest]
#[case::as_it_is(json!({}))]
#[case::a_class(json!({ "spec": { "class": "internal-2" } }))]
#[case::no_class(json!({ "spec": { "class": "" } }))]
#[case::clients_of_some_networks(json!({ "spec": { "network": { "clientNetworks": ["10.0.0.0/8", "fd00::/8", "::/0"],
    "clientNamespaces": ["ingress-nginx", "default"] } } }))]
#[case::no_limits(json!({ "spec": { "stream": { "maxAge": "0", "maxMessages": 0, "maxBytes": "0", "maxMessageSize": "0" } } }))]
#[case::a_short_age_without_a_window(json!({ "spec": { "stream": { "maxAge": "100ms", "duplicateWindow": null } } }))]
#[case::a_window_without_an_age(json!({ "spec": { "stream": { "maxAge": "0", "duplicateWindow": "24h" } } }))]
#[case::one_message_fills_the_stream(json!({ "spec": { "stream": { "maxBytes": "64Ki", "maxMessageSize": "64Ki" } } }))]
#[case::a_prefix_under_a_wildcard(json!({ "spec": { "stream": { "subjects": ["odin.*.>"] } } }))]
#[case::a_prefix_under_a_wider_subject(json!({ "spec": { "stream": { "subjects": ["odin.>"] } } }))]
#[case::no_prefix(json!({ "spec": { "channels": { "stripPrefix": "" } } }))]
#[case::a_target_at_the_capacity(json!({ "spec": { "capacity": { "connectionsPerPod": 500 },
    "autoscaling": { "minReplicas": 2, "maxReplicas": 2, "targetConnectionsPerPod": 500 } } }))]
#[case::an_adapter_of_ones_own(json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2, "metricsSource": "Adapter",
    "keda": { "prometheusAddress": "http://[fd00::1]:9090" } } } }))]
#[case::keda(json!({ "spec": { "autoscaling": { "minReplicas": 2, "maxReplicas": 2, "metricsSource": "Keda",
    "keda": { "prometheusAddress": "https://thanos-query.monitoring/tenant-1/~x" } } } }))]
#[case::servers_by_address(json!({ "spec": { "nats": { "servers": ["nats://[::1]:4222", "nats://10.0.0.1", "nats://n:65535"] } } }))]
#[case::traces(json!({ "spec": { "tracing": { "endpoint": "http://[fd00::1]:4318/otlp", "maxPerSecond": 1000,
    "headersSecret": { "name": "collector" } } } }))]
#[case::servers_that_insist_on_tls(json!({ "spec": { "nats": { "servers": ["tls://connect.example.com", "tls://n:4222"] } } }))]
#[case::a_creds_file(json!({ "spec": { "nats": { "credentials": { "name": "odin-nats", "key": "nats.creds" } } } }))]
#[case::a_creds_file_by_its_usual_key(json!({ "spec": { "nats": { "credentials": { "name": "odin.nats.v2" } } } }))]
#[case::a_user(json!({ "spec": { "nats": { "credentials": { "userPassword": { "name": "n", "userKey": "USER_1" } } } } }))]
#[case::an_nkey(json!({ "spec": { "nats": { "credentials": { "nkey": { "name": "n", "key": "seed.txt" } } } } }))]
#[case::a_token_over_tls(json!({ "spec": { "nats": { "credentials": { "token": { "name": "n" } },
    "tls": { "caSecret": { "name": "n" }, "clientSecret": { "name": "odin-nats-client" } } } } }))]
#[case::tls_with_the_systems_authorities(json!({ "spec": { "nats": { "tls": {} } } }))]
#[case::labels_with_a_domain(json!({ "spec": { "monitoring": { "labels": { "example.com/team": "a.b_c-d", "empty": "" } } } }))]
#[case::requests_up_to_the_limits(json!({ "spec": { "pod": { "resources": {
    "requests": { "cpu": "1000m", "memory": "1Gi" }, "limits": { "cpu": 1, "memory": "1.5Gi", "example.com/nic": 1 } } } } }))]
#[case::amounts_as_numbers(json!({ "spec": { "pod": { "resources": { "requests": { "cpu": 1, "memory": "1.5Gi" } } } } }))]
#[case::narrow_rules_before_broad_ones(json!({ "spec": { "channels": { "rules": [
    { "match": "BTC.price", "batchWindow": "1s" }, { "match": "*.price", "delivery": "Latest", "batchWindow": "100ms" },
    { "match": "BTC.>" }, { "match": "odin.global.>", "batchWindow": "0" }, { "match": ">", "delivery": "Latest" }] } } }))]
#[case::one_protocol(json!({ "spec": { "listener": { "protocols": ["odin.v1"], "defaultProtocol": "odin.v1" } } }))]
#[case::a_rule_with_everything(json!({ "spec": { "channels": { "rules": [
    { "match": "*.trade", "type": "trade:executed", "dedupeWindow": "10m" }, { "match": ">", "type": "token_update" }] } } }))]
#[case::templates_of_every_kind(json!({ "spec": { "odin": { "template": "x-{token}-y.*.>", "initialChannels": [">", "*.a", "münze"] },
    "symbols": { "template": "channel:trade:{symbol}", "maxSymbols": 10_000 } } }))]
#[case::no_greeting_for_odin_clients(json!({ "spec": { "odin": { "greeting": false } } }))]
#[case::rules_that_overlap_without_hiding_each_other(json!({ "spec": { "channels": { "rules": [
    { "match": "*.*.>" }, { "match": "*.*" }, { "match": "*" }] } } }))]
#[case::a_rule_for_subjects_without_a_prefix(json!({ "spec": { "channels": { "stripPrefix": "", "rules": [
    { "match": "*.*.*.price", "delivery": "Latest" }] } } }))]
#[case::a_rule_where_a_wildcard_may_stand_for_the_prefix(json!({ "spec": { "stream": { "subjects": ["odin.*.>"] },
    "channels": { "rules": [{ "match": "a.b.c.d.e.f.g.h" }] } } }))]
#[case::a_rule_in_letters_of_any_language(json!({ "spec": { "channels": { "rules": [{ "match": "münze.$+(\"q\")[a]" }] } } }))]
#[case::an_outbox_for_large_messages(json!({ "spec": { "stream": { "maxMessageSize": "1Mi" },
    "capacity": { "outboxPerConnection": "3Mi" } } }))]
#[case::an_outbox_just_large_enough(json!({ "spec": { "stream": { "maxMessageSize": "65537" },
    "capacity": { "outboxPerConnection": "196611" } } }))]
#[case::limits_at_their_ends(json!({ "spec": { "slowConsumer": { "grace": "100ms" },
    "listener": { "maxCommandSize": "1Mi", "compression": false, "heartbeat": { "interval": "1h", "timeout": "60m" } },
    "capacity": { "subscriptionsPerConnection": 10000, "outboxPerConnection": "256Mi" },
    "rateLimits": { "commandsPerConnection": { "perSecond": 10000, "burst": 1 },
        "streamMessages": { "perSecond": 100_000_000 }, "deliveries": { "perSecond": 1 } } } }))]
#[case::flat_messages(json!({ "spec": { "channels": { "rules": [{ "match": ">", "flat": true }] } } }))]
#[case::rates_of_channels(json!({ "spec": { "channels": { "rules": [{ "match": "*.price", "delivery": "Latest", "maxRate": 1 },
    { "match": ">", "delivery": "Latest", "maxRate": 100, "batchWindow": "1s" }] } } }))]
#[case::redis(json!({ "spec": { "nats": null, "stream": null, "channels": { "stripPrefix": "channel.trade.",
    "rules": [{ "match": "*" }] }, "redis": { "servers": ["rediss://r:6380", "redis://[::1]"],
    "channels": ["channel:trade:*", "x y"], "username": "me", "passwordSecret": { "name": "a", "key": "b" },
    "caSecret": { "name": "a", "key": "c" }, "maxMessageSize": "1" } } }))]
#[case::a_domain(json!({ "spec": { "nats": { "domain": "hub-1", "inboxPrefix": "_INBOX_odin.x",
    "tls": { "handshakeFirst": true } } } }))]
#[case::an_api_under_another_name(json!({ "spec": { "nats": { "apiPrefix": "hub.API" } } }))]
#[case::pods_in_their_place(json!({ "spec": { "pod": { "nodeSelector": { "kubernetes.io/arch": "arm64", "empty": "" },
    "tolerations": [{ "operator": "Exists" }, { "key": "a.b/c", "value": "d", "effect": "NoExecute", "tolerationSeconds": 0 }],
    "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "t" }] } },
    "topologySpread": [{ "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2 }, { "topologyKey": "b" }],
    "priorityClassName": "p", "labels": { "app.kubernetes.io/part-of": "x" }, "annotations": { "a/b": "any text: ü" },
    "serviceAccountName": "s.a", "securityContext": { "runAsUser": 1, "runAsGroup": 0, "fsGroup": 2147483647 } } } }))]
#[case::no_spread(json!({ "spec": { "pod": { "topologySpread": [], "affinity": {}, "overrides": {} } } }))]
#[case::overrides(json!({ "spec": { "pod": { "overrides": { "spec": { "hostAliases": [{ "ip": "::1", "hostnames": ["a"] }] } } } } }))]
#[case::exposed_in_every_way(json!({ "spec": { "expose": {
    "service": { "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "externalTrafficPolicy": "Local",
        "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"], "annotations": { "a.b/c": "{\"json\": true}" } },
    "ingress": { "hosts": ["ws.example.com", "*.example.com"], "path": "/live", "className": "nginx" },
    "httpRoute": { "parentRefs": [{ "name": "a", "namespace": "b", "sectionName": "c", "port": 443 }], "requestTimeout": "0" } } } }))]
#[case::an_ipv6_only_service(json!({ "spec": { "expose": { "service": { "type": "NodePort", "ipFamilies": ["IPv6"],
    "ipFamilyPolicy": "SingleStack" } } } }))]
#[case::tokens(json!({ "spec": { "auth": { "jwt": { "keys": [{ "secret": { "name": "odin-jwt", "key": ".key" }, "id": "2026-11" },
    { "secret": { "name": "odin-jwt", "key": "b" } }], "algorithms": ["EdDSA", "HS256"], "issuer": "https://login.example.com/",
    "audience": ["prices", "my app"], "userClaim": "https://example.com/user", "channelsClaim": "channels", "setChannelsClaim": "tabs", "leeway": "0",
    "maxLifetime": "8784h" }, "anonymous": { "channels": ["public.>", "*.price"] }, "channels": [
    { "match": "user.{sub}.>", "set": true }, { "match": "desk.{claims.desk}.*", "if": { "role": "trader", "https://e/x": "händler" } },
    { "match": "a-{sub}-{claims.https://example.com/x}.>", "deny": true }, { "match": ">" }] } } }))]
#[case::keys_from_an_issuer(json!({ "spec": { "auth": { "jwt": { "jwks": { "url": "https://[fd00::1]:8443/a/b~c?app=1&x=%20",
    "caSecret": { "name": "issuer-ca" }, "refresh": "10s" }, "algorithms": ["RS256"], "leeway": "10m" },
    "anonymous": { "channels": [] } } } }))]
#[case::tokens_in_cookies(json!({ "spec": { "listener": { "allowedOrigins": ["https://app.example.com"] },
    "auth": { "jwt": { "jwks": { "url": "https://issuer/keys" }, "algorithms": ["RS256"], "cookie": "__Host-to.k_e~n" } } } }))]
#[case::tokens_that_allow_and_rules_that_deny(json!({ "spec": { "auth": { "jwt": { "jwks": { "url": "https://issuer/keys" },
    "algorithms": ["RS256"], "setChannelsClaim": "tabs" }, "channels": [{ "match": "a.>", "deny": true }] } } }))]
#[case::stopped(json!({ "spec": { "replicas": 0 } }))]
fn what_can_work_is_accepted_by_both(#[case] change: Value) {
    let manifest = changed(&change);
    assert_eq!(cel(&manifest, None), [""; 0]);
    assert_eq!(validated(&manifest), Ok(()));
}

#[rstest]
#[case::name(json!({ "spec": { "stream": { "name": "OTHER" } } }), "stream.name cannot change")]
#[case::storage(json!({ "spec": { "stream": { "storage": "Memory" } } }), "stream.storage cannot change")]
#[case::source(json!({ "spec": { "nats": null, "stream": null, "redis": { "servers": ["redis://r"], "channels": ["c"] } } }),
    "the source cannot change between NATS and Redis")]
fn what_nats_cannot_change_is_immutable(#[case] change: Value, #[case] message: &str) {
    let errors = cel(&changed(&change), Some(&sample()));
    assert!(errors.iter().any(|error| error.contains(message)), "{errors:?}");
}

#[test]
fn what_nats_can_change_may_change() {
    let change = json!({ "spec": { "replicas": 3, "stream": { "maxAge": "10m", "replicas": 3, "compression": "S2" } } });
    assert_eq!(cel(&changed(&change), Some(&sample())), [""; 0]);
}

#[test]
fn a_prefix_that_no_redis_channel_begins_with_is_refused() {
    for (channel, prefix, accepted) in [
        ("channel:trade:*", "channel.trade.", true),
        ("channel:trade:*", "channel.", true),
        ("*", "channel.trade.", true),
        ("channel:[ab]:x", "channel.a.", true),
        ("channel:trade:AAPL", "channel.trade.", true),
        ("channel:trade:*", "odin.token.", false),
        ("channel:trade", "channel.trade.", false),
    ] {
        let manifest = changed(
            &json!({ "spec": { "nats": null, "stream": null, "channels": { "stripPrefix": prefix },
            "redis": { "servers": ["redis://r"], "channels": [channel] } } }),
        );
        assert_eq!(validated(&manifest).is_ok(), accepted, "{channel} {prefix}");
    }
}

#[test]
fn all_errors_are_listed_at_once_with_their_path() {
    let manifest = changed(&json!({ "spec": {
        "listener": { "port": 9090 }, "stream": { "maxAge": "soon", "subjects": ["a.>", "a.b"] }, "channels": { "stripPrefix": "a" }
    }}));
    let errors = validated(&manifest).unwrap_err();
    for path in [
        "spec.stream.maxAge",
        "spec.stream.subjects[1]",
        "spec.channels.stripPrefix",
        "spec.listener.port",
    ] {
        assert!(errors.iter().any(|error| error.starts_with(path)), "{path}: {errors:?}");
    }
}

#[test]
fn an_unknown_field_is_refused_with_the_known_ones() {
    let errors =
        validated(&changed(&json!({ "spec": { "stream": { "maxage": "1s" } } }))).unwrap_err();
    assert!(errors[0].starts_with("spec.stream.maxage: unknown field; known are "), "{errors:?}");
    assert!(errors[0].contains("maxAge"), "{errors:?}");
}

#[test]
fn another_kind_is_refused() {
    let errors = validated(&changed(&json!({ "kind": "Gateway" }))).unwrap_err();
    assert_eq!(errors, ["kind: must be WsGateway"]);
}

/// What the schema leaves open is refused by `validate`, which the operator and `wsgw check` share.
#[rstest]
#[case::an_unknown_affinity(json!({ "affinity": { "nodeAffinty": {} } }), "spec.pod.affinity.nodeAffinty", "unknown to Kubernetes")]
#[case::a_typing_error_in_overrides(json!({ "overrides": { "spec": { "hostnetwork": true } } }),
    "spec.pod.overrides.spec.hostnetwork", "unknown to Kubernetes")]
#[case::a_label_by_the_back_door(json!({ "overrides": { "metadata": { "labels": { "app.kubernetes.io/instance": "x" } } } }),
    "spec.pod.overrides.metadata.labels.app.kubernetes.io/instance", "finds its pods")]
#[case::too_little_memory(json!({ "resources": { "limits": { "memory": "128Mi" } } }),
    "spec.pod.resources.limits.memory", "a pod of 10000 connections needs at least 294Mi")]
#[case::no_bytes(json!({ "resources": { "limits": { "memory": "99999Ei" } } }),
    "spec.pod.resources.limits.memory", "must be bytes such as 512Mi")]
fn pods_that_cannot_work_are_refused_with_path_and_number(
    #[case] pod: Value,
    #[case] path: &str,
    #[case] message: &str,
) {
    let manifest = changed(&json!({ "spec": { "pod": pod } }));
    assert_eq!(cel(&manifest, None), [""; 0]);
    let errors = validated(&manifest).unwrap_err();
    let told = errors.iter().any(|error| error.starts_with(path) && error.contains(message));
    assert!(told, "{errors:?}");
}

#[rstest]
#[case::cpu(json!({ "requests": { "cpu": 2 }, "limits": { "cpu": "1500m" } }),
    "spec.pod.resources.requests.cpu: must not exceed limits.cpu, which is 1500m; got 2: lower the request or raise the limit")]
#[case::memory(json!({ "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } }),
    "spec.pod.resources.requests.memory: must not exceed limits.memory, which is 1Gi; got 2Gi: lower the request or raise the limit")]
fn a_request_above_its_limit_is_refused_with_both_fields_and_values(
    #[case] resources: Value,
    #[case] error: &str,
) {
    let manifest = changed(&json!({ "spec": { "pod": { "resources": resources } } }));
    assert_eq!(validated(&manifest).unwrap_err(), [error]);
}

#[test]
fn errors_of_shape_and_broken_rules_are_reported_together_and_once_each() {
    let manifest = changed(&json!({ "spec": {
        "stream": { "maxmessages": 5, "maxAge": "soon", "name": null, "replicas": "three" },
        "nats": { "servers": ["nats"] },
        "capacity": { "connectionsPerPod": "many" },
    } }));
    let errors = parse_valid(&yaml::to_string(&manifest).unwrap()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    let expected = [
        "spec.stream.maxmessages",
        "spec.capacity.connectionsPerPod",
        "spec.stream.replicas",
        "spec.stream",
        "spec.nats.servers[0]",
        "spec.stream.maxAge",
    ];
    for path in expected {
        assert!(paths.contains(&path), "{path}: {errors:#?}");
    }
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
}

#[test]
fn without_a_source_everything_else_that_is_wrong_is_reported_too() {
    let manifest = changed(&json!({ "spec": {
        "nats": null, "capacity": { "connectionsPerPod": 0 }, "pod": { "labels": { "a b": "c" } },
        "listener": { "path": "ws" },
    } }));
    let errors = validated(&manifest).unwrap_err();
    for path in
        ["spec.nats", "spec.capacity.connectionsPerPod", "spec.pod.labels", "spec.listener.path"]
    {
        assert!(
            errors.iter().any(|error| error.starts_with(&format!("{path}: "))),
            "{path}: {errors:#?}"
        );
    }
}
