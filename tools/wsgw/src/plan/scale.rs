//! What another number of pods would do to clients, by the rules that the operator follows.

use std::fmt::Write as _;

use wsgateway_crds::{RebalanceMode, ValidGateway};

use super::pods::{Now, minutes};

/// Of pods that go, as many as a person reads.
const NAMED: usize = 10;

/// Pods that there are to be once `after` is applied to what runs as `before`. An autoscaler goes on from the number that it
/// has set.
pub(super) fn wanted(before: &ValidGateway, after: &ValidGateway) -> i32 {
    match &after.autoscaling {
        Some(bounds) if before.autoscaling.is_some() && before.replicas > 0 => {
            before.replicas.clamp(bounds.min, bounds.max)
        }
        _ => after.effective_replicas(),
    }
}

/// Writes what another number of pods, or other bounds of the autoscaler, would do, if the pods stay what they are.
pub(super) fn describe(before: &ValidGateway, after: &ValidGateway, now: &Now, text: &mut String) {
    let (from, to) = (before.effective_replicas(), wanted(before, after));
    let bounds = |gateway: &ValidGateway| {
        let bounds = gateway.autoscaling.as_ref();
        bounds.map_or("none".to_owned(), |bounds| format!("{} to {} pods", bounds.min, bounds.max))
    };
    let (old, new) = (bounds(before), bounds(after));
    // Writing to a String cannot fail.
    if old != new {
        let _ = writeln!(text, "autoscaling: {old} -> {new}");
    }
    if from == to {
        if old != new {
            let _ = writeln!(text, "  {to} pods stay wanted, and no client moves for it");
        }
        return;
    }
    let _ = writeln!(text, "replicas: {from} -> {to}");
    let told = if to == 0 {
        "all pods stop at once, each handing its clients over as it ends: nobody is served then"
            .to_owned()
    } else if to < from {
        fewer(after, from, to, now)
    } else {
        more(after, to, now)
    };
    let _ = writeln!(text, "  {told}");
}

/// Which pods go, and with whom.
fn fewer(after: &ValidGateway, from: i32, to: i32, now: &Now) -> String {
    let count = usize::try_from(from.max(now.pods) - to).unwrap_or_default();
    let mut pods: Vec<(i64, &str)> =
        now.each.iter().filter_map(|pod| Some((pod.connections?, pod.name.as_str()))).collect();
    if pods.len() < now.each.len() || pods.len() < count || now.more > 0 {
        return format!(
            "{count} pods would go, the emptiest first, and their clients move once each"
        );
    }
    pods.sort_unstable();
    let (go, stay) = pods.split_at(count);
    let named = go.iter().take(NAMED).map(|(clients, pod)| format!("{pod} ({clients} clients)"));
    let mut named = named.collect::<Vec<_>>().join(", ");
    if go.len() > NAMED {
        let _ = write!(named, " and {} more", go.len() - NAMED);
    }
    let clients: i64 = go.iter().map(|(clients, _)| clients).sum();
    let all: i64 = clients + stay.iter().map(|(clients, _)| clients).sum::<i64>();
    let capacity = i64::from(after.derived.connections).saturating_mul(to.into());
    if all > capacity {
        return format!(
            "{count} pods would be too many, the emptiest first: {named}; but those that stay have room for {capacity} \
             clients, and there are {all}: as many pods stay as they need"
        );
    }
    let pace = after.scale_down_per_minute;
    format!(
        "{count} pods would go, the emptiest first: {named}; {clients} clients would move, within about {} at {pace} a minute \
         (spec.autoscaling.scaleDown.connectionsPerMinute)",
        minutes(clients, pace)
    )
}

/// Whom new pods get from those that run.
fn more(after: &ValidGateway, to: i32, now: &Now) -> String {
    let rebalance = &after.rebalance;
    let on_demand = match rebalance.mode {
        RebalanceMode::Off => {
            return "new pods would get new clients only (spec.rebalance.mode is Off)".to_owned();
        }
        RebalanceMode::Auto => "",
        RebalanceMode::Manual => ", once wsgateway.dev/rebalance-at is set",
    };
    let counts: Option<Vec<u64>> =
        now.each.iter().map(|pod| u64::try_from(pod.connections?).ok()).collect();
    let Some(counts) = counts.filter(|counts| !counts.is_empty() && now.more == 0) else {
        return format!("clients would be spread over the new pods, too{on_demand}");
    };
    let all: u64 = counts.iter().sum();
    let even = rebalance.even(all, u64::try_from(to).unwrap_or(1));
    let moved: u64 =
        counts.iter().filter(|count| **count > even.most).map(|count| count - even.mean).sum();
    if all < rebalance.min_connections || moved == 0 {
        return format!(
            "no client would move: {all} are too few, or spread evenly enough (spec.rebalance)"
        );
    }
    let pace = rebalance.per_minute;
    let clients = i64::try_from(moved).unwrap_or(i64::MAX);
    format!(
        "about {moved} of {all} clients would move to the new pods{on_demand}, within about {} at {pace} a minute \
         (spec.rebalance.connectionsPerMinute)",
        minutes(clients, pace)
    )
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Millis;
    use wsgateway_crds::ValidAutoscaling;

    use super::super::pods::Pod;
    use super::*;
    use crate::manifest::Manifest;

    fn gateway(replicas: i32) -> ValidGateway {
        let mut gateway = Manifest::demo().gateway().unwrap();
        gateway.replicas = replicas;
        gateway
    }

    fn autoscaled(replicas: i32, min: i32, max: i32) -> ValidGateway {
        let (cpu_percent, stabilization) = (None, Millis::from_secs(300));
        let bounds =
            ValidAutoscaling { min, max, cpu_percent, stabilization, schedule: Vec::new() };
        ValidGateway { autoscaling: Some(bounds), ..gateway(replicas) }
    }

    fn now(counts: &[i64]) -> Now {
        let pod = |(number, count): (usize, &i64)| Pod {
            name: format!("pod-{number}"),
            connections: Some(*count).filter(|count| *count >= 0),
        };
        Now {
            pods: i32::try_from(counts.len()).unwrap(),
            connections: Some(counts.iter().sum()),
            each: counts.iter().enumerate().map(pod).collect(),
            more: 0,
        }
    }

    fn told(before: &ValidGateway, after: &ValidGateway, counts: &[i64]) -> String {
        let mut text = String::new();
        describe(before, after, &now(counts), &mut text);
        text
    }

    #[test]
    fn pods_that_go_are_named_with_their_clients_the_emptiest_first() {
        let text = told(&gateway(4), &gateway(2), &[900, 8_000, 700, 6_000]);
        assert_eq!(
            text,
            "replicas: 4 -> 2\n  2 pods would go, the emptiest first: pod-2 (700 clients), pod-0 (900 clients); 1600 clients \
             would move, within about a minute at 6000 a minute (spec.autoscaling.scaleDown.connectionsPerMinute)\n"
        );
        let full = told(&gateway(3), &gateway(1), &[9_000, 8_000, 7_000]);
        assert!(full.contains("room for 10000 clients, and there are 24000"), "{full}");
        let unknown = told(&gateway(2), &gateway(1), &[900, -1]);
        assert!(unknown.contains("1 pods would go, the emptiest first, and their"), "{unknown}");
        assert!(told(&gateway(2), &gateway(0), &[9, 9]).contains("all pods stop at once"));
    }

    #[test]
    fn new_pods_get_what_a_rebalance_would_give_them() {
        let counts = [4_000, 4_000];
        let text = told(&gateway(2), &gateway(4), &counts);
        assert!(text.contains(
            "about 4000 of 8000 clients would move to the new pods, within about a minute"
        ));
        let mut off = gateway(4);
        off.rebalance.mode = RebalanceMode::Off;
        assert!(told(&gateway(2), &off, &counts).contains("new clients only"));
        off.rebalance.mode = RebalanceMode::Manual;
        assert!(
            told(&gateway(2), &off, &counts).contains("once wsgateway.dev/rebalance-at is set")
        );
        let few = told(&gateway(2), &gateway(4), &[40, 40]);
        assert!(few.contains("no client would move: 80 are too few"), "{few}");
    }

    #[test]
    fn the_autoscaler_s_number_counts_and_not_that_of_the_manifest() {
        let (before, same) = (autoscaled(5, 2, 9), autoscaled(1, 2, 12));
        let text = told(&before, &same, &[10; 5]);
        assert_eq!(
            text,
            "autoscaling: 2 to 9 pods -> 2 to 12 pods\n  5 pods stay wanted, and no client moves for it\n"
        );
        let lower = told(&before, &autoscaled(1, 1, 3), &[10; 5]);
        assert!(lower.contains("replicas: 5 -> 3\n  2 pods would go"), "{lower}");
        assert_eq!(told(&before, &autoscaled(1, 2, 9), &[10; 5]), "");
        let on = told(&gateway(1), &autoscaled(1, 2, 9), &[10]);
        assert!(on.starts_with("autoscaling: none -> 2 to 9 pods\nreplicas: 1 -> 2\n"), "{on}");
    }
}
