//! Subscriptions on one client: what goes to which, full queues, and the cursor behind all of them.

use bytes::Bytes;
use std::time::SystemTime;

use super::cursor;
use crate::event::{Cursor, Event, Gap, Message, Rejected, Subscribed};
use crate::queue::{Bounds, Overflow, Queues};

fn value(channel: &str, offset: i64) -> Message {
    Message {
        channel: channel.to_owned(),
        offset,
        prev: 0,
        time: SystemTime::UNIX_EPOCH,
        data: Bytes::from_static(b"1"),
        binary: false,
        snapshot: false,
        deleted: None,
    }
}

fn bounds(overflow: Overflow) -> Bounds {
    Bounds { count: 4, overflow }
}

fn push(queues: &mut Queues, message: Message) {
    let before: Option<Cursor> = Some(cursor(message.offset - 1));
    queues.push(&Event::Message(message), &before);
}

/// Takes everything out; messages as their offsets, gaps as ranges.
fn drain(queues: &mut Queues, id: u64) -> Vec<(i64, i64)> {
    let queue = queues.queues.get_mut(&id).unwrap();
    let range = |event| match event {
        Event::Message(message) => (message.offset, message.offset),
        Event::Gap(gap) => (gap.first, gap.last),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| queue.pop()).map(range).collect()
}

#[test]
fn every_subscription_gets_its_channels_and_the_one_for_everything_gets_all() {
    let mut queues = Queues::default();
    let a = queues.add(vec!["a.*".to_owned()], false, bounds(Overflow::Wait));
    let b = queues.add(vec!["b".to_owned(), "a.1".to_owned()], false, bounds(Overflow::Wait));
    let all = queues.add(Vec::new(), false, bounds(Overflow::Wait));
    for (channel, offset) in [("a.1", 1), ("a.2", 2), ("b", 3), ("c", 4)] {
        push(&mut queues, value(channel, offset));
    }
    assert_eq!(drain(&mut queues, a), [(1, 1), (2, 2)]);
    assert_eq!(drain(&mut queues, b), [(1, 1), (3, 3)]);
    assert_eq!(drain(&mut queues, all).len(), 4);
    let channels = vec!["b".to_owned(), "c".to_owned()];
    let all_of_them = Subscribed { channels, offset: 1, resumed: false, recovered: false };
    queues.push(&Event::Subscribed(all_of_them.clone()), &None);
    let (channel, code) = ("a.*".to_owned(), "not_allowed".to_owned());
    let rejected = Event::Rejected(Rejected { channel, code });
    queues.push(&rejected, &None);
    let mine = Subscribed { channels: vec!["b".to_owned()], ..all_of_them };
    assert_eq!(queues.queues.get_mut(&b).unwrap().pop(), Some(Event::Subscribed(mine)));
    assert_eq!(queues.queues.get_mut(&b).unwrap().pop(), None);
    assert_eq!(queues.queues.get_mut(&a).unwrap().pop(), Some(rejected));
}

#[test]
fn the_cursor_is_before_the_first_event_that_nobody_took() {
    let mut queues = Queues::default();
    let a = queues.add(vec!["a".to_owned()], false, bounds(Overflow::Wait));
    let b = queues.add(vec!["b".to_owned()], false, bounds(Overflow::Report));
    assert_eq!(queues.behind(), None);
    push(&mut queues, value("a", 1));
    for offset in 2..12 {
        push(&mut queues, value("b", offset));
    }
    assert_eq!(queues.behind(), Some(&Some(cursor(0))));
    drain(&mut queues, a);
    assert_eq!(queues.behind(), Some(&Some(cursor(1))));
    for _ in 0..4 {
        queues.queues.get_mut(&b).unwrap().pop();
    }
    // What was dropped is not taken before its gap is.
    assert_eq!(queues.behind(), Some(&Some(cursor(5))));
    assert_eq!(drain(&mut queues, b), [(6, 11)]);
    assert_eq!(queues.behind(), None);
}

#[test]
fn a_full_queue_is_waited_for_only_by_what_is_for_it() {
    let mut queues = Queues::default();
    let a = queues.add(vec!["a".to_owned()], false, bounds(Overflow::Wait));
    queues.add(vec!["b".to_owned()], false, bounds(Overflow::Wait));
    for offset in 1..=4 {
        push(&mut queues, value("a", offset));
    }
    assert!(queues.is_blocked(&Event::Message(value("a", 5))));
    assert!(!queues.is_blocked(&Event::Message(value("b", 5))));
    queues.queues.get_mut(&a).unwrap().pop();
    assert!(!queues.is_blocked(&Event::Message(value("a", 5))));
}

#[test]
fn a_queue_is_full_of_bytes_too() {
    let mut queues = Queues::default();
    queues.add(vec!["a".to_owned()], false, bounds(Overflow::Wait));
    let data = Bytes::from(vec![b' '; 16 << 20]);
    push(&mut queues, Message { data, ..value("a", 1) });
    assert!(queues.is_blocked(&Event::Message(value("a", 2))));
}

#[test]
fn what_a_full_queue_drops_is_reported_before_what_comes_next() {
    let mut queues = Queues::default();
    let id = queues.add(vec![">".to_owned()], false, bounds(Overflow::Report));
    for offset in 1..=9 {
        push(&mut queues, value(if offset % 2 == 0 { "even" } else { "odd" }, offset));
    }
    assert!(!queues.is_blocked(&Event::Message(value("odd", 11))));
    let queue = queues.queues.get_mut(&id).unwrap();
    queue.pop();
    queue.pop();
    queue.pop();
    push(&mut queues, value("odd", 11));
    assert_eq!(drain(&mut queues, id), [(4, 4), (6, 8), (5, 9), (11, 11)]);
}

#[test]
fn dropping_many_channels_stays_bounded_and_covers_all_of_them() {
    let mut queues = Queues::default();
    let id = queues.add(vec![">".to_owned()], false, bounds(Overflow::Report));
    for offset in 1..=10_004 {
        push(&mut queues, value(&format!("c.{offset}"), offset));
    }
    let queue = queues.queues.get_mut(&id).unwrap();
    let mut gaps = Vec::new();
    while let Some(event) = queue.pop() {
        if let Event::Gap(gap) = event {
            gaps.push(gap);
        }
    }
    assert!(gaps.len() <= 4096, "{}", gaps.len());
    let covers = |gap: &Gap, n: i64| {
        (gap.channel == ">" || gap.channel == format!("c.{n}"))
            && (gap.first..=gap.last).contains(&n)
    };
    let missing = (5..=10_004).find(|n| !gaps.iter().any(|gap| covers(gap, *n)));
    assert_eq!(missing, None);
}

#[test]
fn last_values_that_another_subscription_asked_for_do_not_come_again() {
    let mut queues = Queues::default();
    let plain = queues.add(vec!["a".to_owned()], false, bounds(Overflow::Wait));
    let first = queues.add(vec!["a".to_owned()], true, bounds(Overflow::Wait));
    let channels = vec!["a".to_owned()];
    let subscribed = Subscribed { channels, offset: 5, resumed: false, recovered: false };
    queues.push(&Event::Subscribed(subscribed), &None);
    for id in [plain, first] {
        queues.queues.get_mut(&id).unwrap().pop();
    }
    let last = |offset| Message { snapshot: true, ..value("a", offset) };
    push(&mut queues, last(3));
    let second = queues.add(vec!["a".to_owned()], true, bounds(Overflow::Wait));
    push(&mut queues, last(3));
    push(&mut queues, last(7)); // of a channel with a maxRate, after a resume
    assert_eq!(drain(&mut queues, plain), [(7, 7)]);
    assert_eq!(drain(&mut queues, first), [(3, 3), (7, 7)]);
    assert_eq!(drain(&mut queues, second), [(3, 3), (7, 7)]);
}

#[test]
fn a_pattern_is_wanted_until_its_last_subscription_is_dropped() {
    let mut queues = Queues::default();
    let one = queues.add(vec!["a".to_owned(), "b".to_owned()], false, bounds(Overflow::Wait));
    let other = queues.add(vec!["a".to_owned()], false, bounds(Overflow::Wait));
    assert_eq!(queues.remove(one), ["b"]);
    assert_eq!(queues.remove(other), ["a"]);
    assert_eq!(queues.remove(other), [""; 0]);
}
