use super::*;

fn template() -> Template {
    Template::new("{token}.>", "token").unwrap()
}

/// What a command names, as asked, and the channel meant or why there is none.
fn names_of(text: &str) -> Vec<(String, Result<String, &'static str>)> {
    match parse(text) {
        Ok(Command::Subscribe { names, .. } | Command::Unsubscribe { names, .. }) => names
            .iter()
            .map(|name| {
                let channel = name.channel("odin.token.", &template());
                (name.asked().to_owned(), channel.map(Cow::into_owned))
            })
            .collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn refusal(text: &str) -> (&'static str, Option<String>) {
    match parse(text) {
        Err(error) => (error.code, error.id.map(|id| id.as_json().to_owned())),
        Ok(command) => panic!("{text}: {command:?}"),
    }
}

#[test]
fn all_three_spellings_of_a_subscription_are_read() {
    for (text, want) in [
        (
            r#"{"type":"subscribe","channels":["odin.token.abc.update","odin.global.trending"]}"#,
            &[
                ("odin.token.abc.update", "abc.update"),
                ("odin.global.trending", "odin.global.trending"),
            ][..],
        ),
        (
            r#"{"type":"subscribe","data":{"channels":["BTC.price"]}}"#,
            &[("BTC.price", "BTC.price")],
        ),
        (r#"{"type":"subscribe","tokens":["BTC","ETH"]}"#, &[("BTC", "BTC.>"), ("ETH", "ETH.>")]),
        (r#"{"type":"subscribe","data":{"tokens":["BTC"]}}"#, &[("BTC", "BTC.>")]),
        (
            r#"{"type":"subscribe","tokens":["BTC"],"channels":["*.trade"],"id":1}"#,
            &[("*.trade", "*.trade"), ("BTC", "BTC.>")],
        ),
        (
            r#"{"type":"unsubscribe","data":{"channels":["odin.token.>"]}}"#,
            &[("odin.token.>", ">")],
        ),
        (r#"{"type":"unsubscribe","tokens":["BTC"]}"#, &[("BTC", "BTC.>")]),
        (r#"{"type":"subscribe","channels":[],"data":"x"}"#, &[]),
        // What the command says itself goes before what its data says.
        (
            r#"{"data":{"channels":["b"],"type":"ping"},"channels":["a"],"type":"subscribe"}"#,
            &[("a", "a")],
        ),
    ] {
        let want: Vec<_> = want
            .iter()
            .map(|(asked, channel)| ((*asked).to_owned(), Ok((*channel).to_owned())))
            .collect();
        assert_eq!(names_of(text), want, "{text}");
    }
}

#[test]
fn names_that_are_no_channels_are_told_apart_from_the_others() {
    let text = r#"{"type":"subscribe","channels":["odin.token.","a..b","BT*","a b",""],"tokens":["*",">","A.B","","a b"]}"#;
    let codes: Vec<_> =
        names_of(text).into_iter().map(|(_, channel)| channel.unwrap_err()).collect();
    assert_eq!(
        codes,
        [
            "invalid_channel",
            "invalid_channel",
            "invalid_wildcard",
            "invalid_channel",
            "invalid_channel",
            "invalid_token",
            "invalid_token",
            "invalid_token",
            "invalid_token",
            "invalid_token",
        ]
    );
}

#[test]
fn all_three_spellings_of_a_replay_are_read() {
    for (text, range) in [
        (r#"{"type":"replay","data":{"from":101,"to":105}}"#, (101, Some(105))),
        (r#"{"type":"replay","from_seq":101,"to_seq":105}"#, (101, Some(105))),
        (r#"{"type":"replay","from":101,"to":105}"#, (101, Some(105))),
        (r#"{"type":"replay","data":{"from_seq":1,"to_seq":1}}"#, (1, Some(1))),
        (r#"{"type":"replay","from":0}"#, (0, None)),
        (r#"{"type":"replay","from":18446744073709551615,"to":null}"#, (u64::MAX, None)),
    ] {
        match parse(text) {
            Ok(Command::Replay { from, to, .. }) => assert_eq!((from, to), range, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_cursor_and_a_snapshot_may_be_asked_for() {
    let text = r#"{"type":"subscribe","channels":["a"],"resume":{"epoch":"e","offset":7},"snapshot":true}"#;
    match parse(text) {
        Ok(Command::Subscribe { resume: Some(resume), snapshot: true, .. }) => {
            assert_eq!((&*resume.epoch, resume.offset), ("e", 7));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn pings_and_heartbeats_bring_their_timestamp() {
    for (text, want) in [
        (r#"{"type":"ping","timestamp":1640995200000}"#, Some("1640995200000")),
        (r#"{"type":"heartbeat","data":{"timestamp":5}}"#, Some("5")),
        (r#"{"type":"heartbeat"}"#, None),
    ] {
        match parse(text) {
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                assert_eq!(timestamp.map(RawValue::get), want, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn bad_commands_are_answered_with_a_code_and_their_id() {
    let deep = format!(r#"{{"type":"subscribe","data":{}"#, "[".repeat(1 << 20));
    let many = format!(
        r#"{{"type":"subscribe","tokens":[{}"x"]}}"#,
        "\"x\",".repeat(crate::v1::MAX_CHANNELS)
    );
    for (text, code, id) in [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        (&deep, "invalid_json", None),
        ("[]", "invalid_command", None),
        ("null", "invalid_command", None),
        (r#"{"type":"subscribe","type":"ping"}"#, "invalid_command", None),
        (r#"{"type":"subscribe","data":{"channels":[],"channels":[]}}"#, "invalid_command", None),
        (r#"{"id":[1],"type":"ping"}"#, "invalid_command", None),
        (r#"{"id":1}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":7}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"subscribe"}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"subscribe","data":{}}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"subscribe","channels":"BTC"}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"subscribe","tokens":[1]}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"subscribe","channels":[],"resume":7}"#, "invalid_command", Some("1")),
        (&many, "too_many_channels", None),
        (r#"{"id":1,"type":"replay"}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"replay","to_seq":5}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"replay","from":5,"to":4}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"replay","from":-1,"to":4}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"replay","from":1.5}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"replay","data":{"from":"1"}}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"ping","timestamp":[]}"#, "invalid_command", Some("1")),
        (r#"{"id":1,"type":"login","token":"t"}"#, "unknown_type", Some("1")),
    ] {
        let head: String = text.chars().take(80).collect();
        assert_eq!(refusal(text), (code, id.map(str::to_owned)), "{head}");
    }
}
