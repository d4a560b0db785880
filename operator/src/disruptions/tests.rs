use super::*;

struct Rig {
    ledger: Ledger,
    entries: Vec<DisruptionStatus>,
    start: Instant,
    template: &'static str,
}

impl Rig {
    fn enter(&mut self, kind: Option<DisruptionKind>, second: u64, sent_away: u64) {
        let counted = Tally {
            sent_away,
            recovered: sent_away,
            away: [(250, sent_away)].into(),
            ..Tally::default()
        };
        let now = self.start + Duration::from_secs(second);
        let time = Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let entries = std::mem::take(&mut self.entries);
        let key = Name::new("trading", "odin");
        let cause = Cause { kind, template: self.template };
        self.entries = self.ledger.enter(&key, entries, cause, &counted, (now, time));
    }

    fn last(&self) -> (DisruptionKind, i64, Option<i64>) {
        let last = self.entries.last().unwrap();
        (last.kind, last.clients, last.ended.as_ref().map(|time| time.0.as_second()))
    }
}

fn ledger() -> Ledger {
    Ledger::new(Meters::new(&prometheus::Registry::new()).unwrap())
}

fn rig() -> Rig {
    Rig { ledger: ledger(), entries: Vec::new(), start: Instant::now(), template: "a" }
}

#[test]
fn an_entry_is_open_until_the_last_client_had_time_to_come_back() {
    let mut rig = rig();
    rig.enter(None, 0, 100);
    assert!(rig.entries.is_empty());
    rig.enter(Some(DisruptionKind::ScaleDown), 10, 100);
    rig.enter(Some(DisruptionKind::ScaleDown), 20, 140);
    assert_eq!(rig.last(), (DisruptionKind::ScaleDown, 40, None));
    rig.enter(None, 25, 150);
    rig.enter(Some(DisruptionKind::ScaleDown), 30, 155);
    rig.enter(None, 40, 160);
    assert_eq!(rig.last(), (DisruptionKind::ScaleDown, 60, None));
    rig.enter(None, 45, 160);
    assert_eq!(rig.last(), (DisruptionKind::ScaleDown, 60, Some(30)));
    let last = rig.entries.last().unwrap();
    assert_eq!((last.recovered, last.lost, last.away_p99_ms), (60, 0, Some(250)));
    rig.enter(None, 99, 500);
    assert_eq!(rig.last().1, 60, "clients who reconnect by themselves are nobody's doing");
}

#[test]
fn one_kind_ends_the_other_and_only_the_last_ten_are_kept() {
    let mut rig = rig();
    for n in 0..15 {
        let kind = if n % 2 == 0 { DisruptionKind::Rollout } else { DisruptionKind::Rebalance };
        rig.enter(Some(kind), n, n * 10);
    }
    assert_eq!(rig.entries.len(), MOST);
    assert!(rig.entries.iter().rev().skip(1).all(|entry| entry.ended.is_some()));
    assert_eq!(rig.entries[8].clients, 10);
}

#[test]
fn what_is_done_under_another_template_is_an_entry_of_its_own() {
    let mut rig = rig();
    rig.enter(Some(DisruptionKind::Rollout), 0, 0);
    rig.enter(Some(DisruptionKind::Rollout), 1, 30);
    rig.template = "b";
    rig.enter(Some(DisruptionKind::Rollout), 2, 40);
    rig.enter(Some(DisruptionKind::Rollout), 3, 45);
    let told = |entry: &DisruptionStatus| (entry.template.clone(), entry.clients);
    let told: Vec<_> = rig.entries.iter().map(told).collect();
    assert_eq!(told, [(Some("a".to_owned()), 40), (Some("b".to_owned()), 5)]);
}

#[test]
fn clients_are_metered_once_by_what_moved_them() {
    let registry = prometheus::Registry::new();
    let mut rig = rig();
    rig.ledger = Ledger::new(Meters::new(&registry).unwrap());
    for (second, sent_away) in [(0, 5), (1, 45), (2, 45), (3, 105)] {
        rig.enter(Some(DisruptionKind::Rollout), second, sent_away);
    }
    rig.enter(None, 40, 105);
    rig.enter(Some(DisruptionKind::Rebalance), 50, 105);
    rig.enter(None, 70, 105);
    let value = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name().ends_with(name));
        family.map(|family| {
            let of = |metric: &prometheus::proto::Metric| {
                metric.get_counter().get_value() + metric.get_gauge().get_value()
            };
            family.get_metric().iter().map(of).collect::<Vec<_>>()
        })
    };
    assert_eq!(value("disruptions_total"), Some(vec![1.0]), "the rebalance moved nobody");
    assert_eq!(value("disruption_clients_total"), Some(vec![0.0, 100.0]));
    assert_eq!(value("disruption_away_p99_seconds"), Some(vec![0.25]));
}

#[test]
fn the_open_entry_is_known_exactly_and_when_the_last_client_went() {
    let mut rig = rig();
    let (key, start) = (Name::new("trading", "odin"), rig.start);
    let current = |rig: &Rig, sent_away, second| {
        let counted = Tally { sent_away, recovered: sent_away, ..Tally::default() };
        let now = start + Duration::from_secs(second);
        rig.ledger.current(&key, &rig.entries, &counted, now)
    };
    assert_eq!(current(&rig, 0, 0), None);
    rig.enter(Some(DisruptionKind::Rollout), 0, 0);
    let known = current(&rig, 1_234, 10).unwrap();
    assert_eq!((known.entry.clients, known.is_quiet, known.is_passed), (1_234, false, false));
    assert!(!current(&rig, 1_234, 24).unwrap().is_quiet);
    assert!(current(&rig, 1_234, 25).unwrap().is_quiet);
    assert!(!current(&rig, 1_235, 26).unwrap().is_quiet, "one more went");
    rig.ledger.pass(&key);
    assert!(current(&rig, 1_235, 27).unwrap().is_passed);
    rig.enter(Some(DisruptionKind::Rollout), 28, 1_235);
    rig.ledger = ledger();
    let known = current(&rig, 3, 29).unwrap();
    assert_eq!((known.entry.clients, known.is_quiet), (1_200, false), "as the status has it");
    rig.enter(Some(DisruptionKind::Rebalance), 60, 3);
    assert_eq!(current(&rig, 3, 61).unwrap().entry.kind, DisruptionKind::Rebalance);
}

#[test]
fn another_operator_goes_on_with_what_the_status_says_and_what_moved_nobody_is_dropped() {
    let mut rig = rig();
    rig.enter(Some(DisruptionKind::Rebalance), 0, 0);
    rig.enter(Some(DisruptionKind::Rebalance), 5, 30);
    rig.ledger = ledger();
    rig.enter(Some(DisruptionKind::Rebalance), 6, 3);
    rig.enter(Some(DisruptionKind::Rebalance), 9, 8);
    assert_eq!(rig.last(), (DisruptionKind::Rebalance, 35, None));
    rig.enter(None, 60, 8);
    rig.enter(Some(DisruptionKind::PodStopped), 70, 8);
    rig.enter(None, 99, 8);
    assert_eq!(rig.last(), (DisruptionKind::Rebalance, 35, Some(9)));
}
