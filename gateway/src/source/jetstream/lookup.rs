//! Lookup: a block of the stream by its sequences, through JetStream's direct get; message by message from the stream's
//! leader where that is not allowed.
//!
//! Any replica may answer, also one that is behind: an answer that ends before it should is asked again, and never
//! taken for "gone". Only what is before the stream's first sequence, or missing between two messages, is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_SEQUENCE, NATS_SUBJECT, NATS_TIME_STAMP};
use async_nats::jetstream;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::{Client, HeaderMap, StatusCode};
use futures_util::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::{Access, Connection, Notice};

use crate::encode::{Envelope, Message};
use crate::history::History;
use crate::history::archive::{BLOCK, BLOCK_BYTES, Block, Desk, Fetched, LookupError, block_of};

/// Longest wait for the next message of an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests for one block: a replica that is behind, or a server that gives one message at a time.
const ATTEMPTS: usize = 3;

/// Answers those who look back until told to stop, over a connection of its own, made when the first of them asks: what
/// is looked up is much, and live messages must not wait behind it. `past` is what a block is made with, and where the
/// stream's life is known.
pub(crate) async fn look_up(
    source: JetStreamSource,
    name: String,
    past: (Envelope, History),
    mut desk: Desk,
    stop: CancellationToken,
) {
    let work = async {
        desk.wanted().await;
        match wsgateway_nats::connect(&Access::from(&source), &name, on_notice).await {
            Ok(Connection { client, renewal }) => {
                let lookup = Lookup::new(client, &source.stream, past);
                let serve = desk.run(move |from| lookup.clone().block(from));
                tokio::join!(serve, renewal.run());
            }
            // The reader of the stream has the same trouble, and tells it.
            Err(error) => {
                let why: Arc<str> = error.to_string().into();
                desk.run(move |_| std::future::ready(Err(LookupError::Failed(Arc::clone(&why)))))
                    .await;
            }
        }
    };
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Whether NATS can be reached is told by the reader of the stream; what a lookup is refused, only here.
fn on_notice(notice: Notice) {
    match notice {
        Notice::Complaint(complaint) => tracing::warn!(complaint, "NATS complains about a lookup"),
        notice => tracing::debug!(?notice, "the connection for lookups"),
    }
}

/// Looks up blocks of one stream. Clones share the connection.
#[derive(Clone)]
struct Lookup {
    jetstream: jetstream::Context,
    client: Client,
    stream: Arc<str>,
    envelope: Envelope,
    history: History,
}

impl Lookup {
    fn new(client: Client, stream: &str, (envelope, history): (Envelope, History)) -> Self {
        let jetstream = jetstream::with_prefix(client.clone(), "$JS.API");
        Self { jetstream, client, stream: stream.into(), envelope, history }
    }

    /// The block that begins at `from`: up to the end of its aligned range, or less if its messages are large.
    async fn block(self, from: u64) -> Fetched {
        let failed = |why: &dyn std::fmt::Display| LookupError::Failed(why.to_string().into());
        let stream = self.jetstream.get_stream(&*self.stream);
        let stream = tokio::time::timeout(PATIENCE, stream)
            .await
            .map_err(|_| failed(&"no answer from NATS"))?
            .map_err(|error| failed(&error))?;
        let info = stream.cached_info();
        let (epoch, _) = self.history.now();
        if !epoch.starts_with(&wsgateway_nats::epoch(info.created)) {
            return Err(failed(&"the stream is another one now"));
        }
        let (first, last) = (info.state.first_sequence, info.state.last_sequence);
        let to = (block_of(from).saturating_add(BLOCK - 1)).min(last);
        let (mut messages, mut bytes, mut next) = (Vec::new(), 0, from.max(first));
        let mut attempts = 0;
        while next <= to && bytes < BLOCK_BYTES {
            let answer = match info.config.allow_direct {
                true => self.ask(next, to + 1 - next).await.map_err(|error| failed(&error))?,
                false => self.ask_leader(&stream, next).await?.into_iter().collect(),
            };
            let before = next;
            for message in answer {
                next = next.max(message.sequence + 1);
                bytes += message.payload.len();
                if message.sequence >= before && message.sequence <= to {
                    messages.push(message);
                }
            }
            attempts = if next > before { 0 } else { attempts + 1 };
            if attempts >= ATTEMPTS {
                next = self.next_by_leader(&stream, next, last).await?;
                attempts = 0;
            }
        }
        let to = to.min(next.saturating_sub(1)).max(from.saturating_sub(1));
        let messages = self.encode(&messages);
        let missing_is_gone = true;
        Ok(Arc::new(Block { epoch, messages, from, to, first, last, missing_is_gone }))
    }

    /// The first message from `next` on, for streams that allow no direct gets: one request each.
    async fn ask_leader(
        &self,
        stream: &jetstream::stream::Stream,
        next: u64,
    ) -> Result<Option<Message>, LookupError> {
        let failed = |why: String| LookupError::Failed(why.into());
        let asked = stream.get_first_raw_message_by_subject(">", next);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        match answer.map_err(|_| failed("no answer from the stream's leader".to_owned()))? {
            Ok(found) => Ok(Some(Message {
                subject: found.subject.as_str().into(),
                sequence: found.sequence,
                timestamp: i64::try_from(found.time.unix_timestamp_nanos() / 1_000_000)
                    .unwrap_or_default(),
                payload: found.payload,
                deleted: None,
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The first sequence behind `missing` that the stream's leader has, or the one behind `last`.
    async fn next_by_leader(
        &self,
        stream: &jetstream::stream::Stream,
        missing: u64,
        last: u64,
    ) -> Result<u64, LookupError> {
        let failed = |why: &str| LookupError::Failed(why.into());
        let asked = stream.get_first_raw_message_by_subject(">", missing);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        match answer.map_err(|_| failed("no answer from the stream's leader"))? {
            Ok(message) if message.sequence > missing => Ok(message.sequence),
            Ok(_) => Err(failed("the replica that answers is behind the stream's leader")),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(last + 1),
            Err(error) => Err(failed(&error.to_string())),
        }
    }

    /// Messages from `next` on, at most `count` of them.
    async fn ask(&self, next: u64, count: u64) -> Result<Vec<Message>, async_nats::Error> {
        let request = json!({
            "seq": next, "next_by_subj": ">", "batch": count, "max_bytes": BLOCK_BYTES,
        });
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await?;
        let subject = format!("$JS.API.DIRECT.GET.{}", self.stream);
        self.client.publish_with_reply(subject, inbox, request.to_string().into()).await?;
        let mut messages = Vec::new();
        loop {
            let reply = tokio::time::timeout(PATIENCE, replies.next()).await;
            let reply = reply.map_err(|_| "no answer from NATS to a direct get")?;
            let reply = reply.ok_or("the connection to NATS was lost")?;
            // A message has its number from the server. Its status line, if any, is the publisher's, and says nothing.
            let numbered = |headers: &HeaderMap| headers.get(NATS_SEQUENCE).is_some();
            match reply.status {
                _ if reply.headers.as_ref().is_some_and(numbered) => {}
                None | Some(StatusCode::OK) => {}
                Some(StatusCode::NO_RESPONDERS) => {
                    return Err("the stream does not allow direct gets".into());
                }
                // The end of a batch, or nothing from here on.
                Some(_) => return Ok(messages),
            }
            let headers = reply.headers.as_ref().ok_or("an answer without headers")?;
            messages.push(message(headers, reply.payload.clone())?);
            // Servers before 2.11 know no batches and give one message.
            if headers.get(PENDING).is_none() || messages.len() as u64 > count {
                return Ok(messages);
            }
        }
    }

    /// Encodes messages in order; the first of each channel says that the one before it is not known.
    fn encode(&self, messages: &[Message]) -> Vec<Arc<crate::encode::Delivery>> {
        let mut previous: HashMap<&str, u64> = HashMap::new();
        let encode = |message| {
            let channel = self.envelope.channel(message);
            let prev = previous.insert(channel, message.sequence).unwrap_or(0);
            self.envelope.encode(message, prev)
        };
        messages.iter().map(encode).collect()
    }
}

/// Header of an answer to a batch.
const PENDING: &str = "Nats-Num-Pending";

/// The message in an answer. The server's own headers come behind those of the publisher, who may have used the same
/// names.
fn message(headers: &HeaderMap, payload: bytes::Bytes) -> Result<Message, async_nats::Error> {
    let last = |name: async_nats::HeaderName| {
        let value = headers.get_last(name.clone());
        value.map(async_nats::HeaderValue::as_str).ok_or_else(|| format!("no {name} in an answer"))
    };
    let stored = async_nats::datetime::parse_rfc3339(last(NATS_TIME_STAMP)?)?;
    Ok(Message {
        subject: last(NATS_SUBJECT)?.into(),
        sequence: last(NATS_SEQUENCE)?.parse()?,
        timestamp: i64::try_from(stored.unix_timestamp_nanos() / 1_000_000)?,
        payload,
        deleted: None,
    })
}
