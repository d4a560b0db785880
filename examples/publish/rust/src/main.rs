//! Publishes each line of standard input, a JSON text, on a subject: cargo run --package publish -- SUBJECT < lines
//!
//! `NATS_URL` says where NATS is (default `nats://127.0.0.1:4222`).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::HeaderMap;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

const ATTEMPTS: u32 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [subject] = arguments.as_slice() else { bail!("usage: publish SUBJECT < lines") };
    // A second call would be an error, and there is none.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let url = std::env::var("NATS_URL").unwrap_or("nats://127.0.0.1:4222".to_owned());
    let client = async_nats::connect(url).await?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        println!("stored as {}", publish(&jetstream, subject, line.trim()).await?);
    }
    client.drain().await?;
    Ok(())
}

/// Stores a message once: the stream drops repetitions of an id, so an attempt without an answer is repeated.
async fn publish(jetstream: &Context, subject: &str, payload: &str) -> Result<u64> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{:032x}", fastrand::u128(..)));
    let mut attempt = 0;
    loop {
        let (subject, payload) = (subject.to_owned(), payload.to_owned().into());
        let sent = jetstream.publish_with_headers(subject, headers.clone(), payload).await;
        let error = match sent {
            Ok(stored) => match stored.await {
                Ok(stored) => return Ok(stored.sequence),
                Err(error) => error,
            },
            Err(error) => error,
        };
        attempt += 1;
        let unanswered =
            matches!(error.kind(), PublishErrorKind::TimedOut | PublishErrorKind::StreamNotFound);
        if attempt == ATTEMPTS || !unanswered {
            return Err(error).context("not stored");
        }
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(attempt - 1)).await;
    }
}
