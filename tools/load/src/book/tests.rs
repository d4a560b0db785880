use super::*;
use crate::worker::tests::plan;

const RUN: Publishing = Publishing { run: 1, start_ns: 0, rate: 1_000.0, channels: 1 };
const MS: u64 = 1_000_000;

fn stamped(run: u32, number: u64) -> String {
    Stamp { run, channel: 0, number, due_ns: number * MS }.payload(0)
}

#[test]
fn only_messages_of_this_run_count_where_it_publishes() {
    let mut book = Book::new(&WorkerPlan { publishing: Some(RUN), ..plan(1) });
    book.acknowledged(0, &[0], 0);
    for (run, number) in [(1, 3), (2, 9), (1, 4), (1, 4), (1, 6)] {
        let text = stamped(run, number);
        let told = Told { text: &text, sequence: Some((9, 1)), ..Told::default() };
        book.message(0, &told, 10 * MS);
    }
    assert_eq!((book.ours, book.sums.lost, book.sums.twice), (4, 1, 1));
    assert_eq!(book.latency.percentiles().unwrap().count, 4);
    assert_eq!(book.missing(8), 2, "7 and 8 have not come");
}

#[test]
fn a_client_that_never_subscribed_misses_nothing_and_one_that_did_misses_all_after() {
    let mut book = Book::new(&WorkerPlan { publishing: Some(RUN), ..plan(2) });
    assert_eq!(book.missing(100), 0);
    book.acknowledged(1, &[0], 50 * MS);
    assert_eq!(book.missing(100), 48, "those that are due after 51 ms");
    book.acknowledged(1, &[0], 90 * MS);
    assert_eq!((book.reconnects, book.missing(100)), (1, 48));
}

#[test]
fn what_the_stream_has_not_confirmed_is_not_lost_and_may_arrive() {
    let mut book = Book::new(&WorkerPlan { publishing: Some(RUN), ..plan(1) });
    book.acknowledged(0, &[0], 0);
    for number in [3, 6, 7] {
        let text = stamped(1, number);
        book.message(0, &Told { text: &text, ..Told::default() }, 10 * MS);
    }
    assert_eq!((book.sums.lost, book.missing(10)), (2, 3));
    // Numbers begin with 1, messages with 0: 4, 8 and 10 on the channel. 7 is stored, too, and has arrived.
    [(3, 3), (6, 7), (9, 9)].into_iter().for_each(|(from, to)| book.unstored(from, to));
    assert_eq!((book.settled_sums().lost, book.missing(10)), (1, 1));
    assert_eq!((book.settled_sums().twice, book.settled_sums().late), (0, 0));
}

#[test]
fn the_clock_of_the_server_is_known_as_exactly_as_the_fastest_answer() {
    let mut book = Book::new(&plan(1));
    book.pong(5, 1);
    assert_eq!(book.skew, None, "nobody asked");
    book.pinged(1_000 * MS);
    book.pong(1_107, 1_010 * MS);
    book.pinged(2_000 * MS);
    book.pong(2_100, 2_001 * MS);
    book.pinged(3_000 * MS);
    book.pong(9_999, 3_500 * MS);
    let skew = book.skew.unwrap();
    assert!((skew.ahead_ms - 100.0).abs() < 0.01 && (skew.error_ms - 1.0).abs() < 0.01);
}

#[test]
fn who_was_away_catches_up_without_latency_and_who_begins_anew_misses_nothing() {
    let mut book = Book::new(&plan(2));
    book.acknowledged(0, &[0], 0);
    let told = |time_ns| Told { time_ns: Some(time_ns), ..Told::default() };
    book.comes(0, true);
    book.message(0, &told(10), 50);
    book.acknowledged(0, &[0], 60);
    book.message(0, &told(20), 70);
    book.message(0, &told(65), 70);
    assert_eq!((book.caught_up, book.latency.percentiles().unwrap().count), (2, 1));
    assert_eq!(book.reconnects, 0, "it left by itself");
    book.acknowledged(0, &[0], 80);
    assert_eq!(book.reconnects, 1, "it lost its connection");

    let publishing = Publishing { run: 1, start_ns: 0, rate: 1e9, channels: 1 };
    let mut book = Book::new(&WorkerPlan { publishing: Some(publishing), ..plan(2) });
    for client in 0..2 {
        book.acknowledged(client, &[0], 10);
    }
    assert!(book.missing(100) > 100);
    book.comes(0, false);
    book.comes(1, true);
    assert!((1..100).contains(&book.missing(100)), "only who continues still waits");
    book.excuse(1);
    assert_eq!(book.missing(100), 0);
}

#[test]
fn the_clock_of_the_stream_is_known_where_messages_carry_it_and_we_know_when_they_were_due() {
    let publishing = Some(RUN);
    for (wire, known) in [(Wire::Events, true), (Wire::Symbols, true), (Wire::V1, false)] {
        let mut book = Book::new(&WorkerPlan { publishing, wire, ..plan(1) });
        let text = stamped(1, 50);
        let told = Told { text: &text, time_ns: Some(61 * MS), sequence: None };
        book.message(0, &told, 53 * MS);
        let skew = Skew { ahead_ms: 10.0, error_ms: 2.0 };
        assert_eq!(book.clock(), known.then_some(skew));
    }
}

#[test]
fn a_clock_that_jumps_by_hours_makes_no_latency_and_is_counted() {
    const HOUR: u64 = 3_600_000 * MS;
    let (mut book, now) = (Book::new(&plan(1)), 100 * HOUR);
    let ms = |count: u64| count * MS;
    for (time_ns, now_ns) in [
        (now, now + ms(5)),
        (now + 2 * HOUR, now + ms(15)),
        (now + 2 * HOUR + ms(10), now + ms(25)),
        (now - 3 * HOUR, now + ms(35)),
        (0, now + ms(40)),
        (u64::MAX, now + ms(40)),
        (now + ms(40), now + ms(45)),
    ] {
        book.message(0, &Told { time_ns: Some(time_ns), ..Told::default() }, now_ns);
    }
    let latency = book.latency.percentiles().unwrap();
    assert_eq!((latency.count, book.misdated, book.early, book.set_back), (2, 5, 0, 3));
    assert!(latency.min_ms > 4.9 && latency.max_ms < 5.1, "{latency:?}");
}

#[test]
fn a_clock_that_is_set_back_by_minutes_is_counted_for_the_client_that_sees_it() {
    const MINUTE: u64 = 60_000 * MS;
    let (mut book, now) = (Book::new(&plan(2)), 100 * MINUTE);
    for (index, time_ns) in
        [(0, now), (0, now - 500 * MS), (1, now - MINUTE), (0, now - 2 * MINUTE), (7, 0)]
    {
        book.message(index, &Told { time_ns: Some(time_ns), ..Told::default() }, now);
    }
    assert_eq!((book.set_back, book.early, book.misdated), (1, 0, 1));
}

#[test]
fn a_message_from_the_future_is_early_and_no_latency_below_nothing() {
    let mut book = Book::new(&plan(1));
    let told = Told { time_ns: Some(20), sequence: Some((1, 1)), ..Told::default() };
    book.message(0, &told, 10);
    book.message(7, &told, 10);
    assert_eq!((book.early, book.latency.percentiles().unwrap().count), (2, 2));
}
