//! Intervals with made-up times.

use bytes::Bytes;
use proptest::prelude::*;
use wsgateway_config::{Channels, Delivery as Policy, Rule};

use super::*;
use crate::encode::{Encoder, Message};

const SECOND_US: u64 = 1_000_000;

fn encoder(max_rate: Option<u16>) -> Encoder {
    let rule = Rule { r#match: ">".into(), delivery: Policy::Latest, max_rate, ..Rule::default() };
    Encoder::new(&Channels { rules: vec![rule], ..Channels::default() })
}

fn message(encoder: &mut Encoder, channel: &str, sequence: u64) -> Arc<Delivery> {
    encoder.encode(&Message {
        subject: channel.into(),
        sequence,
        timestamp: 0,
        payload: Bytes::from_static(b"1"),
        deleted: None,
        trace: None,
    })
}

/// What left, and when (µs).
fn offsets(left: &[(u64, Emission)]) -> Vec<(u64, u64)> {
    left.iter().map(|(at_us, emission)| (*at_us, emission.delivery.offset)).collect()
}

/// Lets time pass until nothing waits, as a shard does: at the times that it is asked to.
fn drain(paced: &mut Paced, until_us: u64, left: &mut Vec<(u64, Emission)>) {
    while let Some(at_us) = paced.next_us().filter(|at_us| *at_us <= until_us) {
        while let Some(emission) = paced.due(at_us) {
            left.push((at_us, emission));
        }
    }
}

#[test]
fn the_first_leaves_at_once_and_the_newest_of_an_interval_at_its_end() {
    let (mut paced, mut encoder) = (Paced::default(), encoder(Some(5)));
    let mut left = Vec::new();
    for (at_us, sequence) in [(0, 1), (10_000, 2), (50_000, 3), (900_000, 4), (905_000, 5)] {
        drain(&mut paced, at_us, &mut left);
        let emission = paced.arrive(message(&mut encoder, "a", sequence), at_us);
        left.extend(emission.map(|emission| (at_us, emission)));
    }
    drain(&mut paced, u64::MAX, &mut left);
    assert_eq!(offsets(&left), [(0, 1), (200_000, 3), (900_000, 4), (1_100_000, 5)]);
    let skipped: Vec<_> = left.iter().map(|(_, emission)| emission.skipped).collect();
    assert_eq!(skipped, [None, Some(Skipped { from: 2, to: 2 }), None, None]);
    while paced.due(5 * SECOND_US).is_some() {}
    assert!(paced.is_empty() && paced.ends.is_empty(), "a silent channel costs nothing");
    assert_eq!((paced.waiting, paced.bytes), (0, 0));
}

#[test]
fn a_client_that_subscribes_meanwhile_gets_nothing_from_before_and_no_gap_of_it() {
    let (mut paced, mut encoder) = (Paced::default(), encoder(Some(1)));
    for sequence in [1, 4, 7, 9] {
        paced.arrive(message(&mut encoder, "a", sequence), 0);
        // After the message that comes before.
        paced.joined(10 + sequence as u32, 3, sequence, 0);
    }
    let emission = paced.due(SECOND_US).unwrap();
    let share = |conn| emission.share(paced.joined_at(conn, 3));
    let gap = |from, to| Some(Some(Skipped { from, to }));
    assert_eq!(share(1), gap(4, 7), "it was there before");
    assert_eq!((share(14), share(17), share(19)), (gap(5, 7), Some(None), None));
    assert_eq!(emission.count, 2);
    assert!(!paced.has_no_joins());
    paced.arrive(message(&mut encoder, "a", 20), SECOND_US);
    assert_eq!(paced.due(3 * SECOND_US).map(|emission| emission.delivery.offset), Some(20));
    while paced.due(5 * SECOND_US).is_some() {}
    assert!(paced.has_no_joins(), "all that waits is younger");
}

#[test]
fn without_its_rule_a_message_leaves_at_once_and_replaces_what_waits() {
    let (mut paced, mut limited) = (Paced::default(), encoder(Some(1)));
    paced.arrive(message(&mut limited, "a", 1), 0);
    assert!(paced.arrive(message(&mut limited, "a", 2), 1).is_none());
    let emission = paced.arrive(message(&mut encoder(None), "a", 3), 2).unwrap();
    assert_eq!((emission.delivery.offset, emission.count), (3, 1));
    assert_eq!(emission.skipped, Some(Skipped { from: 2, to: 2 }));
    assert!(paced.due(9 * SECOND_US).is_none() && paced.is_empty());
}

#[test]
fn channels_and_bytes_beyond_the_bounds_leave_at_once() {
    let (mut paced, mut encoder) = (Paced::default(), encoder(Some(1)));
    for n in 0..MOST_CHANNELS as u64 + 10 {
        assert!(paced.arrive(message(&mut encoder, &n.to_string(), n + 1), 0).is_some());
    }
    assert_eq!((paced.channels.len(), paced.ends.len()), (MOST_CHANNELS, MOST_CHANNELS));
    let last = (MOST_CHANNELS as u64 + 9).to_string();
    assert!(paced.arrive(message(&mut encoder, &last, 1 << 20), 1).is_some(), "no limit, no loss");
    paced.bytes = MOST_BYTES;
    assert!(paced.arrive(message(&mut encoder, "0", 1 << 21), 1).is_some());
}

#[test]
fn what_nobody_is_subscribed_to_any_more_is_forgotten() {
    let (mut paced, mut encoder) = (Paced::default(), encoder(Some(1)));
    paced.arrive(message(&mut encoder, "a", 1), 0);
    paced.arrive(message(&mut encoder, "a", 2), 1);
    assert_eq!(paced.waiting(), 1);
    paced.forget("a");
    assert_eq!((paced.waiting(), paced.bytes), (0, 0));
    assert!(paced.due(9 * SECOND_US).is_none() && paced.is_empty());
}

proptest! {
    /// Whatever the times and channels: no second holds more than the rate, the newest message leaves, and what left and
    /// what was reported as left out is everything, in order.
    #[test]
    fn every_message_leaves_or_is_reported_and_no_second_holds_too_many(
        rate in 1..=100_u16,
        steps in prop::collection::vec((0..700_000_u64, 0..3_usize), 1..300),
        busy in prop::collection::vec(0..3_000_u64, 1..300),
        late_us in 0..30_000_u64,
    ) {
        let (mut paced, mut encoder) = (Paced::default(), encoder(Some(rate)));
        let names = ["a", "b", "c.d"];
        let (mut now, mut left) = (0, Vec::new());
        let mut all = vec![Vec::new(); names.len()];
        let busy = busy.into_iter().map(|step| (step, 0));
        for (n, (step, which)) in steps.into_iter().chain(busy).enumerate() {
            now += step;
            // A shard that is late serves what is due before what comes.
            drain(&mut paced, now.saturating_sub(late_us), &mut left);
            let offset = n as u64 + 1;
            all[which].push(offset);
            let emission = paced.arrive(message(&mut encoder, names[which], offset), now);
            left.extend(emission.map(|emission| (now, emission)));
        }
        drain(&mut paced, u64::MAX, &mut left);
        prop_assert_eq!((paced.waiting(), paced.bytes), (0, 0));
        for (name, all) in names.into_iter().zip(all) {
            let own: Vec<_> = left.iter().filter(|(_, one)| &*one.delivery.channel == name).collect();
            let mut told = Vec::new();
            for (_, emission) in &own {
                let gone: Vec<u64> = emission.skipped.map_or_else(Vec::new, |range| {
                    all.iter().copied().filter(|n| (range.from..=range.to).contains(n)).collect()
                });
                prop_assert_eq!(gone.len() as u64, emission.count);
                told.extend(gone);
                told.push(emission.delivery.offset);
            }
            prop_assert_eq!(&told, &all, "each once, in order, the newest at the end");
            for (place, (start, _)) in own.iter().enumerate() {
                let within = own[place..].iter().filter(|(at, _)| *at < start + SECOND_US).count();
                prop_assert!(within <= usize::from(rate), "{} in a second", within);
            }
        }
    }
}
