//! `wsgw plan` says of each field what the operator then does: its word is held against the pod template itself.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use harness::{Nats, Scratch, merge, repository, wsgw};
use serde_json::{Value, json};
use wsgateway_config::yaml;
use wsgateway_crds::{WsGateway, validate};

/// A changed field each, all of which are valid in the sample.
fn changes() -> Vec<Value> {
    let pod = |value: Value| json!({ "pod": value });
    let expose = |value: Value| json!({ "expose": value });
    vec![
        json!({ "replicas": 5 }),
        json!({ "class": "internal" }),
        json!({ "paused": true }),
        json!({ "logLevel": "Debug" }),
        json!({ "nats": { "servers": ["nats://elsewhere:4222"] } }),
        json!({ "nats": { "credentials": { "userPassword": { "name": "odin-nats" } } } }),
        json!({ "stream": { "maxAge": "40s" } }),
        json!({ "listener": { "path": "/other" } }),
        json!({ "listener": { "port": 8090 } }),
        json!({ "listener": { "statusPages": false } }),
        json!({ "capacity": { "connectionsPerPod": 7_000 } }),
        json!({ "rateLimits": { "commandsPerConnection": { "perSecond": 7 } } }),
        json!({ "slowConsumer": { "grace": "3s" } }),
        json!({ "history": { "messages": 1_000 } }),
        json!({ "history": { "bytes": "32Mi" } }),
        json!({ "channels": { "rules": [{ "match": "*.price", "delivery": "Latest" }] } }),
        json!({ "rollout": { "drain": "5m" } }),
        json!({ "rollout": { "connectionsPerMinute": 1_000 } }),
        json!({ "rebalance": { "mode": "Off" } }),
        json!({ "disruption": { "connectionsPerMinute": 500 } }),
        json!({ "disruption": { "haltOnLoss": false, "maxPerClientPerHour": 4 } }),
        json!({ "autoscaling": { "minReplicas": 2, "maxReplicas": 9 } }),
        json!({ "monitoring": { "serviceMonitor": "Never" } }),
        json!({ "network": { "clientNetworks": ["10.0.0.0/8"] } }),
        expose(json!({ "service": { "type": "NodePort" } })),
        expose(json!({ "ingress": { "hosts": ["odin.example.com"] } })),
        json!({ "auth": auth() }),
        pod(json!({ "image": "example.com/gateway:other" })),
        pod(json!({ "imagePullPolicy": "Always" })),
        pod(json!({ "imagePullSecrets": [{ "name": "pull" }] })),
        pod(json!({ "resources": { "requests": { "cpu": "1" } } })),
        pod(json!({ "resources": { "limits": { "memory": "2Gi" } } })),
        pod(json!({ "nodeSelector": { "disk": "fast" } })),
        pod(json!({ "tolerations": [{ "key": "dedicated", "operator": "Exists" }] })),
        pod(json!({ "priorityClassName": "high" })),
        pod(json!({ "labels": { "team": "trading" } })),
        pod(json!({ "annotations": { "example.com/team": "trading" } })),
        pod(json!({ "serviceAccountName": "mine" })),
        pod(json!({ "securityContext": { "fsGroup": 7 } })),
        pod(json!({ "overrides": { "spec": { "dnsPolicy": "Default" } } })),
        pod(json!({ "topologySpread": [] })),
    ]
}

fn auth() -> Value {
    let key = json!({ "secret": { "name": "odin-jwt", "key": "key.pem" } });
    json!({ "jwt": { "keys": [key], "algorithms": ["RS256"] } })
}

/// A changed field each of a sample with [`auth`].
fn changes_of_auth() -> Vec<Value> {
    let key = |key: &str| json!({ "secret": { "name": "odin-jwt", "key": key } });
    let jwt = |value: Value| json!({ "auth": { "jwt": value } });
    vec![
        json!({ "auth": null }),
        json!({ "auth": { "anonymous": { "channels": ["public.>"] } } }),
        json!({ "auth": { "channels": [{ "match": "user.{sub}.>" }] } }),
        jwt(json!({ "issuer": "https://login.example.com/" })),
        jwt(json!({ "leeway": "1m" })),
        jwt(json!({ "algorithms": ["ES256"] })),
        jwt(json!({ "keys": [key("key.pem"), key("next.pem")] })),
        jwt(json!({ "keys": [{ "secret": { "name": "odin-jwt", "key": "key.pem" }, "id": "a" }] })),
        jwt(json!({ "jwks": { "url": "https://login.example.com/keys" } })),
        jwt(
            json!({ "jwks": { "url": "https://login.example.com/keys", "caSecret": { "name": "ca" } } }),
        ),
    ]
}

fn hash(manifest: &Value) -> Result<String> {
    let gateway: WsGateway = serde_json::from_value(manifest.clone())?;
    let valid = validate(&gateway).map_err(|errors| anyhow::anyhow!("{manifest}: {errors:?}"))?;
    Ok(operator::template_hash(&valid, "example.com/gateway:test")?)
}

#[tokio::test]
async fn a_field_replaces_pods_if_and_only_if_plan_says_so() -> Result<()> {
    let (nats, scratch) = (Nats::start().await?, Scratch::new("plan")?);
    let sample = std::fs::read_to_string(repository().join("manifests/samples/odin.yaml"))?;
    let before: Value = yaml::from_str(&sample)?;
    let mut with_auth = before.clone();
    with_auth["spec"]["auth"] = auth();
    let changes: Vec<(&Value, Value)> = (changes().into_iter().map(|change| (&before, change)))
        .chain(changes_of_auth().into_iter().map(|change| (&with_auth, change)))
        .collect();
    let (mut wrong, mut replacing) = (Vec::new(), 0);
    for (before, change) in &changes {
        let before = *before;
        let old = scratch.write("before.json", before.to_string())?;
        let mut after = before.clone();
        merge(&mut after["spec"], change);
        anyhow::ensure!(after != *before, "{change} changes nothing");
        let new = scratch.write("after.json", after.to_string())?;
        let output = wsgw()?
            .args(["plan", "--nats", &nats.url(), "-f"])
            .arg(&new)
            .arg("--before")
            .arg(&old)
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = String::from_utf8(output.stdout)?;
        let first = text
            .lines()
            .next()
            .with_context(|| format!("{change}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let is_replaced = hash(before)? != hash(&after)?;
        replacing += usize::from(is_replaced);
        if first.starts_with("pods would be replaced") != is_replaced {
            wrong.push(format!("{change}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(replacing > 10 && changes.len() - replacing > 10, "{replacing} of {}", changes.len());
    Ok(())
}
