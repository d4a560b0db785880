//! Whole shards on made-up streams: every answer against a list of everything.

mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::encode::Delivery;
use crate::history::archive::{BLOCK, Query, block_of};
use crate::history::{Block, Bounds, Interest};
use rig::{EPOCH, Got, Rig, delivery};

const LARGE: Bounds = Bounds { messages: 1_000, bytes: 1 << 20, age_ms: i64::MAX };

const CHANNELS: [&str; 5] = ["a.x", "a.y", "b", "c.x", "d"];

/// What became of a sequence of a made-up stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is there.
    Kept,
    /// The pod has read it; the stream has it no more.
    Removed,
    /// The stream discarded it before the pod read it.
    Lost,
}

/// A stream as its server has it, and as it was.
#[derive(Debug)]
struct Stream {
    all: BTreeMap<u64, (Arc<Delivery>, Fate)>,
    first: u64,
    last: u64,
}

impl Stream {
    fn new(base: u64, messages: &[(u8, Fate, bool)]) -> Self {
        let all: BTreeMap<_, _> = (base + 1..)
            .zip(messages)
            .map(|(n, (c, fate, deleted))| {
                (n, (delivery(CHANNELS[usize::from(*c)], n, *deleted), *fate))
            })
            .collect();
        let kept = all.iter().find(|(_, (_, fate))| *fate == Fate::Kept);
        let last = base + messages.len() as u64;
        Self { first: kept.map_or(last + 1, |(n, _)| *n), last, all }
    }

    /// What the server has.
    fn kept(&self) -> impl Iterator<Item = &Arc<Delivery>> {
        self.all.values().filter(|(_, fate)| *fate == Fate::Kept).map(|(delivery, _)| delivery)
    }

    /// Answers as a source would; `most` messages at once where it filters.
    fn answer(&self, query: &Query, most: usize) -> Block {
        let from = query.from();
        let (to, mut messages): (u64, Vec<_>) = match query {
            Query::Block { from } => {
                let to = (block_of(*from) + BLOCK - 1).min(self.last);
                (to, self.kept().filter(|m| (*from..=to).contains(&m.offset)).collect())
            }
            Query::Messages { interest, .. } => {
                let of = |m: &&Arc<Delivery>| m.offset >= from && interest.covers(&m.channel);
                (self.last, self.kept().filter(of).collect())
            }
            Query::Values { interest, until, .. } => {
                let newest = |m: &&Arc<Delivery>| {
                    (from..=*until).contains(&m.offset)
                        && interest.covers(&m.channel)
                        && !self.kept().any(|n| n.channel == m.channel && n.offset > m.offset)
                };
                (*until, self.kept().filter(newest).collect())
            }
        };
        let mut to = to.max(from.saturating_sub(1));
        if !matches!(query, Query::Block { .. }) && messages.len() > most {
            messages.truncate(most);
            to = messages.last().map_or(to, |last| last.offset);
        }
        let whole = self.kept().count() as u64 == self.last + 1 - self.first;
        Block {
            epoch: EPOCH.into(),
            messages: messages.into_iter().cloned().collect(),
            from,
            to,
            first: self.first,
            last: self.last,
            missing_is_gone: matches!(query, Query::Block { .. }) || !whole,
        }
    }

    /// Lets a pod read it from behind `floor`.
    fn read_by(&self, rig: &mut Rig, floor: u64) {
        for (offset, (delivery, fate)) in self.all.range(floor + 1..) {
            match fate {
                Fate::Lost => rig.history.lost(*offset, *offset),
                Fate::Kept | Fate::Removed => rig.history.push(delivery, 0),
            }
        }
        rig.live(EPOCH, self.last);
        rig.turn();
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Kept), 1 => Just(Fate::Removed), 1 => Just(Fate::Lost)]
}

fn interest() -> impl Strategy<Value = Vec<&'static str>> {
    let some = proptest::sample::subsequence(vec!["a.x", "b", "c.x", "never", "a.*"], 1..5);
    prop_oneof![4 => some, 1 => Just(vec![">"])]
}

/// Checks a resume behind `after` against the stream: order, gaps, and that nothing is missing without a word.
fn check(stream: &Stream, interest: &Interest, after: u64, pushes: &[Value]) {
    let mut got = Vec::new();
    // How far each channel of the interest has come: by messages that it covers, and by gaps.
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    let mut gone = Vec::new();
    let patterns: BTreeSet<&str> =
        interest.iter().map(|(pattern, _)| pattern).chain([">"]).collect();
    for push in pushes {
        match push["type"].as_str().unwrap() {
            "message" => {
                let offset = push["offset"].as_u64().unwrap();
                for pattern in &patterns {
                    let at = reached.entry(pattern).or_insert(after);
                    assert!(*at < offset, "{push} behind {at} of {pattern}: {pushes:#?}");
                    *at = offset;
                }
                got.push(offset);
            }
            "gap" => {
                let (from, to) = (push["from"].as_u64().unwrap(), push["to"].as_u64().unwrap());
                let pattern = patterns.iter().find(|p| push["channel"] == **p).unwrap();
                let at = reached.entry(pattern).or_insert(after);
                assert!(*at < from && from <= to, "{push} behind {at}: {pushes:#?}");
                *at = to;
                gone.push((from, to));
            }
            "subscription_ack" | "live" => {}
            other => panic!("{other}"),
        }
    }
    for (offset, (delivery, fate)) in stream.all.range(after + 1..) {
        let told = || gone.iter().any(|(from, to)| (*from..=*to).contains(offset));
        match interest.covers(&delivery.channel) {
            true if *fate == Fate::Kept => assert!(got.contains(offset), "{offset} of {pushes:#?}"),
            true => assert!(got.contains(offset) != told(), "{offset} of {pushes:#?}"),
            false => assert!(!got.contains(offset), "{offset} of {pushes:#?}"),
        }
        assert!(*fate != Fate::Lost || !got.contains(offset));
    }
}

proptest! {
    #[test]
    fn the_gaps_of_a_resume_are_in_order_and_cover_nothing_that_comes_and_everything_else_comes(
        messages in prop::collection::vec((0..5_u8, fate(), Just(false)), 1..120),
        base in prop_oneof![Just(0_u64), 200..300_u64],
        cursor in 0..120_u64,
        kept in 1..60_usize,
        filters: bool,
        most in 1..5_usize,
        patterns in interest(),
    ) {
        let stream = Stream::new(base, &messages);
        let mut rig = Rig::new(Bounds { messages: kept, ..LARGE }, base);
        if filters {
            rig.desk.filters();
        }
        stream.read_by(&mut rig, base);
        let after = (base + cursor).min(stream.last);
        let resume = json!({ "epoch": EPOCH, "offset": after });
        rig.send(&json!({ "type": "subscribe", "channels": patterns, "resume": resume }));
        let pushes = rig.until("live", |query| stream.answer(query, most));
        check(&stream, &Interest::of(&patterns), after, &pushes);
    }

    #[test]
    fn a_snapshot_has_the_last_value_of_every_channel_whatever_the_pod_has_read(
        messages in prop::collection::vec((0..5_u8, Just(Fate::Kept), prop::bool::weighted(0.2)), 1..80),
        read in 0..80_usize,
        kept in 1..40_usize,
        bytes in prop_oneof![Just(1_usize << 20), 600..3_000_usize],
        seeds in prop::collection::vec((any::<prop::sample::Index>(), Just(())), 0..6),
        seeded in prop::option::of(Just(())),
        most in 1..3_usize,
        patterns in interest(),
    ) {
        let stream = Stream::new(0, &messages);
        let newest: BTreeMap<&str, &Arc<Delivery>> =
            stream.kept().map(|message| (&*message.channel, message)).collect();
        let floor = (messages.len() - read.min(messages.len())) as u64;
        let mut rig = Rig::new(Bounds { messages: kept, bytes, age_ms: i64::MAX }, floor);
        rig.desk.filters();
        let epoch = EPOCH.into();
        // Seeds come in any order, all of them or some, before what is read or after.
        let old: Vec<_> = newest.values().filter(|m| m.offset <= floor).collect();
        let some = seeds.iter().filter(|_| !old.is_empty()).map(|(index, ())| index.get(&old));
        if read % 2 == 0 {
            some.for_each(|seed| rig.history.seed(&epoch, seed));
            stream.read_by(&mut rig, floor);
        } else {
            stream.read_by(&mut rig, floor);
            some.for_each(|seed| rig.history.seed(&epoch, seed));
        }
        if seeded.is_some() {
            old.iter().for_each(|seed| rig.history.seed(&epoch, seed));
            rig.history.seeded(&epoch, 0);
        }
        rig.send(&json!({ "type": "subscribe", "channels": patterns, "snapshot": true }));
        let mut asked = false;
        let pushes = rig.until("live", |query| {
            asked = true;
            stream.answer(query, most)
        });
        let interest = Interest::of(&patterns);
        let values = newest.values().filter(|m| m.deleted.is_none() && interest.covers(&m.channel));
        let mut want: Vec<u64> = values.map(|m| m.offset).collect();
        want.sort_unstable();
        let got = pushes.iter().filter(|push| push["type"] == "message");
        let got: Vec<u64> = got.map(|push| push["offset"].as_u64().unwrap()).collect();
        prop_assert_eq!(got, want);
        prop_assert!(!asked || seeded.is_none() || bytes < 1 << 20, "everything was known");
    }
}

/// What a client gets that waits for as long as it takes.
fn waited(rig: &mut Rig) -> Vec<Got> {
    let mut got = rig.read();
    assert_eq!(got, [], "not at once");
    rig.pass(Duration::from_secs(10));
    got.append(&mut rig.read());
    assert_eq!(got, [], "a restart may take a while");
    rig.pass(Duration::from_secs(6));
    rig.read()
}

fn unavailable(got: &[Got], why: &str) -> bool {
    matches!(got, [Got::Close(1013, reason)] if reason.starts_with(why))
}

#[test]
fn a_resume_that_the_restarting_source_leaves_unanswered_ends_with_1013_and_a_reason() {
    let mut rig = Rig::new(LARGE, 0);
    rig.history.push(&delivery("b", 1, false), 0);
    rig.live(EPOCH, 1);
    rig.turn();
    // The source reads another stream, and never comes to its end.
    rig.history.reset(&"f".into(), 0);
    let resume = json!({ "epoch": EPOCH, "offset": 0 });
    rig.send(&json!({ "type": "subscribe", "channels": ["b"], "resume": resume }));
    let got = waited(&mut rig);
    assert!(unavailable(&got, "the stream cannot be read now"), "{got:?}");
}

#[test]
fn a_resume_goes_on_when_the_source_is_back_in_time() {
    let mut rig = Rig::new(LARGE, 0);
    rig.history.push(&delivery("b", 1, false), 0);
    rig.live(EPOCH, 1);
    rig.turn();
    rig.history.reset(&"f".into(), 0);
    let resume = json!({ "epoch": EPOCH, "offset": 0 });
    rig.send(&json!({ "type": "subscribe", "channels": ["b"], "resume": resume }));
    rig.pass(Duration::from_secs(10));
    rig.history.reset(&EPOCH.into(), 0);
    rig.history.push(&delivery("b", 1, false), 0);
    let pushes = rig.until("live", |query| panic!("{query:?}"));
    assert_eq!((&pushes[0]["recovered"], &pushes[1]["offset"]), (&json!(true), &json!(1)));
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.read(), [], "it has its answer");
}

#[test]
fn a_lookup_that_nobody_answers_ends_with_1013_or_an_error() {
    for sent in [false, true] {
        let mut rig = Rig::new(Bounds { messages: 1, ..LARGE }, 0);
        for offset in 1..=300 {
            rig.history.push(&delivery("b", offset, false), 0);
        }
        rig.live(EPOCH, 300);
        rig.turn();
        let resume = json!({ "epoch": EPOCH, "offset": 0 });
        let replay = json!({ "type": "replay", "id": 7, "channels": ["b"], "from": 1 });
        match sent {
            false => rig.send(&json!({ "type": "subscribe", "channels": ["b"], "resume": resume })),
            true => rig.send(&replay),
        }
        let got = waited(&mut rig);
        match sent {
            false => assert!(unavailable(&got, "older messages cannot be read now"), "{got:?}"),
            true => {
                let [Got::Push(error)] = &got[..] else { panic!("{got:?}") };
                assert_eq!(
                    (&error["id"], &error["code"]),
                    (&json!(7), &json!("history_unavailable"))
                );
            }
        }
    }
}

#[test]
fn a_connection_has_one_lookup_at_a_time_whatever_it_asks_for() {
    let mut rig = Rig::new(Bounds { messages: 1, ..LARGE }, 0);
    for offset in 1..=2_000 {
        rig.history.push(&delivery("b", offset, false), 0);
    }
    rig.live(EPOCH, 2_000);
    rig.turn();
    for n in 0..4 {
        let from = n * 256 + 1;
        rig.send(&json!({ "type": "replay", "id": n, "channels": ["b"], "from": from }));
    }
    rig.turn();
    let asked: Vec<_> = std::iter::from_fn(|| rig.desk.take()).map(|(query, _)| query).collect();
    assert_eq!(asked, [Query::Block { from: 1 }]);
}
