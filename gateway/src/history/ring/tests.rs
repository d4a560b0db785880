use proptest::prelude::*;
use wsgateway_config::Channels as Config;
use wsgateway_proto::Deleted;

use super::*;
use crate::encode::{Encoder, Message};

fn delivery(encoder: &mut Encoder, channel: &str, offset: u64, ts: i64) -> Arc<Delivery> {
    let payload = bytes::Bytes::from_static(b"{}");
    let (subject, sequence, timestamp) = (channel.into(), offset, ts);
    encoder.encode(&Message { subject, sequence, timestamp, payload, deleted: None, trace: None })
}

fn deletion(encoder: &mut Encoder, channel: &str, offset: u64) -> Arc<Delivery> {
    let (subject, payload) = (channel.into(), bytes::Bytes::new());
    let deleted = Some(Deleted::Purge);
    encoder.encode(&Message {
        subject,
        sequence: offset,
        timestamp: 0,
        payload,
        deleted,
        trace: None,
    })
}

fn encoder() -> Encoder {
    Encoder::new(&Config { strip_prefix: String::new(), rules: Vec::new() })
}

const LARGE: Bounds = Bounds { messages: 1_000, bytes: 1 << 20, age_ms: 1_000_000 };

/// A ring with messages at these offsets and channels.
fn ring(bounds: Bounds, floor: u64, messages: &[(u64, &str)]) -> Ring {
    let (mut ring, mut encoder) = (Ring::new(bounds, floor), encoder());
    for (offset, channel) in messages {
        ring.push(&delivery(&mut encoder, channel, *offset, 0), 0);
    }
    ring
}

fn offsets(messages: &[Arc<Delivery>]) -> Vec<u64> {
    messages.iter().map(|message| message.offset).collect()
}

fn read(ring: &Ring, interest: &[&str], after: u64, until: u64) -> (Vec<u64>, u64) {
    let chunk = ring.read(&Interest::of(interest), after, until, usize::MAX);
    (offsets(&chunk.messages), chunk.cursor)
}

#[test]
fn an_interest_gets_its_messages_in_stream_order_and_knows_how_far_it_has_looked() {
    let ring = ring(LARGE, 0, &[(1, "a.x"), (2, "b"), (3, "a.y"), (5, "a.x"), (6, "c")]);
    for (interest, after, until, want) in [
        (&["a.x", "a.y"][..], 0, u64::MAX, (vec![1, 3, 5], 6)),
        (&["a.x", "a.y"], 1, 4, (vec![3], 4)),
        (&["a.*"], 0, u64::MAX, (vec![1, 3, 5], 6)),
        (&["a.*", "a.x", ">"], 2, 5, (vec![3, 5], 5)),
        (&["nothing"], 0, u64::MAX, (vec![], 6)),
        (&["a.x"], 9, u64::MAX, (vec![], 9)),
    ] {
        assert_eq!(read(&ring, interest, after, until), want, "{interest:?} {after} {until}");
    }
}

#[test]
fn a_chunk_is_cut_at_its_bytes_and_goes_on_where_it_ended() {
    let ring = ring(LARGE, 0, &[(1, "a"), (2, "a"), (3, "a")]);
    for interest in [Interest::of(&["a"]), Interest::of(&[">"])] {
        let first = ring.read(&interest, 0, u64::MAX, 1);
        assert_eq!((offsets(&first.messages), first.cursor), (vec![1], 1));
        let rest = ring.read(&interest, first.cursor, u64::MAX, usize::MAX);
        assert_eq!((offsets(&rest.messages), rest.cursor), (vec![2, 3], 3));
    }
}

#[test]
fn number_bytes_and_age_are_bounds() {
    let few = ring(Bounds { messages: 2, ..LARGE }, 0, &[(1, "a"), (2, "a"), (3, "a")]);
    assert_eq!((few.floor(), few.size().0), (1, 2));
    let small = ring(Bounds { bytes: 600, ..LARGE }, 0, &[(1, "a"), (2, "a"), (3, "a")]);
    assert!(small.size().1 <= 600 + 300 && small.floor() >= 1, "{:?}", small.size());
    let mut encoder = encoder();
    let mut young = Ring::new(Bounds { age_ms: 100, ..LARGE }, 0);
    young.push(&delivery(&mut encoder, "a", 1, 1_000), 1_000);
    young.push(&delivery(&mut encoder, "a", 2, 1_090), 1_090);
    assert_eq!(young.floor(), 0);
    young.push(&delivery(&mut encoder, "a", 3, 1_150), 1_150);
    assert_eq!(young.floor(), 1);
}

#[test]
fn lowered_bounds_are_reached_in_parts_and_raised_ones_with_what_follows() {
    let messages: Vec<_> = (1..=10_000).map(|offset| (offset, "a")).collect();
    let wide = Bounds { messages: 20_000, bytes: 64 << 20, ..LARGE };
    let mut ring = ring(wide, 0, &messages);
    ring.set_bounds(Bounds { messages: 10, ..wide });
    assert!(ring.trim(0));
    assert_eq!(ring.size().0, 10_000 - MAX_TRIMMED);
    while ring.trim(0) {}
    assert_eq!((ring.size().0, ring.floor()), (10, 9_990));
    ring.set_bounds(wide);
    let mut encoder = encoder();
    for offset in 10_001..=10_020 {
        ring.push(&delivery(&mut encoder, "a", offset, 0), 0);
    }
    assert_eq!((ring.size().0, ring.floor()), (30, 9_990));
}

#[test]
fn a_channel_whose_messages_are_all_here_reaches_back_further_than_the_ring() {
    let bounds = Bounds { messages: 2, ..LARGE };
    let ring = ring(bounds, 0, &[(1, "quiet"), (2, "busy"), (3, "busy"), (4, "busy")]);
    let reaches = |interest: &[&str], after| ring.reaches(&Interest::of(interest), after);
    assert!(reaches(&["quiet"], 1), "it has the last message of that channel");
    assert!(!reaches(&["quiet"], 0), "it lacks the one at 1");
    assert!(!reaches(&["busy"], 1) && reaches(&["busy"], 2));
    assert!(!reaches(&["quiet", "busy"], 1) && reaches(&["quiet", "busy"], 2));
    assert!(reaches(&["never"], 0), "the ring began with the stream: nobody ever wrote there");
    assert!(!reaches(&[">"], 1) && reaches(&[">"], 2));
    assert!(!reaches(&["*"], 0));
}

#[test]
fn a_ring_that_began_in_the_middle_does_not_know_what_was_before() {
    let ring = ring(LARGE, 100, &[(101, "a")]);
    let reaches = |interest: &[&str], after| ring.reaches(&Interest::of(interest), after);
    assert!(!reaches(&["a"], 99) && !reaches(&["never"], 99) && !reaches(&["*"], 99));
    assert!(reaches(&["a"], 100) && reaches(&["never"], 100));
}

/// Last values, read in chunks of so many bytes.
fn values(ring: &Ring, interest: &[&str], until: u64, bytes: usize) -> Vec<u64> {
    let (interest, mut got, mut cursor) = (Interest::of(interest), Vec::new(), 0);
    while cursor < until {
        let chunk = ring.values(&interest, cursor, until, bytes);
        assert!(chunk.cursor > cursor, "it goes on");
        got.extend(offsets(&chunk.messages));
        cursor = chunk.cursor;
    }
    got
}

#[test]
fn last_values_outlive_the_ring_and_come_in_stream_order() {
    let bounds = Bounds { messages: 2, ..LARGE };
    let ring = ring(bounds, 0, &[(1, "a.x"), (2, "a.y"), (3, "b"), (4, "b"), (5, "b")]);
    for bytes in [1, usize::MAX] {
        assert_eq!(values(&ring, &["b", "a.x"], 5, bytes), [1, 5]);
        assert_eq!(values(&ring, &["b"], 4, bytes), [0; 0], "it has spoken since");
        assert_eq!(values(&ring, &["a.*"], 5, bytes), [1, 2]);
        assert_eq!(values(&ring, &[">", "b", "a.x"], 5, bytes), [1, 2, 5], "each once");
    }
}

#[test]
fn a_deleted_channel_has_no_last_value_until_it_has_one_again_and_the_deletion_is_read_in_order() {
    let (mut ring, mut encoder) = (Ring::new(LARGE, 0), encoder());
    ring.push(&delivery(&mut encoder, "a", 1, 0), 0);
    ring.push(&delivery(&mut encoder, "b", 2, 0), 0);
    ring.push(&deletion(&mut encoder, "a", 3), 0);
    for interest in [&["a", "b"][..], &[">"]] {
        assert_eq!(values(&ring, interest, 3, usize::MAX), [2], "{interest:?}");
        assert_eq!(read(&ring, interest, 0, u64::MAX).0, [1, 2, 3], "{interest:?}");
    }
    ring.push(&delivery(&mut encoder, "a", 4, 0), 0);
    for interest in [&["a", "b"][..], &[">"]] {
        assert_eq!(values(&ring, interest, 4, usize::MAX), [2, 4], "{interest:?}");
    }
}

#[test]
fn a_deleted_channel_stays_so_when_its_messages_leave_the_ring() {
    let (mut ring, mut encoder) = (Ring::new(Bounds { messages: 2, ..LARGE }, 0), encoder());
    ring.push(&delivery(&mut encoder, "a", 1, 0), 0);
    ring.push(&deletion(&mut encoder, "a", 2), 0);
    for offset in 3..=6 {
        ring.push(&delivery(&mut encoder, "b", offset, 0), 0);
    }
    for interest in [&["a"][..], &["*"]] {
        let want: &[u64] = if interest == ["a"] { &[] } else { &[6] };
        assert_eq!(values(&ring, interest, 6, usize::MAX), want, "{interest:?}");
    }
    assert!(!ring.reaches(&Interest::of(&["a"]), 1) && ring.reaches(&Interest::of(&["a"]), 2));
}

#[test]
fn a_walk_over_many_last_values_stops_and_goes_on() {
    let names: Vec<String> = (1..=20_000).map(|n| format!("c{n}.{}", n % 5_000)).collect();
    let messages: Vec<(u64, &str)> = (1..).zip(names.iter().map(String::as_str)).collect();
    let ring = ring(Bounds { messages: 100, bytes: 64 << 20, age_ms: 1 }, 0, &messages);
    let all = Interest::of(&["*.7", "c1.>", "*.*.*"]);
    let first = ring.values(&all, 0, 20_000, usize::MAX);
    assert!(first.cursor < 2_000, "the lock is held for a moment only, not until {}", first.cursor);
    assert_eq!(
        values(&ring, &["*.7", "c1.>", "*.*.*"], 20_000, 1_000),
        [1, 7, 5_007, 10_007, 15_007]
    );
    assert!(!ring.reaches(&all, 5), "finding out would take long");
}

#[test]
fn what_was_lost_is_remembered_as_long_as_somebody_may_ask() {
    let bounds = Bounds { messages: 3, ..LARGE };
    let (mut ring, mut encoder) = (Ring::new(bounds, 0), encoder());
    ring.push(&delivery(&mut encoder, "a", 1, 0), 0);
    ring.lost(2, 5);
    ring.lost(6, 6);
    ring.push(&delivery(&mut encoder, "a", 7, 0), 0);
    assert_eq!(ring.hole(0), Some((2, 6)));
    assert_eq!(ring.hole(3), Some((4, 6)));
    assert_eq!(ring.hole(6), None);
    for offset in 8..=10 {
        ring.push(&delivery(&mut encoder, "a", offset, 0), 0);
    }
    assert_eq!((ring.floor(), ring.hole(0)), (7, None), "who asks now is before the floor");
}

#[test]
fn seeds_in_any_order_give_the_same_last_values_and_never_replace_what_was_read() {
    let mut encoder = encoder();
    let mut seed = |channel, offset| delivery(&mut encoder, channel, offset, 0);
    let seeds = [seed("a", 1), seed("b", 2), seed("c", 3), seed("read", 4)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let mut ring = ring(LARGE, 100, &[(101, "read"), (102, "new")]);
        order.iter().for_each(|n: &usize| ring.seed(&seeds[*n]));
        assert_eq!(ring.unknown_until(&Interest::of(&["*"])), 100, "until all have been seeded");
        ring.seeded(0);
        assert_eq!(values(&ring, &["*"], 102, 1), [1, 2, 3, 101, 102], "{order:?}");
        assert_eq!(ring.unknown_until(&Interest::of(&["*", "never"])), 0);
        assert!(!ring.reaches(&Interest::of(&["a"]), 0), "only its newest message is known");
    }
}

#[test]
fn of_too_many_seeds_the_newest_stay_whatever_their_order() {
    let mut encoder = encoder();
    let seeds: Vec<_> = (1..=9).map(|n| delivery(&mut encoder, &format!("c{n}"), n, 0)).collect();
    // Last values get half of the bytes.
    let bounds = Bounds { bytes: 2 * 4 * cost(&seeds[0]), ..LARGE };
    for order in
        [[1, 2, 3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1], [5, 9, 1, 7, 3, 8, 2, 6, 4]]
    {
        let mut ring = Ring::new(bounds, 100);
        order.iter().for_each(|n: &usize| ring.seed(&seeds[n - 1]));
        ring.seeded(0);
        assert_eq!(values(&ring, &["*"], 100, usize::MAX), [6, 7, 8, 9], "{order:?}");
        assert_eq!(ring.unknown_until(&Interest::of(&["*"])), 5, "the others are looked up");
    }
}

/// All holes behind an offset.
fn holes(ring: &Ring, after: u64) -> Vec<(u64, u64)> {
    let next = |hole: &(u64, u64)| ring.hole(hole.1);
    std::iter::successors(ring.hole(after), next).collect()
}

#[test]
fn no_hole_covers_what_is_here_however_many_there_are() {
    let (mut ring, mut encoder) = (Ring::new(LARGE, 0), encoder());
    for n in 0..200 {
        ring.push(&delivery(&mut encoder, "a", 2 * n + 1, 0), 0);
        ring.lost(2 * n + 2, 2 * n + 2);
    }
    let want: Vec<_> = (0..200).map(|n| (2 * n + 2, 2 * n + 2)).collect();
    assert_eq!(holes(&ring, 0), want);
    assert_eq!(read(&ring, &["a"], 0, u64::MAX).0.len(), 200);
}

#[test]
fn of_too_many_holes_the_oldest_are_left_to_the_archive() {
    let bounds = Bounds { messages: 10, ..LARGE };
    let mut ring = Ring::new(bounds, 0);
    for n in 0..200 {
        // A repetition that was dropped, then a hole.
        ring.advance(2 * n + 1);
        ring.lost(2 * n + 2, 2 * n + 2);
    }
    assert_eq!(holes(&ring, 0).len(), 11);
    assert!(!ring.reaches(&Interest::of(&["a"]), 377) && ring.reaches(&Interest::of(&["a"]), 378));
    assert_eq!((ring.floor(), ring.hole(378)), (378, Some((380, 380))));
}

#[test]
fn a_hole_is_not_forgotten_with_the_messages_around_it() {
    let bounds = Bounds { messages: 3, ..LARGE };
    let (mut ring, mut encoder) = (Ring::new(bounds, 0), encoder());
    ring.push(&delivery(&mut encoder, "quiet", 1, 0), 0);
    ring.lost(2, 6);
    for offset in 7..=20 {
        ring.push(&delivery(&mut encoder, "busy", offset, 0), 0);
    }
    assert_eq!(ring.hole(0), None);
    for interest in ["quiet", "never", "*"] {
        let reaches = ring.reaches(&Interest::of(&[interest]), 1);
        assert!(!reaches, "one of those that are gone may have been of {interest}");
    }
    assert!(ring.reaches(&Interest::of(&["quiet"]), 6));
}

#[test]
fn a_million_channels_of_strangers_stay_within_the_bytes() {
    let bounds = Bounds { messages: 100, bytes: 100_000, age_ms: 1_000_000 };
    let (mut ring, mut encoder) = (Ring::new(bounds, 0), encoder());
    for n in 1..=20_000u64 {
        ring.push(&delivery(&mut encoder, &format!("c{n}"), 2 * n - 1, 0), 0);
        // One that is quiet and busy in turn leaves void entries behind.
        ring.push(&delivery(&mut encoder, &format!("d{}", n % 200), 2 * n, 0), 0);
        let (messages, bytes, channels) = ring.size();
        assert!(messages <= 100 && bytes <= 150_000 && channels <= 500, "{:?}", ring.size());
    }
}

proptest! {
    /// Against a list of everything: what is read in chunks, from wherever the ring says that it reaches.
    #[test]
    fn reading_in_chunks_gives_what_a_list_of_everything_would(
        channels in proptest::collection::vec(0..6u8, 1..200),
        kept in 1..60usize,
        after in 0..200u64,
        bytes in 1..400usize,
        wild: bool,
    ) {
        let names = ["a.x", "a.y", "b", "c.x", "c.y.z", "d"];
        let named: Vec<_> = channels.iter().zip(1..).map(|(c, n)| (n, names[usize::from(*c)])).collect();
        let ring = ring(Bounds { messages: kept, ..LARGE }, 0, &named);
        let interest = Interest::of(if wild { &["a.*", "d"] } else { &["a.x", "b"] });
        let all: Vec<u64> =
            named.iter().filter(|(n, c)| *n > after && interest.covers(c)).map(|(n, _)| *n).collect();
        let complete = all.iter().all(|n| *n > ring.floor());
        prop_assert!(!ring.reaches(&interest, after) || complete, "it must not promise too much");
        if complete && after >= ring.floor() {
            prop_assert!(ring.reaches(&interest, after));
        }
        if ring.reaches(&interest, after) {
            let (mut got, mut cursor) = (Vec::new(), after);
            while cursor < ring.position() {
                let chunk = ring.read(&interest, cursor, u64::MAX, bytes);
                prop_assert!(chunk.cursor > cursor, "it goes on");
                got.extend(offsets(&chunk.messages));
                cursor = chunk.cursor;
            }
            prop_assert_eq!(got, all);
        }
    }
}
