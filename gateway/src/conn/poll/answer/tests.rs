//! Answers made of pushes as a session would send them, at made-up instants.

use serde_json::{Value, json};

use super::*;

/// A poll under way.
struct Poll {
    answer: Answer,
    out: String,
    now: Duration,
}

impl Poll {
    fn of(begins: bool, values: bool, wait: u64) -> Self {
        let (now, wait) = (Duration::from_secs(1_000), Duration::from_secs(wait));
        let answer = Answer::new(Terms { begins, values, wait }, now);
        let mut poll = Self { answer, out: String::new(), now };
        poll.say(json!({ "type": "connection:established", "epoch": "e" }));
        poll
    }

    /// With a cursor at 10, acknowledged.
    fn resumed(wait: u64, recovered: bool) -> Self {
        let mut poll = Self::of(false, false, wait);
        poll.say(json!({ "type": "subscription_ack", "subscribed": ["a"], "rejected": [],
            "offset": 10, "recovered": recovered }));
        poll
    }

    fn say(&mut self, push: Value) {
        self.answer.push(&push.to_string(), &mut self.out, self.now);
    }

    fn ack(&mut self, offset: u64) {
        self.say(json!({ "type": "subscription_ack", "subscribed": ["a"], "rejected": [],
            "offset": offset }));
    }

    fn message(&mut self, offset: u64) {
        self.say(json!({ "type": "message", "channel": "a", "offset": offset }));
    }

    fn value(&mut self, offset: u64) {
        self.say(json!({ "type": "message", "channel": "a", "offset": offset, "snapshot": true }));
    }

    fn gap(&mut self, from: u64, to: u64) {
        self.say(json!({ "type": "gap", "channel": "a", "from": from, "to": to,
            "reason": "retention" }));
    }

    fn live(&mut self, offset: u64) {
        self.say(json!({ "type": "live", "offset": offset }));
    }

    fn close(&mut self) {
        self.answer.cut("restart", &mut self.out);
    }

    /// Time until the answer does something by itself.
    fn timeout(&self) -> Option<Duration> {
        self.answer.until().map(|until| until - self.now)
    }

    fn expire(&mut self) -> Expired {
        self.answer.expire(&mut self.out)
    }

    fn json(&self) -> Value {
        assert!(self.answer.is_done(), "{:?}", self.answer);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    fn count(&self, field: &str) -> usize {
        self.json()[field].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn the_cursor_moves_on_though_nothing_matches() {
    let mut poll = Poll::resumed(0, true);
    assert_eq!(poll.timeout(), Some(SEARCH), "a client that does not wait gets what is there, too");
    poll.live(500);
    assert_eq!(poll.timeout(), Some(GATHER));
    assert_eq!(poll.expire(), Expired::Ended);
    assert_eq!(poll.json(), json!({ "messages": [], "recovered": true, "cursor": "e:500" }));
}

#[test]
fn a_long_search_that_finds_nothing_reports_how_far_it_has_come() {
    let mut poll = Poll::resumed(25, true);
    assert_eq!(poll.timeout(), Some(Duration::from_secs(25)));
    assert_eq!(poll.expire(), Expired::NeedsPosition);
    assert_eq!(poll.timeout(), None, "a shard says at once how far it is");
    poll.answer.reach(90_000, &mut poll.out);
    assert_eq!(poll.json()["cursor"], "e:90000");
}

#[test]
fn the_first_message_ends_the_wait_and_later_ones_do_not_prolong_it() {
    let mut poll = Poll::resumed(25, true);
    poll.message(11);
    assert_eq!(poll.timeout(), Some(GATHER));
    poll.now += GATHER / 2;
    poll.message(12);
    assert_eq!(poll.timeout(), Some(GATHER / 2));
    assert_eq!(poll.expire(), Expired::Ended);
    assert_eq!((poll.json()["cursor"].clone(), poll.count("messages")), (json!("e:12"), 2));
}

#[test]
fn an_answer_ends_with_the_thousandth_message_or_a_mebibyte() {
    let mut poll = Poll::resumed(25, true);
    (1..=MOST as u64).for_each(|n| poll.message(10 + n));
    assert_eq!((poll.json()["cursor"].clone(), poll.count("messages")), (json!("e:1010"), MOST));

    let mut poll = Poll::resumed(25, true);
    let large = "x".repeat(MOST_BYTES);
    poll.say(json!({ "type": "message", "channel": "a", "offset": 11, "data": large }));
    assert_eq!((poll.json()["cursor"].clone(), poll.count("messages")), (json!("e:11"), 1));
}

#[test]
fn a_gap_is_reported_by_the_one_answer_whose_cursor_is_after_it() {
    let mut poll = Poll::resumed(25, false);
    poll.gap(50, 60);
    poll.message(20);
    poll.expire();
    let message = json!({ "type": "message", "channel": "a", "offset": 20 });
    let answer = json!({ "messages": [message], "recovered": true, "cursor": "e:20" });
    assert_eq!(poll.json(), answer);

    let mut poll = Poll::resumed(25, false);
    poll.gap(50, 60);
    poll.message(20);
    poll.message(70);
    poll.expire();
    let gap = json!({ "type": "gap", "channel": "a", "from": 50, "to": 60, "reason": "retention" });
    assert_eq!((&poll.json()["gaps"], &poll.json()["recovered"]), (&json!([gap]), &json!(false)));
}

#[test]
fn a_gap_alone_ends_the_wait_with_a_cursor_behind_it() {
    let mut poll = Poll::resumed(25, false);
    poll.gap(11, 40);
    assert_eq!(poll.timeout(), Some(SEARCH), "what follows it is on its way");
    poll.live(70);
    assert_eq!(poll.timeout(), Some(GATHER));
    poll.gap(71, 75);
    poll.expire();
    assert_eq!((poll.json()["cursor"].clone(), poll.count("gaps")), (json!("e:75"), 2));
}

#[test]
fn last_values_are_never_cut_and_the_answer_ends_where_everything_is_live() {
    let mut poll = Poll::of(true, true, 25);
    poll.ack(9_000);
    (1..=3 * MOST as u64).for_each(|n| poll.value(n));
    assert_eq!(poll.timeout(), None);
    poll.message(9_001);
    poll.live(9_005);
    let json = poll.json();
    assert_eq!((&json["cursor"], json.get("recovered")), (&json!("e:9005"), None));
    assert_eq!(poll.count("messages"), 3 * MOST + 1);
}

#[test]
fn without_cursor_and_values_the_acknowledgement_is_the_answer() {
    let mut poll = Poll::of(true, false, 25);
    poll.ack(7);
    assert_eq!(poll.json(), json!({ "messages": [], "cursor": "e:7" }));
}

#[test]
fn rejected_channels_are_reported_and_without_others_nothing_is_waited_for() {
    let mut poll = Poll::of(false, false, 25);
    let rejected = json!([{ "channel": "a..b", "code": "invalid_channel" }]);
    poll.say(json!({ "type": "subscription_ack", "subscribed": [], "rejected": rejected,
        "rejectedCount": 300, "recovered": true, "offset": 9 }));
    let json = poll.json();
    assert_eq!((&json["rejected"], &json["rejectedCount"]), (&rejected, &json!(300)));
    assert_eq!(json["cursor"], "e:9");
}

#[test]
fn a_cut_leaves_what_the_answer_has_but_no_part_of_the_last_values() {
    let mut poll = Poll::resumed(25, true);
    poll.message(11);
    poll.close();
    assert_eq!((&poll.json()["cursor"], poll.answer.leaving), (&json!("e:11"), true));

    let mut poll = Poll::of(true, true, 25);
    poll.ack(9);
    poll.value(1);
    poll.close();
    assert!(matches!(poll.answer.broken(), Some(Broken::Unavailable(_))));

    let mut poll = Poll::of(false, false, 25);
    poll.close();
    assert!(matches!(poll.answer.broken(), Some(Broken::Unavailable(_))));
}

#[test]
fn a_refused_command_is_a_refused_request() {
    let mut poll = Poll::of(false, false, 25);
    poll.say(json!({ "type": "error", "code": "too_many_channels", "message": "no" }));
    let (code, message) = ("too_many_channels".to_owned(), "no".to_owned());
    assert_eq!(poll.answer.broken(), Some(&Broken::Refused { code, message }));
}

#[test]
fn an_answer_whose_messages_come_live_ends_with_what_fits_the_memory_of_a_waiting_poll() {
    let mut poll = Poll::resumed(25, true);
    poll.live(10);
    let large = "x".repeat(MOST_LIVE_BYTES / 2);
    for offset in [11, 12] {
        assert!(!poll.answer.is_done());
        poll.say(json!({ "type": "message", "channel": "a", "offset": offset, "data": large }));
    }
    assert_eq!((poll.json()["cursor"].clone(), poll.count("messages")), (json!("e:12"), 2));
}

#[test]
fn an_answer_ends_early_with_what_it_has_unless_last_values_are_owed() {
    let mut poll = Poll::resumed(25, true);
    poll.answer.end_early(&mut poll.out);
    assert!(!poll.answer.is_done(), "there is nothing to answer with");
    poll.message(11);
    poll.answer.end_early(&mut poll.out);
    assert_eq!(poll.json()["cursor"], json!("e:11"));

    let mut poll = Poll::of(true, true, 25);
    poll.ack(9);
    poll.value(1);
    poll.answer.end_early(&mut poll.out);
    assert!(!poll.answer.is_done(), "the rest of the values would be lost");
}
