use super::*;

/// Three channels; client 0 hears all, client 1 the two of the first group, client 2 one by name.
fn ledger() -> Ledger {
    let channels = ["a.x", "a.y", "b.x"].map(str::to_owned).to_vec();
    let patterns = [">", "a.*", "b.x"].map(|pattern| vec![pattern.to_owned()]);
    Ledger::new(channels, &patterns)
}

/// Messages of one channel that nobody gets yet.
fn publish(ledger: &mut Ledger, channel: u16, offsets: impl Iterator<Item = u64>) {
    offsets.for_each(|offset| {
        ledger.book.publish(channel, offset);
    });
}

/// Publishes rounds on all channels and gives every client all of it; offsets count from `first`.
fn in_step(ledger: &mut Ledger, rounds: u32, first: u64) -> u64 {
    let mut offset = first;
    for _ in 0..rounds {
        for (channel, name) in (0..).zip(["a.x", "a.y", "b.x"]) {
            let number = ledger.book.publish(channel, offset);
            for client in 0..3 {
                let heard = client == 0 || (client == 1) == name.starts_with('a');
                if heard {
                    assert_eq!(ledger.message(client, name, number, offset), Verdict::Next);
                }
            }
            offset += 1;
        }
    }
    offset
}

#[test]
fn what_comes_once_in_order_to_those_who_asked_is_faultless() {
    let mut ledger = ledger();
    in_step(&mut ledger, 10, 1);
    assert_eq!(ledger.behind(&ledger.book.mark()), 0);
    let (counts, examples) = ledger.settle();
    assert_eq!(counts, Counts { delivered: 60, ..Counts::default() });
    assert!(counts.is_faultless(Excuse::Nothing) && examples.is_empty());
}

#[test]
fn a_message_that_does_not_come_is_lost_to_each_who_asked_for_it() {
    let mut ledger = ledger();
    let offset = in_step(&mut ledger, 2, 1);
    ledger.book.publish(0, offset);
    ledger.book.publish(0, offset + 1);
    // Client 0 misses one in the middle, client 1 both at the end, client 2 is not concerned.
    assert_eq!(ledger.message(0, "a.x", 4, offset + 1), Verdict::AfterHole);
    assert_eq!(ledger.behind(&ledger.book.mark()), 1);
    let (counts, examples) = ledger.settle();
    assert_eq!((counts.lost, counts.twice, counts.out_of_order), (3, 0, 0));
    assert!(!counts.is_faultless(Excuse::Epoch));
    assert_eq!(examples[0], "client 0: a.x #3 of stream 0 at 7 did not come");
    // Settled: the next message is the next one for all.
    in_step(&mut ledger, 1, offset + 2);
    assert!(ledger.settle().0.is_faultless(Excuse::Nothing));
}

#[test]
fn a_repetition_is_told_from_a_late_message_and_from_the_streams_own_copy() {
    let mut ledger = ledger();
    let offset = in_step(&mut ledger, 2, 1);
    assert_eq!(ledger.message(2, "b.x", 2, 6), Verdict::Twice);
    assert_eq!(ledger.message(2, "b.x", 1, 3), Verdict::Twice);
    assert_eq!(ledger.message(2, "b.x", 2, 60), Verdict::StoredTwice);
    publish(&mut ledger, 0, (0..4).map(|n| offset + n));
    assert_eq!(ledger.message(1, "a.x", 6, offset + 3), Verdict::AfterHole);
    assert_eq!(ledger.message(1, "a.x", 4, offset + 1), Verdict::OutOfOrder);
    assert_eq!(ledger.message(1, "a.x", 4, offset + 1), Verdict::Twice);
    assert_eq!(ledger.message(1, "a.x", 3, offset), Verdict::OutOfOrder);
    assert_eq!(ledger.message(1, "a.x", 5, offset + 2), Verdict::OutOfOrder);
    for (number, offset) in (3..).zip(offset..offset + 4) {
        ledger.message(0, "a.x", number, offset);
    }
    let (counts, _) = ledger.settle();
    assert_eq!((counts.lost, counts.twice, counts.out_of_order), (0, 3, 3), "{counts:?}");
    assert_eq!(counts.stored_twice, 1);
}

#[test]
fn channels_overtaking_each_other_are_out_of_order_too() {
    let mut ledger = ledger();
    ledger.book.publish(0, 1);
    ledger.book.publish(1, 2);
    assert_eq!(ledger.message(1, "a.y", 1, 2), Verdict::Next);
    assert_eq!(ledger.message(1, "a.x", 1, 1), Verdict::OutOfOrder);
}

#[test]
fn what_was_not_asked_for_or_cannot_be_read_is_counted() {
    let mut ledger = ledger();
    assert_eq!(ledger.message(2, "a.x", 1, 1), Verdict::Stray);
    assert_eq!(ledger.message(0, "c.x", 1, 1), Verdict::Stray);
    ledger.garbled(0, "{}");
    let (counts, _) = ledger.settle();
    assert_eq!((counts.stray, counts.garbled), (2, 1));
    assert!(!counts.is_faultless(Excuse::Epoch));
}

#[test]
fn a_loss_is_told_only_within_the_channel_and_the_range_of_the_gap() {
    let mut ledger = ledger();
    let offset = in_step(&mut ledger, 1, 1);
    publish(&mut ledger, 0, (0..4).map(|n| offset + n));
    publish(&mut ledger, 1, (0..2).map(|n| offset + 4 + n));
    ledger.told(1, "*.x", (offset, offset + 9), "retention");
    ledger.told(1, "*.y", (offset, offset + 4), "slow_consumer");
    ledger.told(0, ">", (offset, offset + 1), "retention");
    // The stream has the last three of six.
    ledger.book.discarded(offset + 3);
    let (counts, _) = ledger.settle();
    // Client 0: two told, a third gone without a word, three there. Client 1: three gone and told, the rest is there.
    assert_eq!((counts.told_missing, counts.lost), (2 + 3, 4 + 3), "{counts:?}");
    assert_eq!((counts.told_retention, counts.told_otherwise), (2, 1));
    assert!(!counts.is_faultless(Excuse::Retention), "lost is lost");
}

#[test]
fn of_a_replaced_stream_all_is_told_and_of_the_new_one_only_what_lies_before_the_answer() {
    let mut ledger = ledger();
    let offset = in_step(&mut ledger, 2, 1);
    ledger.book.publish(2, offset); // not delivered any more
    ledger.book.next_stream();
    publish(&mut ledger, 2, 1..=4);
    ledger.told(0, ">", (0, 2), "epoch");
    ledger.acknowledged(0, 2);
    assert!(ledger.knows_epoch(0) && !ledger.knows_epoch(2));
    assert_eq!(ledger.aim(0), 4);
    assert_eq!(ledger.message(0, "b.x", 6, 3), Verdict::AfterHole);
    assert_eq!(ledger.message(0, "b.x", 7, 4), Verdict::Next);
    assert_eq!(ledger.behind(&ledger.book.mark()), 1, "client 2 was told nothing");
    let (counts, _) = ledger.settle();
    // Client 0: one of the old stream, two of the new. Client 2: all five.
    assert_eq!((counts.told_missing, counts.lost), (3, 5), "{counts:?}");
    assert!(!ledger.knows_epoch(0), "settled");
    assert!(Counts { lost: 0, ..counts }.is_faultless(Excuse::Epoch));
    assert!(!Counts { lost: 0, ..counts }.is_faultless(Excuse::Nothing));
}

#[test]
fn holes_beyond_the_bound_are_lost_all_the_same() {
    let mut ledger = Ledger::new(vec!["a".to_owned()], &[vec!["a".to_owned()]]);
    let count = 2 * MAX_HOLES as u32 + 20;
    publish(&mut ledger, 0, (1..=count).map(u64::from));
    for number in (1..=count).step_by(2) {
        ledger.message(0, "a", number, u64::from(number));
    }
    let (counts, examples) = ledger.settle();
    assert_eq!(counts.lost, u64::from(count / 2));
    assert_eq!(examples.len(), MAX_EXAMPLES);
}

#[test]
fn a_client_that_loses_one_message_of_any_is_found_out() {
    // Every single omission, repetition and swap in a stream of 30 is found by the counts.
    let stream: Vec<(u16, u64)> = (0..30).map(|n| ((n % 3) as u16, n + 1)).collect();
    let names = ["a.x", "a.y", "b.x"];
    let play = |order: &[usize]| {
        let mut ledger = ledger();
        let numbers: Vec<_> =
            stream.iter().map(|(channel, offset)| ledger.book.publish(*channel, *offset)).collect();
        for at in order {
            let (channel, offset) = stream[*at];
            ledger.message(0, names[usize::from(channel)], numbers[*at], offset);
        }
        ledger.close_others();
        ledger.settle().0
    };
    let right: Vec<usize> = (0..30).collect();
    assert!(play(&right).is_faultless(Excuse::Nothing));
    for at in 0..30 {
        let mut omitted = right.clone();
        omitted.remove(at);
        assert_eq!(play(&omitted).lost, 1, "{at}");
        let mut repeated = right.clone();
        repeated.push(at);
        assert_eq!(play(&repeated).twice, 1, "{at}");
        if at > 0 {
            let mut swapped = right.clone();
            swapped.swap(at - 1, at);
            assert!(play(&swapped).out_of_order > 0, "{at}");
        }
    }
}

impl Ledger {
    /// Leaves client 0 alone in the books.
    fn close_others(&mut self) {
        self.accounts.truncate(1);
    }
}

#[test]
fn a_channel_of_poison_is_known_in_every_way_of_writing_it() {
    let mut ledger = Ledger::new(vec!["a%01.x".to_owned()], &[vec![">".to_owned()]]);
    publish(&mut ledger, 0, 1..=3);
    for (number, name) in [(1, "a%01.x"), (2, "a\\u0001.x"), (3, "a\u{1}.x")] {
        assert_eq!(ledger.message(0, name, number, number.into()), Verdict::Next, "{name:?}");
    }
    assert!(ledger.settle().0.is_faultless(Excuse::Nothing));
}

#[test]
fn a_client_that_left_is_owed_nothing_until_it_joins_again() {
    let mut ledger = ledger();
    let offset = in_step(&mut ledger, 2, 1);
    ledger.left(1);
    publish(&mut ledger, 0, (0..2).map(|n| offset + n));
    for number in [3, 4] {
        ledger.message(0, "a.x", number, offset + u64::from(number) - 3);
    }
    assert_eq!(ledger.behind(&ledger.book.mark()), 0);
    assert!(ledger.settle().0.is_faultless(Excuse::Nothing));
    ledger.join(1);
    let offset = in_step(&mut ledger, 2, offset + 2);
    assert!(ledger.settle().0.is_faultless(Excuse::Nothing));
    publish(&mut ledger, 1, [offset].into_iter());
    assert_eq!(
        ledger.settle().0.lost,
        2,
        "owed to the one that hears all and to the one that joined"
    );
}
