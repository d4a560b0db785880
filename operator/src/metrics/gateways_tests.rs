use std::time::Duration;

use prometheus::{Registry, TextEncoder};
use wsgateway_crds::Ownership;

use super::*;
use crate::fleet::Pace;

struct Rig {
    known: Arc<Gateways>,
    queue: Arc<Queue>,
    registry: Registry,
}

fn rig() -> Rig {
    let running = prometheus::IntGauge::new("running", "running").unwrap();
    let (known, queue) = (Arc::<Gateways>::default(), Arc::new(Queue::new(running)));
    let pace = Pace { poll: Duration::from_secs(10), numbers: Duration::from_secs(60) };
    let (store, _writer) = kube::runtime::reflector::store();
    let shared = (Arc::clone(&known), Arc::clone(&queue));
    let pods = Arc::new(Pods::new(pace));
    let collector = GatewayCollector::new(shared, pods, store, Box::new(|| true)).unwrap();
    let registry = Registry::new();
    registry.register(Box::new(collector)).unwrap();
    Rig { known, queue, registry }
}

impl Rig {
    fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    fn enter(&self, name: &str, stream: Option<&StreamStatus>) {
        let condition = r#"[{ "type": "Ready", "status": "True", "reason": "AsSpecified", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z" }, { "type": "Foreign", "status": "True",
            "reason": "", "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z" }]"#;
        let status = WsGatewayStatus {
            conditions: serde_json::from_str(condition).unwrap(),
            ..WsGatewayStatus::default()
        };
        let halted = moves::Stage::Halted(wsgateway_crds::DisruptionKind::ScaleDown);
        let found = Found { wanted: 3, bounds: Some((2, 5)), moves: halted, ..Found::default() };
        self.known.enter(&Name::new("trading", name), found, &status, stream);
    }
}

fn stream() -> StreamStatus {
    StreamStatus {
        name: "S".into(),
        epoch: "e".into(),
        messages: 7,
        bytes: 70,
        first_sequence: 1,
        last_sequence: 9,
        consumers: 2,
        ownership: Ownership::Owned,
    }
}

#[test]
fn a_wsgateway_has_its_series_until_it_is_deleted() {
    let rig = rig();
    rig.enter("odin", Some(&stream()));
    // NATS did not answer this time.
    rig.enter("odin", None);
    let text = rig.text();
    for line in [
        r#"gateway_condition{condition="Ready",gateway="odin",namespace="trading"} 1"#,
        r#"gateway_replicas_wanted{gateway="odin",namespace="trading"} 3"#,
        r#"gateway_replicas_min{gateway="odin",namespace="trading"} 2"#,
        r#"gateway_replicas_max{gateway="odin",namespace="trading"} 5"#,
        r#"gateway_pods{gateway="odin",namespace="trading",state="serving"} 0"#,
        r#"gateway_stream_last_sequence{gateway="odin",namespace="trading"} 9"#,
        r#"gateway_plan{gateway="odin",namespace="trading",plan="moves",result="halted"} 1"#,
        r#"gateway_plan{gateway="odin",namespace="trading",plan="rollout",result="settled"} 1"#,
        r#"gateway_plan{gateway="odin",namespace="trading",plan="rollout",result="moving"} 0"#,
        "wsgateway_operator_gateways 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("Foreign"), "{text}");
    rig.known.forget(&Name::new("trading", "odin"));
    let text = rig.text();
    assert!(!text.contains("odin") && text.contains("wsgateway_operator_gateways 0"), "{text}");
}

#[test]
fn whoever_makes_wsgateways_does_not_make_series() {
    let rig = rig();
    (0..MOST + 50).for_each(|number| rig.enter(&format!("odin-{number}"), None));
    let text = rig.text();
    let wanted = text.lines().filter(|line| line.contains("gateway_replicas_wanted{")).count();
    assert_eq!(wanted, MOST);
    assert!(text.contains(&format!("wsgateway_operator_gateways {}", MOST + 50)));
    rig.known.forget(&Name::new("trading", "odin-0"));
    rig.enter(&format!("odin-{MOST}"), None);
    assert!(rig.text().contains(&format!("\"odin-{MOST}\"")), "there is place again");
}

#[test]
fn those_that_were_deleted_before_their_turn_do_not_wait() {
    let rig = rig();
    rig.queue.wait(Name::new("trading", "odin"));
    assert!(rig.text().contains("wsgateway_operator_queue_depth 0"));
}
