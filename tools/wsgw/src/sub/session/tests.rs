use super::*;

fn session(form: Form, snapshot: bool) -> Session {
    let mut session = Session::new(vec!["BTC.*".into()], form, snapshot);
    session.take(r#"{"type":"connection:established","epoch":"e1","heartbeatMs":25000}"#);
    session
}

fn cursor(session: &Session) -> String {
    session.cursor().map(ToString::to_string).unwrap_or_default()
}

fn message(offset: u64) -> String {
    format!(
        r#"{{"type":"message","channel":"BTC.price","offset":{offset},"prev":0,"ts":1,"data":{{"p": 1}}}}"#
    )
}

fn ack(offset: u64) -> String {
    format!(
        r#"{{"type":"subscription_ack","id":1,"subscribed":["BTC.*"],"rejected":[],"count":1,"offset":{offset}}}"#
    )
}

#[test]
fn a_message_is_a_line_and_moves_the_cursor() {
    let mut session = session(Form::Line, false);
    assert_eq!(session.subscribe(), r#"{"channels":["BTC.*"],"id":1,"type":"subscribe"}"#);
    session.take(&ack(7));
    assert_eq!(cursor(&session), "e1:7");
    let out = session.take(&message(9));
    assert_eq!(out, [Out::Print("BTC.price\t{\"p\": 1}\n".into()), Out::Counted]);
    session.take(r#"{"type":"pong","timestamp":1,"offset":12}"#);
    assert_eq!(cursor(&session), "e1:12");
    let resumed: Value = serde_json::from_str(&session.subscribe()).unwrap();
    assert_eq!(resumed["resume"], json!({ "epoch": "e1", "offset": 12 }));
}

#[test]
fn the_cursor_does_not_pass_what_is_still_to_come() {
    let mut session = session(Form::Line, true).from(Cursor::parse("e1:5"));
    let command: Value = serde_json::from_str(&session.subscribe()).unwrap();
    assert_eq!(command["snapshot"], json!(true));
    session.take(r#"{"type":"connection:established","epoch":"e1","subscribed":["user.ann.>"]}"#);
    session.take(&ack(5));
    // Of a channel that is subscribed without asking, ahead of what is caught up with.
    session.take(&message(90));
    session.take(r#"{"type":"message","channel":"BTC.x","offset":80,"snapshot":true,"data":1}"#);
    assert_eq!(cursor(&session), "e1:5");
    session.take(r#"{"type":"live","id":1,"offset":95}"#);
    assert_eq!(cursor(&session), "e1:95");
    let again: Value = serde_json::from_str(&session.subscribe()).unwrap();
    assert!(again.get("snapshot").is_none(), "last values come once");
}

#[test]
fn a_cursor_of_another_stream_gives_way_to_the_new_one() {
    let mut session = session(Form::Line, false).from(Cursor::parse("e0:900"));
    session.subscribe();
    session.take(
        r#"{"type":"subscription_ack","id":1,"subscribed":["BTC.*"],"recovered":false,"offset":3}"#,
    );
    assert_eq!(cursor(&session), "e1:3");
}

#[test]
fn gaps_and_rejections_are_reported() {
    let mut session = session(Form::Json, false);
    let gap = r#"{"type":"gap","channel":"BTC.price","from":5,"to":9,"reason":"retention"}"#;
    let out = session.take(gap);
    assert_eq!(out[0], Out::Print(format!("{gap}\n")));
    assert!(
        matches!(&out[1], Out::Note(text) if text.contains("offsets 5 to 9") && text.contains("discarded"))
    );
    for (subscribed, is_all) in [(r#"[]"#, true), (r#"["a"]"#, false)] {
        let ack = format!(
            r#"{{"type":"subscription_ack","id":1,"subscribed":{subscribed},"rejected":[{{"channel":"x","code":"not_allowed"}}],"offset":1}}"#
        );
        let out = session.take(&ack);
        let text = "the gateway rejects x (not_allowed)".to_owned();
        assert_eq!(out, [if is_all { Out::Rejected(text) } else { Out::Note(text) }]);
    }
}

#[test]
fn nothing_of_a_message_breaks_its_line_or_commands_a_terminal() {
    let mut session = session(Form::Line, false);
    let out = session.take("{\"type\":\"message\",\"channel\":\"a\\u001bb\",\"offset\":1,\"data\":{\n\"x\":\t\"\u{9b}1m\"}}");
    assert_eq!(out[0], Out::Print("a\\u001bb\t{ \"x\": \"\\u009b1m\"}\n".into()));
}

#[test]
fn raw_prints_every_frame_and_counts_messages_alone() {
    let mut session = session(Form::Raw, false);
    assert_eq!(session.take(&ack(1)), [Out::Print(format!("{}\n", ack(1)))]);
    assert_eq!(session.take(&message(2)), [Out::Print(format!("{}\n", message(2))), Out::Counted]);
    assert_eq!(session.take("no json"), [Out::Print("no json\n".into())]);
}

#[test]
fn cursors_that_make_no_sense_are_none() {
    assert_eq!(Cursor::parse("t3:x9:18~").unwrap().to_string(), "t3:x9:18");
    for text in ["", "18", ":18", "e:", "e:-1", "e:x", "e\":1", "e\n:1"] {
        assert_eq!(Cursor::parse(text), None, "{text:?}");
    }
}
