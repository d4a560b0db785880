//! Clients that break rules. Each is answered as the rules say, and a good client beside it misses nothing.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::Client;
use super::raw::{Frame, Raw, TEXT, frame, head};
use super::rig::{Rig, SOON};

/// A rule broken by frames, and the close code that answers it.
type BadFrames = (&'static str, Vec<u8>, u16);

/// A rule broken by a command, and the error code that answers it; the connection goes on.
type BadCommand = (&'static str, String, &'static str);

const LIMIT: usize = 64 << 10;

fn bad_frames() -> Vec<BadFrames> {
    let ping = br#"{"type":"ping"}"#;
    let close = |code: u16, reason: &[u8]| frame(0x88, [&code.to_be_bytes(), reason].concat());
    let mut not_minimal = vec![TEXT, 0x80 | 126, 0, 2];
    not_minimal.extend_from_slice(&[0; 6]);
    vec![
        ("an unmasked frame", [&[TEXT, ping.len() as u8], &ping[..]].concat(), 1002),
        ("reserved bit 1", frame(TEXT | 0x40, ping), 1002),
        ("reserved bit 2", frame(TEXT | 0x20, ping), 1002),
        ("reserved bit 3", frame(TEXT | 0x10, ping), 1002),
        ("a reserved data opcode", frame(0x83, ping), 1002),
        ("a reserved control opcode", frame(0x8b, b""), 1002),
        ("a fragmented ping", frame(0x09, b"x"), 1002),
        ("a ping of 126 bytes", frame(0x89, [0; 126]), 1002),
        ("a close frame of one byte", frame(0x88, b"\x03"), 1002),
        ("a close code that is never sent", close(1005, b""), 1002),
        ("a close code below 1000", close(999, b""), 1002),
        ("a close code that nobody owns", close(2000, b""), 1002),
        ("a close reason that is not UTF-8", close(1000, b"\xff"), 1007),
        ("a length that is not minimal", not_minimal, 1002),
        ("a length with the top bit set", head(TEXT, 1 << 63), 1002),
        ("a claim of 4 EiB", head(TEXT, 1 << 62), 1009),
        ("a claim of one byte above the limit", head(TEXT, LIMIT as u64 + 1), 1009),
        (
            "fragments that exceed the limit together",
            {
                let half = vec![b' '; LIMIT / 2 + 1];
                [frame(0x01, &half), frame(0x80, &half)].concat()
            },
            1009,
        ),
        (
            "endless empty fragments",
            { [frame(0x01, b""), frame(0x00, b"").repeat(5_000)].concat() },
            1009,
        ),
        ("text that is not UTF-8", frame(TEXT, b"\"\xff\""), 1007),
        ("a character cut by the end of the message", frame(TEXT, b"\"\xe2\x82"), 1007),
        (
            "text that is not UTF-8 over fragments",
            { [frame(0x01, b"\"\xe2"), frame(0x80, b"\"")].concat() },
            1007,
        ),
        ("a surrogate in UTF-8", frame(TEXT, b"\"\xed\xa0\x80\""), 1007),
        ("a continuation of nothing", frame(0x80, ping), 1002),
        (
            "a message inside a fragmented message",
            { [frame(0x01, b"{"), frame(TEXT, ping)].concat() },
            1002,
        ),
        ("a binary message", frame(0x82, ping), 1003),
        ("a second HTTP request", b"GET /ws HTTP/1.1\r\nHost: test\r\n\r\n".to_vec(), 1002),
        ("random bytes", vec![0xd3, 0x7e, 0x11, 0x00, 0xc4, 0x5a], 1002),
    ]
}

/// What a client may not send for ever: each piece is fine.
fn floods() -> Vec<BadFrames> {
    let ping = br#"{"type":"ping"}"#;
    vec![
        ("a flood of commands", frame(TEXT, ping).repeat(500), 4009),
        ("a flood of pings", frame(0x89, b"").repeat(500), 4009),
        ("a flood of pongs that nobody asked for", frame(0x8a, b"").repeat(500), 4009),
        (
            "a flood of commands in empty fragments",
            [frame(0x01, b"").as_slice(), &frame(0x00, b"").repeat(1_000), &frame(0x80, b"x")]
                .concat()
                .repeat(40),
            4009,
        ),
        (
            "a flood of large commands",
            frame(TEXT, format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(60 << 10)).as_bytes())
                .repeat(5),
            4009,
        ),
        ("a flood of wrong commands", frame(TEXT, b"x").repeat(500), 4009),
    ]
}

fn bad_commands() -> Vec<BadCommand> {
    let long_id = json!({ "type": "ping", "id": "x".repeat(65) }).to_string();
    let owned = |(name, command, code): (_, &str, _)| (name, command.to_owned(), code);
    let mut commands: Vec<BadCommand> = [
        ("nothing", "", "invalid_json"),
        ("no JSON", "subscribe BTC", "invalid_json"),
        ("half an object", r#"{"type":"ping""#, "invalid_json"),
        ("two objects", r#"{"type":"ping"}{"type":"ping"}"#, "invalid_json"),
        ("a zero byte", "{\"type\":\"ping\"}\0", "invalid_json"),
        ("a list", r#"["subscribe",1,["a"]]"#, "invalid_command"),
        ("a number", "7", "invalid_command"),
        ("no type", r#"{"channels":["a"]}"#, "invalid_command"),
        ("a type that is a number", r#"{"type":7}"#, "invalid_command"),
        ("a type nobody knows", r#"{"type":"publish","channel":"a","data":1}"#, "unknown_type"),
        ("no channels", r#"{"type":"subscribe"}"#, "invalid_command"),
        ("one channel without a list", r#"{"type":"subscribe","channels":"a"}"#, "invalid_command"),
        ("channels of numbers", r#"{"type":"subscribe","channels":[1]}"#, "invalid_command"),
        (
            "half a surrogate pair",
            r#"{"type":"subscribe","channels":["\ud800"]}"#,
            "invalid_command",
        ),
        ("an id that is a list", r#"{"type":"ping","id":[1]}"#, "invalid_command"),
        ("a resume", r#"{"type":"resume","offset":1}"#, "invalid_command"),
        ("a replay of nothing", r#"{"type":"replay","from":1,"to":2}"#, "invalid_command"),
        (
            "a replay from the end to the beginning",
            r#"{"type":"replay","channels":["a"],"from":9,"to":2}"#,
            "invalid_command",
        ),
        ("a snapshot", r#"{"type":"snapshot"}"#, "invalid_command"),
        (
            "a cursor before the beginning",
            r#"{"type":"subscribe","channels":["a"],"resume":{"epoch":"x","offset":-1}}"#,
            "invalid_command",
        ),
        (
            "a cursor without an epoch",
            r#"{"type":"subscribe","channels":["a"],"resume":{"offset":1}}"#,
            "invalid_command",
        ),
        ("a token", r#"{"type":"auth","token":"t"}"#, "not_supported"),
    ]
    .map(owned)
    .into();
    commands.push(("a long id", long_id, "invalid_command"));
    commands.push(("30,000 open brackets", "[".repeat(30_000), "invalid_json"));
    commands.push(("10,000 open objects", "{\"type\":".repeat(8_000), "invalid_json"));
    commands
}

/// A message published now reaches the good client.
async fn nothing_is_missed(rig: &Rig, good: &mut Client, beside: &str) -> Result<()> {
    rig.publish("good", json!(beside).to_string()).await?;
    let message = good.expect("message").await.with_context(|| format!("beside {beside}"))?;
    ensure!(message["data"] == beside, "{message} beside {beside}");
    Ok(())
}

#[tokio::test]
async fn every_broken_rule_of_the_protocol_gets_its_close_code() -> Result<()> {
    let rig = Rig::start().await?;
    let mut good = rig.subscriber(&["good"]).await?;
    for (name, bytes, code) in bad_frames().into_iter().chain(floods()) {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&bytes).await;
        let answer = last_code(&mut raw).await.with_context(|| name.to_owned())?;
        ensure!(answer == Some(code), "{name}: {answer:?} instead of {code}");
        nothing_is_missed(&rig, &mut good, name).await?;
    }
    Ok(())
}

/// Reads answers up to the close frame. A flood's own answers may come before it.
async fn last_code(raw: &mut Raw) -> Result<Option<u16>> {
    while let Some(Frame { opcode, payload, .. }) = raw.frame().await? {
        if opcode == 8 {
            return Ok(payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
        }
    }
    Ok(None)
}

#[tokio::test]
async fn the_same_bytes_one_at_a_time_get_the_same_close_codes() -> Result<()> {
    let rig = Rig::start().await?;
    for (name, bytes, code) in bad_frames().into_iter().filter(|(_, bytes, _)| bytes.len() < 300) {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write_slowly(&bytes).await;
        let answer = last_code(&mut raw).await.with_context(|| name.to_owned())?;
        ensure!(answer == Some(code), "{name}: {answer:?} instead of {code}");
    }
    Ok(())
}

#[tokio::test]
async fn every_wrong_command_is_answered_with_its_error_and_the_connection_goes_on() -> Result<()> {
    let rig = Rig::start().await?;
    let mut good = rig.subscriber(&["good"]).await?;
    for (name, command, code) in bad_commands() {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&frame(TEXT, command.as_bytes())).await;
        let answer = raw.json().await.with_context(|| name.to_owned())?;
        ensure!(answer["type"] == "error" && answer["code"] == code, "{name}: {answer}");
        let text = answer["message"].as_str().unwrap_or_default();
        ensure!((1..300).contains(&text.len()), "{name}: a message of {} bytes", text.len());

        raw.write(&frame(TEXT, br#"{"type":"ping","timestamp":5}"#)).await;
        ensure!(raw.json().await?["timestamp"] == 5, "{name}: no pong");
        nothing_is_missed(&rig, &mut good, name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_channels_are_rejected_one_by_one_with_a_code() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.client().await?;
    let (long, deep) = ("x".repeat(256), ["x"; 17].join("."));
    let bad = [
        ("", "invalid_channel"),
        (".", "invalid_channel"),
        ("a..b", "invalid_channel"),
        ("a.", "invalid_channel"),
        ("a b", "invalid_channel"),
        ("a\r\nb", "invalid_channel"),
        ("a\u{0}", "invalid_channel"),
        (long.as_str(), "channel_too_long"),
        (deep.as_str(), "channel_too_deep"),
        ("a*", "invalid_wildcard"),
        ("a.>.b", "invalid_wildcard"),
        (">>", "invalid_wildcard"),
    ];
    let channels: Vec<_> = bad.iter().map(|(channel, _)| *channel).chain(["good"]).collect();
    let ack = client.subscribe(&channels).await?;
    let rejected: Vec<_> =
        bad.iter().map(|(channel, code)| json!({ "channel": channel, "code": code })).collect();
    assert_eq!(ack["rejected"], Value::from(rejected));
    assert_eq!((&ack["subscribed"], &ack["count"]), (&json!(["good"]), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn a_truncated_frame_ends_quietly_with_its_connection() -> Result<()> {
    let rig = Rig::start().await?;
    let mut good = rig.subscriber(&["good"]).await?;
    let whole = frame(TEXT, br#"{"type":"subscribe","channels":["good"]}"#);
    for cut in [1, 2, 5, 6, whole.len() - 1] {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&whole[..cut]).await;
        raw.finish().await?;
        assert_eq!(raw.frame().await?, None, "cut after {cut} bytes");
    }
    nothing_is_missed(&rig, &mut good, "truncated frames").await
}

#[tokio::test]
async fn a_client_that_sends_one_byte_at_a_time_is_served_like_any_other() -> Result<()> {
    let rig = Rig::start().await?;
    let mut raw = Raw::connect(rig.client_addr).await?;
    let command = br#"{"type":"subscribe","id":"slow","channels":["a","ETH.*"]}"#;
    let (first, rest) = command.split_at(9);
    // Three fragments, with a ping between two of them.
    let pieces = [frame(0x01, first), frame(0x89, b"hi"), frame(0x00, b""), frame(0x80, rest)];
    raw.write_slowly(&pieces.concat()).await;
    assert_eq!(
        raw.frame().await?,
        Some(Frame { opcode: 10, compressed: false, payload: b"hi".to_vec() })
    );
    assert_eq!(raw.json().await?["subscribed"], json!(["a", "ETH.*"]));
    rig.publish("a", "1").await?;
    assert_eq!(raw.json().await?["channel"], "a");
    Ok(())
}

#[tokio::test]
async fn bytes_sent_right_behind_the_upgrade_request_are_the_first_frames() -> Result<()> {
    let rig = Rig::start().await?;
    let subscribe = frame(TEXT, br#"{"type":"subscribe","channels":["a"]}"#);
    let ping = frame(TEXT, br#"{"type":"ping","timestamp":"t"}"#);
    // The last frame is cut: its rest follows later.
    let (now, later) = ping.split_at(4);
    let mut raw = Raw::connect_with(rig.client_addr, &[&subscribe, now].concat()).await?;
    assert_eq!(raw.json().await?["subscribed"], json!(["a"]));
    raw.write(later).await;
    assert_eq!(raw.json().await?["timestamp"], "t");
    Ok(())
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_own_code() -> Result<()> {
    let rig = Rig::start().await?;
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut raw = Raw::connect(rig.client_addr).await?;
        raw.write(&frame(0x88, [&code.to_be_bytes(), "bye €".as_bytes()].concat())).await;
        assert_eq!(raw.close_code().await?, Some(code));
    }
    let mut raw = Raw::connect(rig.client_addr).await?;
    raw.write(&frame(0x88, b"")).await;
    assert_eq!(raw.close_code().await?, Some(1000));
    Ok(())
}

#[tokio::test]
async fn nothing_follows_a_close_frame_however_much_is_published() -> Result<()> {
    let rig = Rig::start().await?;
    let mut raw = Raw::connect(rig.client_addr).await?;
    raw.write(&frame(TEXT, br#"{"type":"subscribe","channels":[">"]}"#)).await;
    assert_eq!(raw.json().await?["type"], "subscription_ack");
    raw.write(&frame(0x88, 1000_u16.to_be_bytes())).await;
    rig.publish_all((0..100).map(|_| ("a".to_owned(), b"1".to_vec()))).await?;
    // `close_code` refuses any frame behind the close frame; messages before it are fine.
    assert_eq!(raw.close_code().await?, Some(1000));
    Ok(())
}

#[tokio::test]
async fn whoever_connects_and_says_nothing_or_half_a_request_is_hung_up_on() -> Result<()> {
    let rig = Rig::start().await?;
    let mut waiting = Vec::new();
    for start in ["", "G", "GET /ws HTTP/1.1\r\nHost: test\r\n"] {
        let mut stream = TcpStream::connect(rig.client_addr).await?;
        stream.write_all(start.as_bytes()).await?;
        waiting.push((start, stream));
    }
    for (start, mut stream) in waiting {
        let mut answer = Vec::new();
        // Ends with the end of the stream or with its reset: both are a hang-up.
        let end = timeout(SOON, stream.read_to_end(&mut answer)).await;
        ensure!(end.is_ok(), "{start:?} is waited for without end");
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{start:?}: {answer}");
    }
    Ok(())
}
