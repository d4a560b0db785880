use super::*;
use crate::{SettingsError, Shape};

fn idle() -> Wanted {
    Wanted { running: false, settings: Settings::demo(Shape::Odin) }
}

fn facts(wanted: &Wanted) -> Facts<'_> {
    Facts {
        wanted,
        counts: Counts { generated: 12, messages_published: 9, dropped: 1, ..Counts::default() },
        per_second: 9.996,
        target: "nats",
        connected: true,
        trouble: None,
        start_ms: 1_640_995_200_000,
        uptime: 123.454,
        memory_mb: 12.4,
    }
}

#[test]
fn the_commands_of_the_earlier_publisher_are_understood() {
    // task publisher:start RATE=10
    let started = idle().after(Command::Start, br#"{"rate":10}"#).unwrap();
    assert_eq!(
        started.answer(Command::Start),
        json!({
            "status": "started", "running": true, "rate": 10.0,
            "tokens": ["BTC", "ETH", "ODIN", "SOL", "DOGE"],
        })
    );
    // task publisher:configure RATE=20
    let faster = started.after(Command::Configure, br#"{"rate":20}"#).unwrap();
    assert!(faster.running);
    assert_eq!(faster.answer(Command::Configure)["rate"], 20.0);
    // task publisher:stop
    let stopped = faster.after(Command::Stop, b"").unwrap();
    assert!(!stopped.running);
    assert_eq!(stopped.answer(Command::Stop)["status"], "stopped");
    assert_eq!(stopped.state()["status"], "stopped");
    // What is not given stays, and a second start changes nothing.
    let again = stopped.after(Command::Start, b" {} ").unwrap();
    assert_eq!(again.settings.rate(), 20.0);
    assert_eq!(again.after(Command::Start, b"").unwrap(), again);
}

#[test]
fn the_rate_may_have_its_other_name() {
    let wanted = idle().after(Command::Start, br#"{"messagesPerSecond":5,"tokens":["X"]}"#);
    let wanted = wanted.unwrap();
    assert_eq!((wanted.settings.rate(), wanted.settings.tokens()), (5.0, &["X".to_owned()][..]));
}

#[test]
fn what_is_wrong_with_a_body_is_said_with_its_field() {
    for (command, body, expected) in [
        (Command::Start, r#"{"rate":"ten"}"#, "rate: invalid type: string \"ten\""),
        (Command::Start, r#"{"rate":-1}"#, "rate: must be a number from 0.1 to 100000"),
        (Command::Start, r#"{"rate":1e400}"#, "rate: number out of range"),
        (Command::Start, r#"{"rates":1}"#, "unknown field `rates`"),
        (Command::Start, r#"{"tokens":["BTC",1]}"#, "tokens[1]: invalid type"),
        (Command::Start, r#"{"tokens":["a.b"]}"#, "tokens[0]: must be"),
        (Command::Start, r#"{"tokens":[]}"#, "tokens: must be 1 to 1000 names"),
        (Command::Start, r#"{"rate":1}{"rate":2}"#, "trailing characters"),
        (Command::Start, " [1]", "must be an object"),
        (Command::Start, "rate=10", "expected value"),
        (Command::Start, r#"{"rate":1,"messagesPerSecond":2}"#, "duplicate field"),
        (Command::Stop, r#"{"rate":1}"#, "stop takes no settings"),
        (Command::Configure, "{}", "nothing to configure"),
    ] {
        let why = idle().after(command, body.as_bytes()).unwrap_err();
        assert!(why.contains(expected), "{body}: {why}");
    }
    assert_eq!(
        refusal(&SettingsError::Rate.to_string()),
        json!({ "status": "error", "errors": ["rate: must be a number from 0.1 to 100000"] })
    );
}

#[test]
fn the_longest_list_of_the_longest_tokens_fits_into_a_body() {
    let tokens: Vec<String> = (0..1_000).map(|n| format!("{n:064}")).collect();
    let body = json!({ "tokens": tokens }).to_string();
    assert!(body.len() <= MOST_BODY);
    let wanted = idle().after(Command::Start, body.as_bytes()).unwrap();
    assert_eq!(wanted.settings.tokens(), tokens);
}

#[test]
fn stats_have_what_was_asked_for_and_what_became_of_it() {
    let wanted = idle().after(Command::Start, br#"{"rate":10}"#).unwrap();
    assert_eq!(
        facts(&wanted).stats(),
        json!({
            "running": true, "rate": 10.0, "tokens": ["BTC", "ETH", "ODIN", "SOL", "DOGE"],
            "generated": 12, "messagesPublished": 9, "duplicates": 0, "retries": 0, "dropped": 1,
            "errors": 0, "unconfirmed": 2, "messagesPerSecond": 10.0, "target": "nats",
            "startTime": 1_640_995_200_000_u64, "uptime": 123.45,
        })
    );
}

#[test]
fn health_has_the_shape_of_the_earlier_system() {
    let wanted = Wanted { running: true, ..idle() };
    let mut facts = facts(&wanted);
    facts.counts = Counts::default();
    assert!(facts.healthy());
    assert_eq!(
        facts.health(),
        json!({
            "status": "healthy", "healthy": true,
            "checks": {
                "nats": { "status": "connected", "healthy": true },
                "publisher": { "status": "running", "healthy": true },
                "memory": { "used_mb": 12.4, "healthy": true },
            },
            "warnings": [], "errors": [], "uptime": 123.45,
        })
    );
}

#[test]
fn a_lost_connection_and_a_missing_stream_are_unhealthy_and_a_stopped_publisher_is_not() {
    let wanted = idle();
    let mut facts = facts(&wanted);
    assert!(facts.healthy());
    assert_eq!(facts.health()["warnings"][0], "nothing is published until POST /control/start");
    assert_eq!(facts.health()["warnings"][1], "1 messages were dropped");
    facts.connected = false;
    assert_eq!(facts.health()["errors"], json!(["no connection to nats"]));
    facts.connected = true;
    facts.trouble = Some("no stream takes odin.token.BTC.price".to_owned());
    let health = facts.health();
    assert_eq!((&health["status"], facts.healthy()), (&json!("unhealthy"), false));
    assert_eq!(health["errors"], json!(["no stream takes odin.token.BTC.price"]));
}
