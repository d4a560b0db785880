//! The pages as people see them.

use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use super::*;

const TERMINAL: Terminal = Terminal { width: None, height: None, color: false };

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-02T03:00:00Z" })
}

fn account(name: &str, status: Value) -> Account {
    let gateway: WsGateway = serde_json::from_value(json!({
        "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway",
        "metadata": { "name": name, "namespace": "trading", "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "replicas": 3, "nats": { "servers": ["nats://n:4222"] },
            "stream": { "name": "ODIN", "subjects": ["odin.>"] } },
        "status": status,
    }))
    .unwrap();
    Account::of(&gateway)
}

fn rolling() -> Account {
    account(
        "odin",
        json!({
            "observedGeneration": 2, "replicas": 4, "readyReplicas": 2, "connections": 21_000,
            "capacityPercent": 105, "numbersTime": "2026-01-02T03:03:50Z",
            "endpoints": { "internal": "odin.trading.svc:8080" },
            "stream": { "name": "ODIN", "epoch": "e1", "messages": 1_234_567, "bytes": 52_428_800, "firstSequence": 1,
                "lastSequence": 1_234_567, "consumers": 3, "ownership": "Owned" },
            "pods": [
                { "name": "odin-gateway-1-a", "node": "n1", "state": "Full", "connections": 10_000, "source": "live" },
                { "name": "odin-gateway-2-b", "state": "Starting", "lagMessages": 4_000,
                    "problem": "its image cannot be pulled: check spec.pod.image" },
            ],
            "disruptions": [
                { "kind": "Rollout", "began": "2026-01-02T03:00:00Z", "ended": "2026-01-02T03:01:30Z", "clients": 20_000,
                    "recovered": 19_999, "lost": 1, "refused": 0, "awayP99Ms": 500 },
                { "kind": "PodStopped", "began": "2026-01-02T03:03:00Z", "clients": 12, "recovered": 0, "lost": 0 },
            ],
            "halt": { "kind": "Rollout", "template": "t", "since": "2026-01-02T03:01:00Z", "clients": 20_000,
                "recovered": 10, "lost": 1_500, "refused": 2 },
            "conditions": [
                condition("Ready", "True", "Degraded", "2 of 3 pods serve"),
                condition("Degraded", "True", "PodsMissing", "a pod does not start"),
                condition("Progressing", "True", "RollingOut", "1 of 3 pods replaced"),
            ],
        }),
    )
}

fn now() -> Timestamp {
    "2026-01-02T03:04:00Z".parse().unwrap()
}

#[test]
fn everything_about_one() {
    insta::assert_snapshot!(one(&rolling(), now(), TERMINAL));
    insta::assert_snapshot!(one(&rolling(), now(), Terminal { width: Some(60), ..TERMINAL }));
}

#[test]
fn a_row_for_each_and_what_is_the_matter() {
    let unseen = account("prices", json!(null));
    let message = "no NATS server answers at nats://n:4222: check spec.nats.servers";
    let down = account(
        "news",
        json!({
            "observedGeneration": 2,
            "conditions": [condition("Ready", "False", "NatsUnreachable", message)],
        }),
    );
    let accounts = [rolling(), unseen, down];
    insta::assert_snapshot!(all(&accounts, true, Format::Wide, now(), TERMINAL));
    insta::assert_snapshot!(all(
        &accounts,
        false,
        Format::Table,
        now(),
        Terminal { width: Some(20), ..TERMINAL }
    ));
}

#[test]
fn no_line_is_longer_than_the_terminal() {
    use unicode_width::UnicodeWidthStr as _;
    for width in 20..130 {
        let terminal = Terminal { width: Some(width), ..TERMINAL };
        let pages = [
            one(&rolling(), now(), terminal),
            all(&[rolling()], true, Format::Wide, now(), terminal),
        ];
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.width() <= width, "{width}: {line:?}");
        }
    }
}

#[test]
fn the_fields_for_programs_are_stable() {
    insta::assert_yaml_snapshot!(rolling());
}
