//! What `wsgw drain` says (pure).

use kube::core::Status;
use wsgateway_crds::{DisruptionStatus, WsGateway};

use crate::screen::{Tone, count};

/// How many clients a pod has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clients {
    /// As it answered.
    Now(u64),
    /// As the status has it, which follows within a minute.
    Lately(u64),
    Unknown,
}

/// What is about to happen.
pub(super) fn plan(pod: &str, gateway: &WsGateway, clients: Clients, is_leaving: bool) -> String {
    let clients = match clients {
        Clients::Now(clients) => format!("{} clients", count(clients)),
        Clients::Lately(clients) => {
            format!("about {} clients (as the status has it)", count(clients))
        }
        Clients::Unknown => "clients (it is not known how many)".to_owned(),
    };
    let status = gateway.status.as_ref();
    let serving = status.map_or(0, |status| status.ready_replicas);
    let others = match serving {
        ..=1 => "no other pod serves meanwhile, until the Deployment has started one".to_owned(),
        serving => format!("{} other pods serve meanwhile{}", serving - 1, room(gateway)),
    };
    let verb = if is_leaving { "is asking" } else { "would ask" };
    let rollout = &gateway.spec.rollout;
    format!(
        "pod {pod} of WsGateway {} {verb} {clients} to reconnect, {} a minute and within {} (spec.rollout), then stops; {others}",
        gateway.metadata.name.as_deref().unwrap_or_default(),
        count(rollout.connections_per_minute),
        rollout.drain
    )
}

/// How full the others become is what an operator of the fleet has to know.
fn room(gateway: &WsGateway) -> String {
    let Some(status) = &gateway.status else { return String::new() };
    let places = i64::from(gateway.spec.capacity.connections_per_pod);
    let places = places * i64::from(status.ready_replicas - 1);
    match status.connections {
        Some(connections) if places > 0 && connections > places => {
            format!(
                ", and are full before all of them have come: {} places for {}",
                count(places),
                count(connections)
            )
        }
        Some(connections) if places > 0 => {
            format!(", at {} % of their places then", connections * 100 / places)
        }
        _ => String::new(),
    }
}

/// What forbids an eviction.
pub(super) fn budget(status: &Status, gateway: &str) -> String {
    let causes =
        status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let causes: Vec<&str> = causes.iter().map(|cause| cause.message.as_str()).collect();
    let why = if causes.is_empty() { status.message.clone() } else { causes.join("; ") };
    format!("PodDisruptionBudget {gateway}-gateway allows no pod less at this moment ({why})")
}

/// What clients were put to.
pub(super) fn cost(entry: &DisruptionStatus) -> (Tone, String) {
    let text = format!(
        "{} clients were moved, {} resumed and missed nothing, {} lost messages, {} were refused",
        count(entry.clients),
        count(entry.recovered),
        count(entry.lost),
        count(entry.refused)
    );
    (if entry.lost + entry.refused > 0 { Tone::Warn } else { Tone::Good }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(serving: i32, connections: i64) -> WsGateway {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": { "name": "odin" },
            "spec": { "nats": { "servers": ["nats://n:4222"] }, "stream": { "name": "S", "subjects": ["s.>"] } },
            "status": { "replicas": serving, "readyReplicas": serving, "connections": connections },
        }))
        .unwrap()
    }

    #[test]
    fn how_full_the_others_become_is_said_before() {
        let said = |serving, connections| {
            plan("p", &gateway(serving, connections), Clients::Now(1_000), false)
        };
        assert!(
            said(3, 9_000).contains("1,000 clients")
                && said(3, 9_000).contains("at 45 % of their places")
        );
        assert!(said(2, 19_000).contains("10,000 places for 19,000"), "{}", said(2, 19_000));
        assert!(said(1, 9).contains("no other pod serves meanwhile"), "{}", said(1, 9));
        assert!(said(1, 9).contains("6,000 a minute and within 10m"), "{}", said(1, 9));
        assert!(
            plan("p", &gateway(2, 3), Clients::Unknown, true)
                .contains("is asking clients (it is not known")
        );
    }
}
