//! permessage-deflate as clients meet it: agreed or not, both ways, and what attackers make of it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wsgateway_config::{Millis, Rule};

use super::deflate::{Leaning, deflated, inflated};
use super::http::get;
use super::raw::{Frame, Raw, TEXT, frame};
use super::rig::Rig;

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// First byte of a final compressed text frame.
const DEFLATED: u8 = TEXT | 0x40;

async fn deflating(rig: &Rig) -> Result<Raw> {
    let raw = Raw::connect_asking(rig.client_addr, OFFER).await?;
    ensure!(
        raw.head.contains("permessage-deflate; server_no_context_takeover"),
        "not agreed: {}",
        raw.head
    );
    Ok(raw)
}

/// The JSON in a frame.
fn open(frame: &Frame) -> Result<Value> {
    ensure!(frame.opcode == 1, "not a text frame: {frame:?}");
    match frame.compressed {
        false => Ok(serde_json::from_slice(&frame.payload)?),
        true => Ok(serde_json::from_slice(&inflated(&frame.payload, 1 << 20)?)?),
    }
}

/// A compressed command as a client sends it.
fn compressed(text: &str) -> Result<Vec<u8>> {
    Ok(frame(DEFLATED, &deflated(text.as_bytes())?))
}

#[tokio::test]
async fn long_messages_come_compressed_to_those_who_offered_it_and_plain_to_the_others()
-> Result<()> {
    let rig = Rig::start().await?;
    let (mut with, mut without) = (deflating(&rig).await?, Raw::connect(rig.client_addr).await?);
    let command = format!(r#"{{"type":"subscribe","channels":["a"],"x":"{}"}}"#, "y".repeat(600));
    with.write(&compressed(&command)?).await;
    without.write(&frame(TEXT, command.as_bytes())).await;
    for client in [&mut with, &mut without] {
        let ack = open(&client.frame().await?.context("no answer")?)?;
        assert_eq!(ack["subscribed"], json!(["a"]));
    }
    let long = json!({ "text": "tick tock ".repeat(300) });
    let short = json!({ "price": 1 });
    for payload in [&long, &short] {
        rig.publish("a", payload.to_string()).await?;
    }
    let mut frames = Vec::new();
    for client in [&mut with, &mut without] {
        for payload in [&long, &short] {
            let frame = client.frame().await?.context("no message")?;
            assert_eq!(open(&frame)?["data"], *payload);
            frames.push(frame);
        }
    }
    let compressed: Vec<bool> = frames.iter().map(|frame| frame.compressed).collect();
    assert_eq!(compressed, [true, false, false, false], "only what pays, only to who asked");
    assert!(frames[0].payload.len() * 4 < frames[2].payload.len());
    Ok(())
}

#[tokio::test]
async fn a_batch_is_compressed_as_a_whole() -> Result<()> {
    // A window, so that batches form however slowly the messages come.
    let rule = Rule { r#match: ">".to_owned(), batch_window: Millis(100), ..Rule::default() };
    let rig = Rig::start_with(|config| config.channels.rules = vec![rule]).await?;
    let mut clients = JoinSet::new();
    for _ in 0..20 {
        let mut client = deflating(&rig).await?;
        client.write(&frame(TEXT, br#"{"type":"subscribe","channels":[">"],"batch":true}"#)).await;
        client.json().await?;
        // They read while the messages come, as a client must that would not be called slow.
        clients.spawn(read_all(client, 3_000));
    }
    let ticker = |n: u64| {
        let payload = json!({ "type": "price:update", "tokenId": "BTC", "price": 43_250 + n });
        (format!("T{}.price", n % 5), payload.to_string().into_bytes())
    };
    rig.publish_all((0..3_000).map(ticker)).await?;
    while let Some(compressed) = clients.join_next().await {
        assert!(compressed?? > 0, "3,000 messages at full speed and no compressed batch");
    }
    Ok(())
}

/// Reads messages with the offsets 1 to `last`, in order and each once. Returns the number of
/// compressed batches among them.
async fn read_all(mut client: Raw, last: u64) -> Result<u64> {
    let (mut next, mut compressed) = (1, 0);
    while next <= last {
        let frame = client.frame().await?.context("the connection ended")?;
        let push = open(&frame)?;
        let messages = match push["type"].as_str() {
            Some("batch") => push["messages"].as_array().context("no messages")?.clone(),
            _ => vec![push],
        };
        compressed += u64::from(frame.compressed && messages.len() > 1);
        for message in messages {
            ensure!(message["offset"] == next, "{message} where {next} is due");
            next += 1;
        }
    }
    Ok(compressed)
}

#[tokio::test]
async fn a_gateway_without_compression_does_not_agree_to_it() -> Result<()> {
    let rig = Rig::start_with(|config| config.listener.compression = false).await?;
    let mut raw = Raw::connect_asking(rig.client_addr, OFFER).await?;
    assert!(!raw.head.to_ascii_lowercase().contains("sec-websocket-extensions"), "{}", raw.head);
    raw.write(&compressed(&"x".repeat(1_000))?).await;
    assert_eq!(raw.close_code().await?, Some(1002));
    Ok(())
}

#[tokio::test]
async fn bombs_and_broken_streams_close_their_sender_and_nobody_else() -> Result<()> {
    let rig = Rig::start().await?;
    let mut bystander = rig.subscriber(&["a"]).await?;
    // 60 MiB of spaces in less than 64 KiB, as one message, and again in fragments.
    let bomb = deflated(&vec![b' '; 60 << 20])?;
    ensure!(bomb.len() < 64 << 10, "{} bytes are a large message", bomb.len());
    let cut = bomb.len() / 2;
    let fragments = [frame(0x41, &bomb[..cut]), frame(0x80, &bomb[cut..])].concat();
    let cases = [
        ("a bomb", frame(DEFLATED, &bomb), 1009),
        ("a bomb in fragments", fragments, 1009),
        ("not deflate data", frame(DEFLATED, b"\xff\xff\xff\xff"), 1007),
        ("compressed text that is not UTF-8", frame(DEFLATED, &deflated(b"\"\xff\"")?), 1007),
        ("a compressed continuation", { [frame(0x01, b"{"), frame(0xc0, b"}")].concat() }, 1002),
        ("a compressed ping", frame(0xc9, b""), 1002),
        ("compressed binary", frame(0xc2, [0x4a, 0x4c, 0x02, 0x00]), 1003),
    ];
    for (what, bytes, code) in cases {
        let mut raw = deflating(&rig).await?;
        raw.write(&bytes).await;
        assert_eq!(raw.close_code().await?, Some(code), "{what}");
    }
    rig.publish("a", "1").await?;
    bystander.expect("message").await?;
    assert_eq!(get(rig.client_addr, "/health").await?.status, 200);
    Ok(())
}

/// Subscribes twice as Safari 15 does: once compression is agreed on, its second message leans on
/// its first. Returns the answer to the upgrade, and the code of the close that cost it the answers.
async fn subscribes_as_safari_15(rig: &Rig, agent: &str) -> Result<(String, Option<u16>)> {
    let mut raw =
        Raw::connect_asking(rig.client_addr, &format!("User-Agent: {agent}\r\n{OFFER}")).await?;
    let head = raw.head.to_ascii_lowercase();
    let mut stream = head.contains("permessage-deflate").then(Leaning::new);
    for channel in ["quirk.a", "quirk.b"] {
        let command = json!({ "type": "subscribe", "channels": [channel] }).to_string();
        let bytes = match &mut stream {
            Some(stream) => frame(DEFLATED, stream.deflated(command.as_bytes())?),
            None => frame(TEXT, command),
        };
        raw.write(&bytes).await;
        let answer = raw.frame().await?.context("no answer")?;
        if answer.opcode == 8 {
            let code = answer.payload.first_chunk().context("a close without a code")?;
            return Ok((head, Some(u16::from_be_bytes(*code))));
        }
        assert_eq!(open(&answer)?["subscribed"], json!([channel]));
    }
    Ok((head, None))
}

#[tokio::test]
async fn safari_15_gets_no_compression_since_its_second_message_leans_on_its_first() -> Result<()> {
    let rig = Rig::start().await?;
    for agent in [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 15_1_1 like Mac OS X) AppleWebKit/605.1.15 \
         (KHTML, like Gecko) Version/15.1 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
         (KHTML, like Gecko) Version/15.0 Safari/605.1.15",
    ] {
        let (head, closed) = subscribes_as_safari_15(&rig, agent).await?;
        assert_eq!(closed, None, "{agent}");
        assert!(!head.contains("sec-websocket-extensions"), "{head}");
    }
    // What would happen otherwise, and does to a client that does the same under another name.
    let (head, closed) = subscribes_as_safari_15(&rig, "Mozilla/5.0 (X11; Linux) Other/1").await?;
    assert!(head.contains("client_no_context_takeover"), "{head}");
    assert_eq!(closed, Some(1007));
    Ok(())
}
