//! What publishers may send: any bytes, on any subject.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::rig::Rig;

/// JSON that every re-encoding would change.
const TELLING_JSON: [&str; 8] = [
    r#"{ "price" : 1.0E+10 ,"big":12345678901234567890123, "same":1,"same":2 }"#,
    "[\n  1,\t2 ]",
    r#""\u00e9\/\ud83d\ude00""#,
    "\"é😀\"",
    "-0.0",
    "null",
    "true",
    "{}",
];

/// Bytes that are no JSON text.
const NO_JSON: [&[u8]; 9] =
    [b"", b" ", b"{", b"{\"a\":1} x", b"NaN", b"\"\x01\"", b"\"\xff\"", b"\xff\xfe", b"\0"];

/// The text behind `"data":` up to the end of the envelope.
fn data(push: &str) -> Result<&str> {
    let (_, rest) = push.split_once(r#","data":"#).with_context(|| format!("no data in {push}"))?;
    rest.strip_suffix('}').context("no end of the envelope")
}

#[tokio::test]
async fn json_arrives_as_it_was_published_byte_for_byte() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    for payload in TELLING_JSON {
        rig.publish("a", payload).await?;
        assert_eq!(data(&client.text().await?)?, payload);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_no_json_arrives_as_base64() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    for payload in NO_JSON {
        rig.publish("a", payload).await?;
        let message = client.expect("message").await?;
        assert_eq!(message["encoding"], "base64", "{payload:?}: {message}");
        assert_eq!(STANDARD.decode(message["data"].as_str().unwrap_or("?"))?, payload, "{message}");
    }
    Ok(())
}

/// The payload of a message, however it was encoded.
fn payload(push: &str) -> Result<Vec<u8>> {
    if push.contains(r#""encoding":"base64""#) {
        let message: Value = serde_json::from_str(push)?;
        Ok(STANDARD.decode(message["data"].as_str().context("no text")?)?)
    } else {
        Ok(data(push)?.as_bytes().to_vec())
    }
}

#[tokio::test]
async fn deep_nesting_is_delivered_and_harms_nobody() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let closed = "[".repeat(200_000) + &"]".repeat(200_000);
    for deep in [closed, "[".repeat(400_000), "{\"a\":".repeat(100_000)] {
        rig.publish("a", deep.clone()).await?;
        ensure!(payload(&client.text().await?)? == deep.as_bytes(), "{}…", &deep[..10]);
    }
    Ok(())
}

#[tokio::test]
async fn a_payload_of_a_mebibyte_arrives_whole_between_small_ones() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    // The largest that nats-server takes: 1 MiB, four times what an outbox holds.
    let large = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    for payload in ["1", &large, "2", &large, "3"] {
        rig.publish("a", payload).await?;
        ensure!(data(&client.text().await?)? == payload, "a payload of {} bytes", payload.len());
    }
    Ok(())
}

#[tokio::test]
async fn odd_subjects_are_channels_like_any_other() -> Result<()> {
    let rig = Rig::start().await?;
    let odd = [r#"quo"te"#, r"back\slash", "ünï.价格.😀", "a-b_c$d", "{}", "%20", "</script"];
    for channel in odd {
        let mut client = rig.client().await?;
        assert_eq!(client.subscribe(&[channel]).await?["subscribed"], json!([channel]));
        rig.publish(channel, "1").await?;
        assert_eq!(client.expect("message").await?["channel"], channel);
    }
    Ok(())
}
