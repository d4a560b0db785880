//! Nothing of a token or a key is in what a gateway writes.

use anyhow::{Result, ensure};
use harness::{LogBook, wait_until};
use serde_json::json;
use tokio::net::TcpStream;

use super::client::Client;
use super::http::get;
use super::process::Process;
use super::rig::{SOON, config, nats_with_stream, ready};
use super::tokens::{Issuer, SECRET, signed_with, token};

/// A claim that nobody else is to read.
const CLAIM: &str = "mallory-of-the-claims";
/// A key that is too short to be one.
const SHORT: &str = "short-open-sesame";
/// The secret of somebody else.
const OTHER: &str = "another secret of 32 bytes, or so";

/// Good and bad tokens, at every door.
async fn knock(process: &Process) -> Result<Vec<String>> {
    let claims = json!({ "role": CLAIM, "jti": CLAIM });
    let good = token(CLAIM, &claims);
    let bad = [
        token(CLAIM, &json!({ "exp": 1 })),
        signed_with(OTHER, CLAIM, &claims),
        format!("{good}x"),
    ];
    let address = process.client_addr;
    for shown in bad.iter().chain([&good]) {
        for path in ["/ws", "/sse", "/poll"] {
            for name in ["token", "auth"] {
                let is_good = *shown == good;
                // A good one opens an event stream, which does not end.
                if !(is_good && path == "/sse") {
                    let query = format!("{path}?channels=a&wait=0&{name}={shown}");
                    let answer = get(address, &query).await?;
                    ensure!(is_good || answer.status == 401, "{query}: {answer:?}");
                    ensure!(!answer.body.contains(shown.as_str()) && !answer.body.contains(CLAIM));
                }
            }
        }
    }
    let stream = TcpStream::connect(address).await?;
    let mut client =
        Client::open(stream, &format!("/ws?token={good}"), Some("wsgateway.v1")).await?;
    client.expect("connection:established").await?;
    for shown in &bad {
        client.send(&json!({ "type": "auth", "token": shown })).await?;
        client.expect("error").await?;
    }
    // Nor is a token in what is said of a command that is none.
    client.send_text(&format!("{{\"type\":\"auth\",\"token\":[\"{good}\"]}}")).await?;
    ensure!(!client.expect("error").await?.to_string().contains(&good));
    Ok(bad.into_iter().chain([good]).collect())
}

#[tokio::test]
async fn nothing_of_a_token_or_a_key_is_in_what_a_gateway_writes() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut issuer = Issuer::new()?;
    let mut config = config(&nats.url());
    config.auth = Some(issuer.auth());
    let level = [("RUST_LOG", "info,gateway=trace,wsgateway_runtime=trace,wsgateway_access=trace")];
    let mut process = Process::start_with(&config, &level).await?;
    ready(process.admin_addr).await?;
    let tokens = knock(&process).await?;
    issuer.secret.replace(&[("key", SHORT)])?;
    wait_until(SOON, "a problem of the key in /status", async || {
        let status = get(process.admin_addr, "/status").await;
        status.is_ok_and(|answer| answer.body.contains("32 bytes"))
    })
    .await?;
    let mut written = Vec::new();
    for path in ["/metrics", "/status", "/health", "/stats"] {
        written.push(get(process.admin_addr, path).await?.body);
    }
    for path in ["/health", "/stats", "/"] {
        written.push(get(process.client_addr, path).await?.body);
    }
    let log = process.end_log().await?;
    ensure!(log.contains("a file has no key"), "{log}");
    let book = LogBook::of("gateway")?;
    log.lines().try_for_each(|line| book.check(line).map(drop))?;
    written.push(log);
    let parts = tokens.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 8);
    for secret in parts.chain([SECRET, SHORT, OTHER, CLAIM]) {
        ensure!(written.iter().all(|text| !text.contains(secret)), "{secret} is in\n{written:?}");
    }
    Ok(())
}
