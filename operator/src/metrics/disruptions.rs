//! What clients are put to, for Prometheus, by WsGateway. A WsGateway that is gone takes its series along; of more than
//! [`MOST`] the others share one set of series without a name, so that nobody who makes WsGateways makes series.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use wsgateway_crds::DisruptionKind;

use super::MOST;
use crate::wake::Name;

const KINDS: [DisruptionKind; 4] = [
    DisruptionKind::Rollout,
    DisruptionKind::ScaleDown,
    DisruptionKind::Rebalance,
    DisruptionKind::PodStopped,
];
const OUTCOMES: [&str; 2] = ["recovered", "gap"];

/// Series of disruptions. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    begun: IntCounterVec,
    clients: IntCounterVec,
    away: GaugeVec,
    halted: IntGaugeVec,
    named: Arc<Mutex<HashSet<Name>>>,
}

impl Meters {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = |name: &str, help| Opts::new(format!("wsgateway_operator_{name}"), help);
        let meters = Self {
            begun: IntCounterVec::new(
                options("disruptions_total", "Times that pods handed clients over, by what for."),
                &["namespace", "gateway", "kind"],
            )?,
            clients: IntCounterVec::new(
                options(
                    "disruption_clients_total",
                    "Clients that resumed meanwhile, by whether they missed messages.",
                ),
                &["namespace", "gateway", "kind", "outcome"],
            )?,
            away: GaugeVec::new(
                options(
                    "disruption_away_p99_seconds",
                    "Time without messages of 99 of 100 clients at most, the last time.",
                ),
                &["namespace", "gateway", "kind"],
            )?,
            halted: IntGaugeVec::new(
                options(
                    "disruption_halted",
                    "1 while clients are not moved since some missed messages.",
                ),
                &["namespace", "gateway"],
            )?,
            named: Arc::default(),
        };
        registry.register(Box::new(meters.begun.clone()))?;
        registry.register(Box::new(meters.clients.clone()))?;
        registry.register(Box::new(meters.away.clone()))?;
        registry.register(Box::new(meters.halted.clone()))?;
        Ok(meters)
    }

    /// Gives a WsGateway its series, at 0, unless it is one too many.
    pub(crate) fn enter(&self, key: &Name) {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        {
            let mut named = self.lock();
            if named.contains(key) || named.len() >= MOST {
                return;
            }
            named.insert(key.clone());
        }
        self.halted.with_label_values(&[namespace, name]).set(0);
        for kind in KINDS.map(label) {
            self.begun.with_label_values(&[namespace, name, kind]);
            for outcome in OUTCOMES {
                self.clients.with_label_values(&[namespace, name, kind, outcome]);
            }
        }
    }

    /// Counts the first client that is moved for something.
    pub(crate) fn begun(&self, key: &Name, kind: DisruptionKind) {
        let [namespace, name] = &self.labels(key);
        self.begun.with_label_values(&[namespace, name, label(kind)]).inc();
    }

    /// Counts clients that resumed, without and with a gap.
    pub(crate) fn resumed(&self, key: &Name, kind: DisruptionKind, counts: [u64; 2]) {
        if counts == [0, 0] {
            return;
        }
        let [namespace, name] = &self.labels(key);
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            let labels = [namespace, name, label(kind), outcome];
            self.clients.with_label_values(&labels).inc_by(count);
        }
    }

    /// Notes how long clients were away, once that is over.
    pub(crate) fn away(&self, key: &Name, kind: DisruptionKind, p99_ms: i64) {
        let [namespace, name] = &self.labels(key);
        // Beyond the last bound nothing is known.
        let seconds = if p99_ms == i64::MAX { f64::INFINITY } else { p99_ms as f64 / 1_000.0 };
        self.away.with_label_values(&[namespace, name, label(kind)]).set(seconds);
    }

    /// Notes whether clients stay where they are since some missed messages.
    pub(crate) fn halted(&self, key: &Name, is_halted: bool) {
        // Without series it is not; one too many shares no number with others.
        if !is_halted && !self.lock().contains(key) {
            return;
        }
        let [namespace, name] = &self.labels(key);
        if !name.is_empty() {
            self.halted.with_label_values(&[namespace, name]).set(is_halted.into());
        }
    }

    /// Removes the series of a WsGateway.
    pub(crate) fn forget(&self, key: &Name) {
        if !self.lock().remove(key) {
            return;
        }
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        // Those that it never had cannot be removed.
        let _none = self.halted.remove_label_values(&[namespace, name]);
        for kind in KINDS.map(label) {
            let _none = self.begun.remove_label_values(&[namespace, name, kind]);
            let _none = self.away.remove_label_values(&[namespace, name, kind]);
            for outcome in OUTCOMES {
                let _none = self.clients.remove_label_values(&[namespace, name, kind, outcome]);
            }
        }
    }

    /// Namespace and name of a WsGateway, or nothing for one too many.
    fn labels(&self, key: &Name) -> [String; 2] {
        let mut named = self.lock();
        if named.len() < MOST || named.contains(key) {
            named.insert(key.clone());
            return [key.namespace.clone(), key.name.clone()];
        }
        [String::new(), String::new()]
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Name>> {
        // Valid after any panic: at worst a series stays.
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(kind: DisruptionKind) -> &'static str {
    match kind {
        DisruptionKind::Rollout => "rollout",
        DisruptionKind::ScaleDown => "scale_down",
        DisruptionKind::Rebalance => "rebalance",
        DisruptionKind::PodStopped => "pod_stopped",
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_wsgateway_that_is_gone_takes_its_series_along() {
        let registry = Registry::new();
        let meters = Meters::new(&registry).unwrap();
        let (one, other) = (Name::new("trading", "odin"), Name::new("trading", "thor"));
        for key in [&one, &other] {
            for kind in KINDS {
                meters.begun(key, kind);
                meters.resumed(key, kind, [90, 10]);
                meters.away(key, kind, 250);
            }
            meters.halted(key, true);
        }
        let told = text(&registry);
        let series = |told: &str, name: &str| {
            told.lines().filter(|line| line.contains(&format!("gateway=\"{name}\""))).count()
        };
        assert_eq!((series(&told, "odin"), series(&told, "thor")), (17, 17), "{told}");
        let gap =
            r#"clients_total{gateway="odin",kind="rollout",namespace="trading",outcome="gap"} 10"#;
        assert!(told.contains(gap), "{told}");
        let away = r#"away_p99_seconds{gateway="odin",kind="scale_down",namespace="trading"} 0.25"#;
        assert!(told.contains(away), "{told}");
        meters.forget(&one);
        let told = text(&registry);
        assert_eq!((series(&told, "odin"), series(&told, "thor")), (0, 17), "{told}");
        meters.halted(&one, false);
        assert_eq!(series(&text(&registry), "odin"), 0, "that nothing happens is no series");
    }

    #[test]
    fn the_first_event_of_a_wsgateway_is_an_increase() {
        let registry = Registry::new();
        let meters = Meters::new(&registry).unwrap();
        let key = Name::new("trading", "odin");
        meters.enter(&key);
        let told = text(&registry);
        let zeroes = told.lines().filter(|line| line.contains("odin") && line.ends_with(" 0"));
        assert_eq!(zeroes.count(), 13, "disruptions, clients by outcome, halted: {told}");
        assert!(!told.contains("away_p99_seconds{"), "nobody was away: {told}");
        meters.begun(&key, DisruptionKind::Rollout);
        // Again, as each reconciliation does.
        meters.enter(&key);
        let begun = r#"disruptions_total{gateway="odin",kind="rollout",namespace="trading"} 1"#;
        assert!(text(&registry).contains(begun));
        meters.forget(&key);
        assert!(!text(&registry).contains("odin"));
        (0..MOST + 50).for_each(|number| meters.enter(&Name::new("a", &format!("b-{number}"))));
        let halted = text(&registry).lines().filter(|line| line.contains("halted{")).count();
        assert_eq!(halted, MOST);
    }

    #[test]
    fn whoever_makes_wsgateways_does_not_make_series() {
        let registry = Registry::new();
        let meters = Meters::new(&registry).unwrap();
        let key = |number: usize| Name::new("trading", &format!("odin-{number}"));
        (0..MOST + 50).for_each(|number| meters.begun(&key(number), DisruptionKind::Rollout));
        let told = text(&registry);
        let series = told.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(series.count(), MOST + 1);
        let others = r#"disruptions_total{gateway="",kind="rollout",namespace=""} 50"#;
        assert!(told.contains(others), "{told}");
        meters.forget(&key(0));
        meters.begun(&key(MOST), DisruptionKind::Rollout);
        assert!(
            text(&registry).contains(&format!("gateway=\"odin-{MOST}\"")),
            "there is place again"
        );
    }
}
