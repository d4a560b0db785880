//! The session: commands, acknowledgements, the cursor and holes.

use std::time::{Duration, Instant};

use super::{cursor, feed, greeted, message};
use crate::event::{Event, Gap, Rejected};
use crate::session::Session;
use crate::wire::Command;

const ACKNOWLEDGED: &str = r#"{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":5}"#;

fn only(session: &mut Session, now: Instant) -> Command {
    let mut commands = session.commands(now);
    assert_eq!(commands.len(), 1);
    commands.remove(0)
}

fn subscribed() -> Session {
    let mut session = greeted(None, &["a"]);
    only(&mut session, Instant::now());
    feed(&mut session, ACKNOWLEDGED);
    session
}

#[test]
fn commands_keep_to_the_rate_of_the_gateway() {
    let (mut session, now, mut sent) = (greeted(None, &[]), Instant::now(), 0);
    for n in 0..30 {
        session.subscribe(&format!("c.{n}"), false);
        for command in session.commands(now) {
            sent += 1;
            let (id, channels) = (command.id, serde_json::to_string(&command.channels).unwrap());
            let ack = format!(
                r#"{{"type":"subscription_ack","id":{id},"subscribed":{channels},"offset":1}}"#
            );
            feed(&mut session, &ack);
        }
    }
    assert!((1..=10).contains(&sent), "{sent}");
    let wake = session.commander.wake_at.unwrap();
    assert!(wake > now);
    only(&mut session, wake);
}

#[test]
fn the_cursor_stays_behind_the_command_that_is_catching_up() {
    let (mut session, now) = (greeted(Some(cursor(10)), &["a"]), Instant::now());
    assert_eq!(only(&mut session, now).resume, Some(cursor(10)));
    let ack =
        r#"{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":10,"recovered":true}"#;
    feed(&mut session, ack);
    feed(&mut session, &message("a", 12, 9));
    assert_eq!(session.cursor(), Some(cursor(12)));
    feed(&mut session, r#"{"type":"live","id":1,"offset":20}"#);
    session.subscribe("b", true);
    only(&mut session, now + Duration::from_secs(1));
    feed(&mut session, r#"{"type":"subscription_ack","id":2,"subscribed":["b"],"offset":21}"#);
    feed(&mut session, &message("a", 30, 12));
    assert_eq!(session.cursor(), Some(cursor(21)));
    session.ended();
    assert_eq!(session.cursor(), Some(cursor(21)));
}

#[test]
fn events_of_a_batch_move_the_cursor_one_by_one() {
    let mut session = greeted(None, &["a"]);
    only(&mut session, Instant::now());
    feed(&mut session, &ACKNOWLEDGED.replace('5', "0"));
    let batch = [message("a", 1, 0), message("a", 2, 1)].join(",");
    session.receive(format!(r#"{{"type":"batch","messages":[{batch}]}}"#).as_bytes());
    session.poll();
    assert_eq!(session.cursor(), Some(cursor(1)));
    session.ended(); // the second one was not taken: it comes again
    assert_eq!(session.cursor(), Some(cursor(1)));
}

#[test]
fn a_hole_that_nobody_reported_is_a_gap() {
    let mut session = subscribed();
    assert_eq!(feed(&mut session, &message("a", 7, 5)).len(), 1);
    session.receive(message("a", 12, 10).as_bytes());
    let (channel, reason) = ("a".to_owned(), "missed".to_owned());
    let gap = Gap { channel, first: 8, last: 10, reason };
    assert_eq!(session.poll(), Some(Event::Gap(gap)));
    assert_eq!(session.cursor(), Some(cursor(7)));
    assert!(matches!(session.poll(), Some(Event::Message(m)) if m.offset == 12));
    assert_eq!(session.cursor(), Some(cursor(12)));
    let gap = r#"{"type":"gap","channel":"a","from":13,"to":20,"reason":"slow_consumer"}"#;
    feed(&mut session, gap);
    assert_eq!(feed(&mut session, &message("a", 21, 20)).len(), 1);
}

#[test]
fn a_value_that_nobody_asked_for_comes_once() {
    let mut session = subscribed();
    assert_eq!(feed(&mut session, &message("a", 6, 0)).len(), 1);
    for (offset, count) in [(6, 0), (7, 1), (7, 0)] {
        let value = message("a", offset, 0).replace("ts\":1", "snapshot\":true");
        assert_eq!(feed(&mut session, &value).len(), count, "{offset}");
    }
}

#[test]
fn last_values_that_a_resume_does_not_bring_are_asked_for_afterwards() {
    let (mut session, now) = (Session::new(Some(cursor(10))), Instant::now());
    session.subscribe("a", true);
    feed(&mut session, r#"{"type":"connection:established","epoch":"e"}"#);
    let command = only(&mut session, now);
    assert_eq!((command.snapshot, command.resume), (true, Some(cursor(10))));
    let ack =
        r#"{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":10,"recovered":true}"#;
    feed(&mut session, ack);
    feed(&mut session, r#"{"type":"live","id":1,"offset":12}"#);
    let command = only(&mut session, now);
    assert_eq!(
        (command.snapshot, command.resume, &command.channels[..]),
        (true, None, &["a".to_owned()][..])
    );
    feed(&mut session, r#"{"type":"subscription_ack","id":2,"subscribed":["a"],"offset":12}"#);
    let value = r#"{"type":"message","channel":"a","offset":9,"snapshot":true,"data":1}"#;
    assert_eq!(feed(&mut session, value).len(), 1);
    feed(&mut session, r#"{"type":"live","id":2,"offset":12}"#);
    assert!(session.commands(now).is_empty() && session.settled());
    assert_eq!(session.cursor(), Some(cursor(12)));
}

#[test]
fn a_rejected_channel_is_asked_for_again_on_the_next_connection() {
    let (mut session, now) = (greeted(None, &["a", "b"]), Instant::now());
    only(&mut session, now);
    let rejected = r#""rejected":[{"channel":"b","code":"not_allowed"}]}"#;
    let events = feed(&mut session, &ACKNOWLEDGED.replace('}', &format!(",{rejected}")));
    let (channel, code) = ("b".to_owned(), "not_allowed".to_owned());
    assert_eq!(events[0], Event::Rejected(Rejected { channel, code }));
    assert!(session.commands(now).is_empty());
    session.ended();
    feed(&mut session, r#"{"type":"connection:established","epoch":"e"}"#);
    let command = only(&mut session, now);
    assert_eq!((&command.channels[..], command.resume), (&["a".to_owned()][..], Some(cursor(5))));
    let ack =
        r#"{"type":"subscription_ack","id":2,"subscribed":["a"],"offset":5,"recovered":true}"#;
    feed(&mut session, ack);
    feed(&mut session, r#"{"type":"live","id":2,"offset":5}"#);
    assert_eq!(only(&mut session, now).channels, ["b"]);
}

#[test]
fn channels_that_the_token_sets_are_delivered_and_resumed() {
    let (mut session, now) = (Session::new(None), Instant::now());
    let greet = |offset| {
        format!(
            r#"{{"type":"connection:established","epoch":"e","subscribed":["u.ann"],"offset":{offset}}}"#
        )
    };
    feed(&mut session, &greet(3));
    assert!(session.commands(now).is_empty());
    assert_eq!(feed(&mut session, &message("u.ann", 4, 3)).len(), 1);
    session.ended();
    feed(&mut session, &greet(9));
    // Comes again, after what was missed.
    assert!(feed(&mut session, &message("u.ann", 10, 5)).is_empty());
    assert_eq!(only(&mut session, now).resume, Some(cursor(4)));
    let ack =
        r#"{"type":"subscription_ack","id":1,"subscribed":["u.ann"],"offset":4,"recovered":true}"#;
    feed(&mut session, ack);
    assert_eq!(feed(&mut session, &message("u.ann", 5, 4)).len(), 1);
    assert_eq!(feed(&mut session, &message("u.ann", 10, 5)).len(), 1);
}

#[test]
fn a_deletion_has_no_data_and_null_is_a_value() {
    let mut session = subscribed();
    let frames = [
        message("a", 6, 5).replace("\"data\":1", "\"data\":null"),
        message("a", 7, 6).replace("\"data\":1", "\"data\":1,\"deleted\":\"Purge\""),
        message("a", 8, 7).replace("\"data\":1", "\"data\":\"/wA=\",\"encoding\":\"base64\""),
    ];
    let found = frames.map(|frame| match feed(&mut session, &frame).remove(0) {
        Event::Message(m) => (m.data.to_vec(), m.binary, m.deleted),
        other => panic!("{other:?}"),
    });
    assert_eq!(found[0], (b"null".to_vec(), false, None));
    assert_eq!(found[1], (Vec::new(), false, Some("Purge".to_owned())));
    assert_eq!(found[2], (vec![0xff, 0], true, None));
}

#[test]
fn no_frame_stops_a_session() {
    let frames = [
        r#"{"type":"batch","messages":[{"type":"message","channel":"a","offset":1},7]}"#,
        r#"{"type":"subscription_ack","id":1,"subscribed":["a"],"offset":-5,"recovered":false}"#,
        r#"{"type":"reconnect","afterMs":9223372036854775807}"#,
        r#"{"type":"token_expiring","expiresAt":9223372036854775807}"#,
        r#"{"type":"pong","offset":9223372036854775807}"#,
        r#"{"type":"gap","channel":">","from":0,"to":9223372036854775807}"#,
        r#"{"type":"message","channel":"a","offset":9223372036854775807,"prev":9223372036854775806}"#,
        r#"{"type":"live","id":1,"offset":1}"#,
    ];
    fastrand::seed(7);
    for _ in 0..2000 {
        let mut session = greeted(Some(cursor(10)), &["a"]);
        session.commands(Instant::now());
        for _ in 0..4 {
            let mut frame = frames[fastrand::usize(..frames.len())].as_bytes().to_vec();
            if fastrand::bool() {
                let at = fastrand::usize(..frame.len());
                frame[at] = fastrand::u8(..);
            }
            session.receive(&frame);
            while session.poll().is_some() {}
            session.commands(Instant::now());
        }
        session.cursor();
        session.ended();
    }
}
