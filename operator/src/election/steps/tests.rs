//! The election step by step, with made-up instants.

use super::*;

const TIMING: Timing = Timing {
    lease: Duration::from_secs(15),
    renew: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn clock() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn at(second: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(second).unwrap())
}

fn candidate(name: &str) -> Election {
    Election::new(name.to_owned(), TIMING)
}

fn of(holder: &str, renewed: i64) -> Record {
    Record {
        holder: holder.to_owned(),
        duration: TIMING.lease,
        acquired: at(1),
        renewed: at(renewed),
        transitions: 3,
    }
}

fn claimed(decision: Decision) -> Record {
    match decision {
        Decision::Claim(record) => record,
        other => panic!("no claim: {other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_lease_that_does_not_exist_or_has_no_holder_is_claimed_at_once() {
    let now = Instant::now();
    let first = claimed(candidate("a").step(None, now, clock()));
    assert_eq!((first.holder.as_str(), first.transitions, first.duration), ("a", 0, TIMING.lease));
    let free = of("b", 7).released(clock());
    let next = claimed(candidate("a").step(Some(&free), now, clock()));
    assert_eq!((next.holder.as_str(), next.transitions), ("a", 4));
}

#[test]
fn the_lease_of_another_is_taken_when_it_has_not_changed_for_its_duration_by_our_own_clock() {
    let (mut a, start) = (candidate("a"), Instant::now());
    // What the holder's clock says does not matter, be it of yesterday or of tomorrow.
    for renewed in [1, i64::from(u32::MAX)] {
        let record = of("b", renewed);
        assert_eq!(a.step(Some(&record), start, clock()), Decision::Wait(TIMING.retry));
        let late = start + seconds(14);
        assert_eq!(a.step(Some(&record), late, clock()), Decision::Wait(seconds(1)));
        assert_eq!(claimed(a.step(Some(&record), start + seconds(15), clock())).holder, "a");
        a = candidate("a");
    }
}

#[test]
fn each_change_of_the_lease_gives_its_holder_the_whole_duration_again() {
    let (mut a, start) = (candidate("a"), Instant::now());
    for second in 0..60 {
        let now = start + seconds(second);
        let decision = a.step(Some(&of("b", i64::try_from(second).unwrap())), now, clock());
        assert_eq!(decision, Decision::Wait(TIMING.retry), "{second}");
    }
}

#[test]
fn a_lease_is_held_from_the_start_of_the_request_until_the_renew_deadline() {
    let (mut a, start) = (candidate("a"), Instant::now());
    let record = claimed(a.step(None, start, clock()));
    let until = a.confirmed(record.clone(), start);
    assert_eq!(until, start + TIMING.renew);
    assert!(!a.is_over(until - seconds(1)) && a.is_over(until));
    // Renewed in time: held from the start of that request on.
    let renewed = claimed(a.step(Some(&record), start + seconds(9), clock()));
    assert_eq!(renewed.transitions, record.transitions);
    assert_eq!(a.confirmed(renewed, start + seconds(9)), start + seconds(19));
}

#[test]
fn a_holder_that_was_frozen_past_its_deadline_has_lost_whatever_the_lease_says() {
    for pause in [10, 15, 3_600] {
        let (mut a, start) = (candidate("a"), Instant::now());
        let record = claimed(a.step(None, start, clock()));
        a.confirmed(record.clone(), start);
        assert_eq!(a.step(Some(&record), start + seconds(pause), clock()), Decision::Lost);
        assert_eq!(a.until_due(start + seconds(pause)), Duration::ZERO);
    }
}

#[test]
fn a_holder_that_finds_another_holder_or_none_has_lost() {
    for record in [of("b", 9), of("b", 9).released(clock())] {
        let (mut a, start) = (candidate("a"), Instant::now());
        let mine = claimed(a.step(None, start, clock()));
        a.confirmed(mine, start);
        assert_eq!(a.step(Some(&record), start + seconds(1), clock()), Decision::Lost);
    }
}

#[test]
fn a_lease_that_is_deleted_by_hand_stays_with_its_holder() {
    let (mut a, mut b, start) = (candidate("a"), candidate("b"), Instant::now());
    let record = claimed(a.step(None, start, clock()));
    a.confirmed(record.clone(), start);
    assert_eq!(b.step(Some(&record), start, clock()), Decision::Wait(TIMING.retry));
    let now = start + seconds(3);
    assert_eq!(b.step(None, now, clock()), Decision::Wait(TIMING.retry));
    assert_eq!(claimed(a.step(None, now, clock())).holder, "a");
    assert_eq!(claimed(b.step(None, start + seconds(15), clock())).holder, "b");
}

#[test]
fn a_claim_whose_answer_was_lost_is_claimed_again_and_not_held_before() {
    let (mut a, start) = (candidate("a"), Instant::now());
    let record = claimed(a.step(None, start, clock()));
    assert!(!a.is_leading());
    let again = claimed(a.step(Some(&record), start + seconds(3), clock()));
    assert_eq!((again.holder.as_str(), again.transitions), ("a", 0));
    assert_eq!(a.confirmed(again, start + seconds(3)), start + seconds(13));
}

#[test]
fn a_lease_of_no_or_of_endless_duration_counts_as_a_second_or_an_hour() {
    let start = Instant::now();
    for (duration, expected) in [(Duration::ZERO, seconds(1)), (Duration::MAX, LONGEST)] {
        let (mut a, record) = (candidate("a"), Record { duration, ..of("b", 1) });
        a.step(Some(&record), start, clock());
        let before = a.step(Some(&record), start + expected - Duration::from_millis(1), clock());
        assert!(matches!(before, Decision::Wait(_)), "{duration:?}");
        claimed(a.step(Some(&record), start + expected, clock()));
    }
}

#[test]
fn two_candidates_that_freeze_and_miss_requests_at_random_never_both_hold_the_lease() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        let mut lease: Option<Record> = None;
        let mut pair = [candidate("a"), candidate("b")];
        let mut next = [0_u64, 0];
        for millis in (0..120_000).step_by(100) {
            let now = start + Duration::from_millis(millis);
            for who in 0..2 {
                if millis < next[who] {
                    continue;
                }
                let decision = pair[who].step(lease.as_ref(), now, clock_at(millis));
                // Frozen, or cut off, for up to forty seconds now and then.
                let pause = if random.u8(..8) == 0 { random.u64(..40_000) } else { 2_000 };
                next[who] = millis + pause;
                match decision {
                    Decision::Lost => pair[who] = candidate(["a", "b"][who]),
                    // The request arrives, and its answer may not.
                    Decision::Claim(record) => {
                        lease = Some(record.clone());
                        if random.u8(..4) > 0 {
                            pair[who].confirmed(record, now);
                        }
                    }
                    Decision::Wait(_) => {}
                }
            }
            let holding = |one: &Election| one.is_leading() && !one.is_over(now);
            assert!(!(holding(&pair[0]) && holding(&pair[1])), "seed {seed} at {millis} ms");
        }
    }
}

fn clock_at(millis: u64) -> Timestamp {
    Timestamp::from_millisecond(i64::try_from(millis).unwrap()).unwrap()
}

#[test]
fn times_that_exclude_each_other_are_refused_and_requests_fit_between_them() {
    let timing = |lease, renew, retry| Timing::new(seconds(lease), seconds(renew), seconds(retry));
    let good = timing(15, 10, 2).unwrap();
    assert!(good.request() < good.lease - good.renew);
    assert!(good.retry + good.request() + good.pause_after_trouble() + good.request() < good.renew);
    for (lease, renew, retry) in
        [(10, 10, 2), (15, 15, 2), (15, 10, 10), (15, 10, 0), (3_601, 10, 2)]
    {
        assert!(timing(lease, renew, retry).is_err(), "{lease} {renew} {retry}");
    }
}
