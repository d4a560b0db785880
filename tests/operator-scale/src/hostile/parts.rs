//! Parts of a specification that somebody has thought about for a while (pure).

use fastrand::Rng;
use serde_json::{Value, json};

use super::values::{deep, text};

fn one_of(mut from: Vec<Value>, rng: &mut Rng) -> Value {
    from.swap_remove(rng.usize(..from.len()))
}

/// Overrides that break the pod template, or try to.
pub(super) fn overrides(rng: &mut Rng) -> Value {
    let many: Vec<Value> =
        (0..400).map(|at| json!({ "name": format!("E{at}"), "value": "x".repeat(60) })).collect();
    one_of(
        vec![
            json!({ "spec": { "hostnetwork": true } }),
            json!({ "spec": { "hostname": "a b" } }),
            json!({ "spec": { "hostNetwork": true, "hostPID": true } }),
            json!({ "spec": { "containers": [{ "name": "gateway", "$patch": "delete" }] } }),
            json!({ "spec": { "containers": [] , "$patch": "replace" } }),
            json!({ "spec": { "$patch": "replace" } }),
            json!({ "spec": null }),
            json!({ "$patch": "delete" }),
            json!({ "spec": { "containers": [{ "name": "gateway", "image": "" }] } }),
            json!({ "spec": { "containers": [{ "name": "gateway", "ports": [{ "containerPort": 70_000 }] }] } }),
            json!({ "spec": { "containers": [{ "name": "gateway", "env": many }] } }),
            json!({ "spec": { "containers": [{ "name": "b" }, { "name": "b", "image": "i" }, { "name": "B_", "image": "i" }] } }),
            json!({ "spec": { "containers": [{ "image": "nameless" }] } }),
            json!({ "spec": { "initContainers": [{ "name": "i", "image": "i", "restartPolicy": "Sometimes" }] } }),
            json!({ "spec": { "restartPolicy": "Never" } }),
            json!({ "spec": { "terminationGracePeriodSeconds": -1 } }),
            json!({ "spec": { "volumes": [{ "name": "v", "hostPath": { "path": "/" }, "emptyDir": {} }] } }),
            json!({ "spec": { "volumes": [{ "name": "s", "secret": { "secretName": "somebody-elses" } }] } }),
            json!({ "spec": { "nodeSelector": { "a b": "c" } } }),
            json!({ "spec": { "priority": i64::MAX, "priorityClassName": "nobody-made-it" } }),
            json!({ "spec": { "serviceAccountName": "Not A Name" } }),
            json!({ "spec": { "tolerations": [{ "operator": "Exists", "value": "x" }] } }),
            json!({ "spec": { "securityContext": { "runAsUser": -5 } } }),
            json!({ "metadata": { "labels": { "app.kubernetes.io/instance": "another" } } }),
            json!({ "metadata": { "labels": { "a": text(rng) } } }),
            json!({ "metadata": { "name": "mine", "namespace": "kube-system" } }),
            // Deeper ones cannot be observed from here; the operator's own tests have one.
            deep(90),
            json!([1, 2, 3]),
        ],
        rng,
    )
}

/// Servers: of nobody, of too many, of no address at all. None is beyond this machine.
pub(super) fn servers(rng: &mut Rng) -> Value {
    one_of(
        vec![
            json!([]),
            json!(["nats://127.0.0.1:1"]),
            json!(["nats://127.0.0.1:0"]),
            json!(["nats://127.0.0.1:99999"]),
            json!(["nats://[::1]:4222"]),
            json!(["nats://[::1"]),
            json!(["nats://user:password@127.0.0.1:1"]),
            json!(["http://127.0.0.1:1"]),
            json!(["file:///etc/passwd"]),
            json!(["tls://127.0.0.1:1", "nats://127.0.0.1:1"]),
            json!(["127.0.0.1"]),
            json!(["nats://127.0.0.1:1/path?query#fragment"]),
            json!([format!("nats://{}.invalid", "a".repeat(240))]),
            json!(["nats://\u{202e}.invalid"]),
            json!(vec!["nats://127.0.0.1:1"; 100]),
            json!((1..=16).map(|port| format!("nats://127.0.0.1:{port}")).collect::<Vec<_>>()),
        ],
        rng,
    )
}

/// Subjects: overlapping, of JetStream itself, of too many tokens, too many.
pub(super) fn subjects(rng: &mut Rng, name: &str) -> Value {
    one_of(
        vec![
            json!([]),
            json!([">"]),
            json!(["*"]),
            json!(["$JS.API.>"]),
            json!(["$SYS.>"]),
            json!(["_INBOX.>"]),
            json!([format!("{name}.*.a"), format!("{name}.b.*")]),
            json!([format!("{name}.>"), format!("{name}.a")]),
            json!([format!("{name}.>"), format!("{name}.>")]),
            json!([vec!["a"; 200].join(".")]),
            json!([format!("{name}.{}", "x".repeat(5_000))]),
            json!([format!("{name}.*{}", ".*".repeat(14))]),
            json!((0..32).map(|at| format!("{name}.{at}.>")).collect::<Vec<_>>()),
            json!((0..300).map(|at| format!("{name}.{at}")).collect::<Vec<_>>()),
            json!([format!("{name}.{}", text(rng))]),
        ],
        rng,
    )
}

/// Fields that contradict each other, merged into a specification.
pub(super) fn contradictions(rng: &mut Rng) -> Value {
    one_of(
        vec![
            json!({ "redis": { "servers": ["redis://127.0.0.1:1"], "channels": ["a"] } }),
            json!({ "nats": null }),
            json!({ "stream": null }),
            json!({ "nats": null, "stream": null }),
            json!({ "nats": null, "stream": null, "redis": { "servers": ["redis://127.0.0.1:1"], "channels": ["a.*", "a.b"] } }),
            json!({ "autoscaling": { "minReplicas": 9, "maxReplicas": 2 } }),
            json!({ "autoscaling": { "minReplicas": 1, "maxReplicas": 1000, "targetConnectionsPerPod": 1_000_000 } }),
            json!({ "stream": { "adoptionPolicy": "Observe", "deletionPolicy": "Delete" } }),
            json!({ "stream": { "deletionPolicy": "Delete" } }),
            json!({ "stream": { "replicas": 5 } }),
            json!({ "stream": { "maxBytes": "7Ei" } }),
            json!({ "stream": { "maxAge": "100ms", "duplicateWindow": "24h" } }),
            json!({ "stream": { "maxMessageSize": "64Mi" } }),
            json!({ "capacity": { "connectionsPerPod": 1, "fallbacksPerPod": 1_000_000 } }),
            json!({ "capacity": { "connectionsPerPod": 1_000_000, "subscriptionsPerConnection": 10_000, "outboxPerConnection": "256Mi" } }),
            json!({ "pod": { "resources": { "limits": { "memory": "1Mi" } } } }),
            json!({ "pod": { "resources": { "requests": { "memory": "2Gi" }, "limits": { "memory": "1Gi" } } } }),
            json!({ "pod": { "resources": { "limits": { "example.com/gpu": "0.5" } } } }),
            json!({ "nats": { "domain": "a", "apiPrefix": "b" } }),
            json!({ "nats": { "apiPrefix": "nobody.listens" } }),
            json!({ "nats": { "credentials": { "name": "a", "token": { "name": "b" } } } }),
            json!({ "nats": { "credentials": { "name": "nobody-made-it" } } }),
            json!({ "nats": { "tls": { "caSecret": { "name": "nobody-made-it" } } } }),
            json!({ "listener": { "port": 9090 } }),
            json!({ "listener": { "path": "/health" } }),
            json!({ "listener": { "heartbeat": { "interval": "1s", "timeout": "1h" } } }),
            json!({ "channels": { "stripPrefix": "nowhere." } }),
            json!({ "channels": { "rules": [{ "match": ">" }, { "match": "a" }] } }),
            json!({ "paused": true }),
            json!({ "replicas": 1000 }),
            json!({ "expose": { "ingress": { "hosts": ["*.*.example.com"] } } }),
            json!({ "expose": { "ingress": { "hosts": [], "path": "//" } } }),
            json!({ "expose": { "service": { "type": "ExternalName" } } }),
            json!({ "expose": { "service": { "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"] } } }),
            json!({ "expose": { "service": { "type": "ClusterIP", "loadBalancerClass": "a/b" } } }),
            json!({ "expose": { "httpRoute": { "parentRefs": [] } } }),
            json!({ "expose": { "httpRoute": { "parentRefs": [{ "name": "g" }], "hostnames": ["-"] } } }),
        ],
        rng,
    )
}

/// What stands in the metadata besides the name.
pub(super) fn metadata(rng: &mut Rng) -> Value {
    one_of(
        vec![
            json!({ "annotations": { "a": "x".repeat(250_000) } }),
            json!({ "annotations": { "a": "x".repeat(263_000) } }),
            json!({ "annotations": { "wsgateway.dev/reconcile-at": text(rng) } }),
            json!({ "annotations": { "wsgateway.dev/take-over-from": text(rng) } }),
            json!({ "annotations": { "wsgateway.dev/force-delete": "true" } }),
            json!({ "labels": (0..2_000).map(|at| (format!("l{at}"), json!("v"))).collect::<Value>() }),
            json!({ "labels": { "app.kubernetes.io/managed-by": "wsgateway-operator", "app.kubernetes.io/instance": "another" } }),
            json!({ "labels": { "a": text(rng) } }),
            json!({ "generation": -7, "uid": "mine", "resourceVersion": "5", "creationTimestamp": "1970-01-01T00:00:00Z" }),
            json!({ "resourceVersion": "" , "selfLink": "/../" }),
            json!({ "deletionTimestamp": "1970-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0 }),
            json!({ "managedFields": [{ "manager": "wsgateway", "operation": "Apply", "apiVersion": "wsgateway.dev/v1alpha1",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:stream": {} } } }] }),
            json!({ "namespace": "kube-system" }),
            json!({ "namespace": text(rng) }),
        ],
        rng,
    )
}

/// Names, of which some are taken: the longest, and such as other objects have.
pub(super) fn name(rng: &mut Rng, name: &str) -> Value {
    one_of(
        vec![
            json!(format!("{name}-{}", "x".repeat(50 - name.len() - 1))),
            json!(format!("{name}-{}", "x".repeat(51 - name.len() - 1))),
            json!(format!("{name}-admin")),
            json!(format!("{name}-gateway")),
            json!(format!("{name}-live")),
            json!(format!("{name}-config-0123abcd")),
            json!(format!("{name}--a")),
            json!(format!("{name}-")),
            json!(format!("-{name}")),
            json!(format!("{name}.a")),
            json!(format!("{name}_a")),
            json!(name.to_uppercase()),
            json!("1".to_owned() + name),
            json!(format!("{name}{}", text(rng))),
            json!("x".repeat(254)),
            json!(""),
            json!(7),
            Value::Null,
        ],
        rng,
    )
}
