//! Patterns, lists, the ledger, delays and refusals.

use std::time::Duration;

use crate::backoff::{Attempts, Backoff, End, code};
use crate::channels::{first, matches};
use crate::ledger::{Ledger, Recent};

#[test]
fn patterns_match_as_those_of_nats() {
    for (one, other, expected) in [
        ("a.b", "a.b", true),
        ("a.*", "a.b", true),
        ("a.*", "a.b.c", false),
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        (">", "a", true),
        ("*.b", "a.*", true),
        ("a", "a.b", false),
        ("a.b", "a", false),
    ] {
        assert_eq!(matches(one, other), expected, "{one} {other}");
        assert_eq!(matches(other, one), expected, "{other} {one}");
    }
}

#[test]
fn a_list_is_cut_so_that_every_part_fits_as_json() {
    let channels = ["a", "\"ü\"", "c"].map(str::to_owned);
    let count = first(&channels, 14);
    assert_eq!(count, 2);
    assert!(serde_json::to_string(&channels[..count]).unwrap().len() <= 14 + 2);
    assert_eq!((first(&channels, 1), first(&channels, 1000), first(&[], 9)), (1, 3, 0));
}

#[test]
fn a_ledger_forgets_the_oldest_and_reports_no_hole_that_it_cannot_know() {
    let mut ledger = Ledger::new(2);
    for (channel, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        ledger.record(channel, offset, 0);
    }
    assert_eq!([ledger.last("a"), ledger.last("b"), ledger.last("c")], [0, 2, 3]);
    assert_eq!((ledger.hole("a", 1, 0), ledger.hole("b", 5, 0)), (None, Some(3)));
}

#[test]
fn a_bounded_map_drops_what_was_set_longest_ago() {
    let mut map = Recent::new(2);
    assert_eq!((map.set("a", 1), map.set("b", 2), map.set("a", 3)), (None, None, None));
    assert_eq!(map.set("c", 4), Some(2));
    assert_eq!(map.drain(), [("a".to_owned(), 3), ("c".to_owned(), 4)]);
}

#[test]
fn delays_are_random_below_a_ceiling_that_doubles_and_codes_that_stay_end_it() {
    let second = Duration::from_secs(1);
    let backoff = Backoff { base: second, cap: 8 * second, ..Backoff::default() };
    let abnormal = End::abnormal("");
    for (useless, seconds) in [(0, 1), (1, 2), (2, 4), (3, 8), (9999, 8)] {
        let so = Attempts { useless, ..Attempts::default() };
        assert_eq!(backoff.delay(&abnormal, so, 1.0), Some(seconds * second));
        assert_eq!(backoff.delay(&abnormal, so, 0.25), Some(seconds * second / 4));
    }
    for code in [1000, 1003, 1007, 1009, 4010, 4013, 4001, 4004] {
        assert_eq!(backoff.delay(&End::new(code, ""), Attempts::default(), 0.5), None, "{code}");
    }
    let advised = |code, seconds| End { advised: Some(seconds * second), ..End::new(code, "") };
    let so = |useless, refusals, can_renew| Attempts { useless, refusals, can_renew };
    for (end, so, chance, seconds) in [
        (End::new(code::TOO_MANY_COMMANDS, ""), so(0, 0, false), 0.0, 5),
        (advised(code::RESTART, 1), so(1, 0, false), 1.0, 1),
        (advised(code::RESTART, 1), so(2, 0, false), 1.0, 5),
        (advised(code::OVERLOADED, 3600), so(0, 0, false), 0.0, 120),
        (End::new(code::UNAUTHORIZED, ""), so(5, 1, true), 1.0, 1),
        (End::new(code::UNAUTHORIZED, ""), so(0, 2, true), 0.0, 5),
    ] {
        assert_eq!(backoff.delay(&end, so, chance), Some(seconds * second), "{end:?} {so:?}");
    }
}

#[test]
fn refusals_before_the_upgrade_mean_what_close_codes_mean() {
    for (status, body, retry, expected) in [
        (401, r#"{"code":"token_missing"}"#, None, (4001, "HTTP 401 token_missing", None)),
        (403, r#"{"code":"banned"}"#, Some("3"), (1013, "HTTP 403 banned", Some(3000))),
        (403, r#"{"code":"banned"}"#, None, (4013, "HTTP 403 banned", None)),
        (503, r#"{"code":"full","retryAfterMs":7}"#, Some("3"), (1013, "HTTP 503 full", Some(7))),
        (429, "[]", Some("-1"), (1013, "HTTP 429", None)),
        (404, "", None, (1006, "HTTP 404", None)),
    ] {
        let end = End::from_http(status, retry, body.as_bytes());
        let advised = end.advised.map(|advised| advised.as_millis());
        assert_eq!((end.code, end.reason.as_str(), advised), expected);
    }
    let long = format!(r#"{{"code":"{}"}}"#, "ü".repeat(500));
    assert!(End::from_http(403, None, long.as_bytes()).reason.len() <= 200);
}
