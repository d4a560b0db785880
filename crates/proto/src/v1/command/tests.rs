use super::*;

fn channels_of(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(Command::Subscribe { channels, .. } | Command::Unsubscribe { channels, .. }) => {
            channels.into_iter().map(Cow::into_owned).collect()
        }
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
fn good_commands_are_read_whatever_their_order_and_extras() {
    for (text, want) in [
        (
            r#"{"type":"subscribe","channels":["BTC.trade","ETH.*",">"]}"#,
            &["BTC.trade", "ETH.*", ">"][..],
        ),
        (r#" { "channels" : [ "a" ] , "x": {"y":[1]}, "type" : "subscribe" } "#, &["a"]),
        (r#"{"type":"unsubscribe","channels":[]}"#, &[]),
        (r#"{"type":"subscribe","id":null,"channels":["a\"b","\u20ac"]}"#, &["a\"b", "€"]),
        (r#"{"type":"subscribe","channels":["a"],"snapshot":false,"resume":null}"#, &["a"]),
        (r#"{"\u0074ype":"subscribe","channels":["a"]}"#, &["a"]),
    ] {
        assert_eq!(channels_of(text), want, "{text}");
    }
}

#[test]
fn ids_and_timestamps_come_back_as_they_were_written() {
    let longest = format!("\"{}\"", "x".repeat(62));
    for raw in ["1", "-0", "1.50", "1e400", "\"a\"", "\"\\u00e9\\\"\"", &longest] {
        let text = format!(r#"{{"type":"subscribe","id": {raw} ,"channels":[]}}"#);
        match parse(&text) {
            Ok(Command::Subscribe { id: Some(id), .. }) => assert_eq!(id.as_json(), raw),
            other => panic!("{text}: {other:?}"),
        }
        let text = format!(r#"{{"type":"ping","timestamp":{raw}}}"#);
        match parse(&text) {
            Ok(Command::Ping { timestamp: Some(time) }) => assert_eq!(time.get(), raw),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(parse(r#"{"type":"ping"}"#), Ok(Command::Ping { timestamp: None })));
    assert!(matches!(parse(r#"{"type":"heartbeat"}"#), Ok(Command::Heartbeat { .. })));
}

#[test]
fn batches_are_asked_for_declined_or_left_as_they_are() {
    for (field, want) in [
        ("", None),
        (r#","batch":true"#, Some(true)),
        (r#","batch" : false "#, Some(false)),
        (r#","batch":null"#, None),
    ] {
        let text = format!(r#"{{"type":"subscribe","channels":["a"]{field}}}"#);
        match parse(&text) {
            Ok(Command::Subscribe { batch, .. }) => assert_eq!(batch, want, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    for value in ["1", "0", "\"true\"", "[true]", "{}"] {
        let text = format!(r#"{{"type":"subscribe","id":3,"channels":["a"],"batch":{value}}}"#);
        assert_eq!(refusal(&text), ("invalid_command", Some("3".into())), "{text}");
    }
}

#[test]
fn a_cursor_is_an_epoch_and_a_whole_number() {
    let with =
        |resume: &str| format!(r#"{{"type":"subscribe","channels":["a"],"resume":{resume}}}"#);
    for (text, epoch, offset) in [
        (r#"{"epoch":"e1","offset":0}"#, "e1", 0),
        (r#"{"offset":18446744073709551615,"epoch":"\u0065","x":[]}"#, "e", u64::MAX),
    ] {
        let text = with(text);
        match parse(&text) {
            Ok(Command::Subscribe { resume: Some(resume), snapshot: false, .. }) => {
                assert_eq!((&*resume.epoch, resume.offset), (epoch, offset));
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let long = format!(r#"{{"epoch":"{}","offset":1}}"#, "e".repeat(129));
    for bad in [
        r#"{"offset":1}"#,
        r#"{"epoch":"e"}"#,
        r#"{"epoch":"e","offset":-1}"#,
        r#"{"epoch":"e","offset":1.5}"#,
        r#"{"epoch":"e","offset":18446744073709551616}"#,
        r#"{"epoch":7,"offset":1}"#,
        r#"["e",1,2]"#,
        "true",
        &long,
    ] {
        assert_eq!(refusal(&with(bad)).0, "invalid_command", "{bad}");
    }
}

#[test]
fn a_replay_names_channels_and_a_range() {
    for (text, range) in [
        (r#"{"type":"replay","channels":["a"],"from":5}"#, (5, None)),
        (r#"{"type":"replay","channels":["a"],"from":5,"to":5}"#, (5, Some(5))),
    ] {
        match parse(text) {
            Ok(Command::Replay { from, to, .. }) => assert_eq!((from, to), range),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn bad_commands_are_answered_with_a_code_and_their_id() {
    let long = "x".repeat(65);
    for (text, code, id) in [
        ("", "invalid_json", None),
        ("hello", "invalid_json", None),
        ("{", "invalid_json", None),
        (r#"{"type":"ping"}x"#, "invalid_json", None),
        (r#"{"type":"ping",}"#, "invalid_json", None),
        ("null", "invalid_command", None),
        ("[\"ping\"]", "invalid_command", None),
        ("\"ping\"", "invalid_command", None),
        ("{}", "invalid_command", None),
        (r#"{"id":1}"#, "invalid_command", Some("1")),
        (r#"{"type":7,"id":1}"#, "invalid_command", Some("1")),
        (r#"{"type":"ping","type":"ping"}"#, "invalid_command", None),
        (r#"{"type":"ping","id":{}}"#, "invalid_command", None),
        (r#"{"type":"ping","id":[1]}"#, "invalid_command", None),
        (r#"{"type":"ping","id":true}"#, "invalid_command", None),
        (&format!(r#"{{"type":"ping","id":"{long}"}}"#), "invalid_command", None),
        (r#"{"type":"ping","id":2,"timestamp":{}}"#, "invalid_command", Some("2")),
        (&format!(r#"{{"type":"ping","timestamp":"{long}"}}"#), "invalid_command", None),
        (r#"{"type":"subscribe","id":3}"#, "invalid_command", Some("3")),
        (r#"{"type":"subscribe","id":3,"channels":"BTC"}"#, "invalid_command", Some("3")),
        (r#"{"type":"subscribe","id":3,"channels":[1]}"#, "invalid_command", Some("3")),
        (r#"{"type":"subscribe","id":3,"channels":["\ud800"]}"#, "invalid_command", Some("3")),
        (r#"{"type":"jump","id":"j"}"#, "unknown_type", Some("\"j\"")),
        (r#"{"type":"Subscribe","channels":[]}"#, "unknown_type", None),
        (r#"{"type":"replay","id":4}"#, "invalid_command", Some("4")),
        (r#"{"type":"replay","id":4,"channels":["a"]}"#, "invalid_command", Some("4")),
        (r#"{"type":"replay","channels":["a"],"from":-1}"#, "invalid_command", None),
        (r#"{"type":"replay","channels":["a"],"from":5,"to":4}"#, "invalid_command", None),
        (r#"{"type":"replay","channels":["a"],"from":1,"to":"9"}"#, "invalid_command", None),
        (r#"{"type":"resume"}"#, "invalid_command", None),
        (r#"{"type":"snapshot"}"#, "invalid_command", None),
        (r#"{"type":"auth","id":1}"#, "invalid_command", Some("1")),
        (r#"{"type":"auth","token":7}"#, "invalid_command", None),
        (r#"{"type":"subscribe","channels":[],"snapshot":1}"#, "invalid_command", None),
    ] {
        assert_eq!(refusal(text), (code, id.map(str::to_owned)), "{text}");
    }
}

#[test]
fn a_command_may_name_1024_channels_and_no_more() {
    let with = |count: usize| {
        let list = vec!["\"c\""; count].join(",");
        format!(r#"{{"type":"subscribe","id":5,"channels":[{list}]}}"#)
    };
    assert_eq!(channels_of(&with(MAX_CHANNELS)).len(), MAX_CHANNELS);
    assert_eq!(refusal(&with(MAX_CHANNELS + 1)), ("too_many_channels", Some("5".into())));
}

#[test]
fn an_error_echoes_no_more_than_64_bytes_of_the_input() {
    let text = format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000));
    let error = parse(&text).unwrap_err();
    assert!(error.message.contains(&"é".repeat(32)), "{error}");
    assert!(error.message.len() < 200, "{} bytes", error.message.len());
}

#[test]
fn nesting_a_million_deep_costs_no_stack() {
    let deep = "[".repeat(1_000_000);
    let closed = format!("{deep}{}", "]".repeat(1_000_000));
    assert_eq!(refusal(&deep).0, "invalid_json");
    assert_eq!(refusal(&closed).0, "invalid_command");
    assert_eq!(refusal(&format!(r#"{{"type":{closed}}}"#)).0, "invalid_command");
    assert_eq!(
        refusal(&format!(r#"{{"type":"subscribe","channels":{closed}}}"#)).0,
        "invalid_command"
    );
    let ignored = format!(r#"{{"type":"subscribe","channels":["a"],"x":{closed}}}"#);
    assert_eq!(channels_of(&ignored), ["a"]);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String, ascii in "[\\[\\]{}\",:a-z0-9\\\\ ]{0,60}") {
        for text in [&text, &ascii] {
            if let Err(error) = parse(text) {
                proptest::prop_assert!(error.message.len() < 400);
            }
        }
    }
}
