use proptest::prelude::*;

use super::Verdict::{AfterGap, Duplicate, InOrder, Inconsistent, OutOfOrder};
use super::*;

fn enter(ledger: &mut Ledger, channel: &str, offset: u64, prev: u64) -> Verdict {
    ledger.message(&Envelope { channel, offset, prev, ts: 0, rest: "," })
}

fn verdicts(acknowledged: Option<u64>, messages: &[(&str, u64, u64)]) -> Vec<Verdict> {
    let mut ledger = Ledger::default();
    if let Some(offset) = acknowledged {
        ledger.acknowledge(offset);
    }
    messages
        .iter()
        .map(|(channel, offset, prev)| enter(&mut ledger, channel, *offset, *prev))
        .collect()
}

#[test]
fn each_fault_of_a_delivery_is_told() {
    for (name, acknowledged, messages, want) in [
        ("in order", Some(0), &[("a", 1, 0), ("b", 2, 0), ("a", 3, 1)][..], &[InOrder; 3][..]),
        ("from the middle", Some(9), &[("a", 10, 4), ("a", 12, 10)], &[InOrder; 2]),
        ("a hole", Some(0), &[("a", 1, 0), ("a", 4, 3)], &[InOrder, AfterGap]),
        ("a hole before the first", Some(5), &[("a", 9, 7)], &[AfterGap]),
        ("not acknowledged", None, &[("a", 9, 7)], &[InOrder]),
        ("twice", Some(0), &[("a", 1, 0), ("a", 1, 0)], &[InOrder, Duplicate]),
        (
            "an old one again",
            Some(0),
            &[("a", 1, 0), ("a", 2, 1), ("a", 1, 0)],
            &[InOrder, InOrder, Duplicate],
        ),
        (
            "late, then again",
            Some(0),
            &[("a", 1, 0), ("a", 3, 2), ("a", 2, 1), ("a", 2, 1), ("a", 4, 3)],
            &[InOrder, AfterGap, OutOfOrder, Duplicate, InOrder],
        ),
        (
            "late across channels",
            Some(0),
            &[("a", 1, 0), ("b", 3, 0), ("a", 2, 1)],
            &[InOrder, InOrder, OutOfOrder],
        ),
        ("before the ack", Some(5), &[("a", 5, 4)], &[Inconsistent]),
        ("a broken chain", Some(0), &[("a", 1, 0), ("a", 3, 0)], &[InOrder, Inconsistent]),
    ] {
        assert_eq!(verdicts(acknowledged, messages), want, "{name}");
    }
}

#[test]
fn the_numbers_of_a_payload_rise_by_one_on_each_channel() {
    let mut ledger = Ledger::default();
    enter(&mut ledger, "a", 1, 0);
    enter(&mut ledger, "b", 2, 0);
    assert!(ledger.number("a", 7), "any first number");
    assert!(ledger.number("b", 0));
    assert!(ledger.number("a", 8));
    assert!(!ledger.number("a", 10));
    assert!(ledger.number("a", 11), "one hole is told once");
    assert!(!ledger.number("unknown", 1));
}

#[test]
fn holes_without_end_cost_no_memory_without_end() {
    let mut ledger = Ledger::default();
    enter(&mut ledger, "a", 1, 0);
    for offset in 1..10_000 {
        assert_eq!(enter(&mut ledger, "a", offset * 10, offset * 10 - 1), AfterGap);
    }
    for offset in 9_990..9_999 {
        assert_eq!(enter(&mut ledger, "a", offset * 10 + 5, 0), OutOfOrder);
    }
    assert!(ledger.holes.len() <= MAX_HOLES);
}

/// A stream over three channels, with the offsets chained as the gateway does it.
fn stream(picks: &[u8]) -> Vec<(&'static str, u64, u64)> {
    let mut last = [0; 3];
    (1..)
        .zip(picks)
        .map(|(offset, pick)| {
            let at = usize::from(pick % 3);
            (["a", "b", "c"][at], offset, std::mem::replace(&mut last[at], offset))
        })
        .collect()
}

proptest! {
    #[test]
    fn a_whole_stream_is_in_order_from_any_acknowledged_offset(picks: Vec<u8>, from: u8) {
        let messages: Vec<_> =
            stream(&picks).into_iter().filter(|m| m.1 > u64::from(from)).collect();
        let got = verdicts(Some(from.into()), &messages);
        prop_assert!(got.iter().all(|verdict| *verdict == InOrder), "{got:?}");
    }

    #[test]
    fn one_message_dropped_is_one_gap_unless_its_channel_fell_silent(
        picks in prop::collection::vec(0..3u8, 2..60), drop: prop::sample::Index,
    ) {
        let mut messages = stream(&picks);
        let (channel, offset, _) = messages.remove(drop.index(picks.len()));
        let more = messages.iter().any(|m| m.0 == channel && m.1 > offset);
        let got = verdicts(Some(0), &messages);
        prop_assert_eq!(got.iter().filter(|v| **v == AfterGap).count(), usize::from(more));
        prop_assert!(got.iter().all(|v| matches!(v, InOrder | AfterGap)));
    }

    #[test]
    fn one_message_repeated_later_is_one_duplicate(
        picks in prop::collection::vec(0..3u8, 1..60),
        which: prop::sample::Index, ahead: prop::sample::Index,
    ) {
        let mut messages = stream(&picks);
        let which = which.index(messages.len());
        let to = which + 1 + ahead.index(messages.len() - which);
        messages.insert(to, messages[which]);
        let got = verdicts(Some(0), &messages);
        prop_assert_eq!(got[to], Duplicate);
        prop_assert_eq!(got.iter().filter(|v| **v != InOrder).count(), 1);
    }
}
