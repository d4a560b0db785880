//! Lookup: a block of the stream by its sequences, through JetStream's direct get; message by message from the stream's
//! leader where that is not allowed.
//!
//! Any replica may answer, also one that is behind: an answer that ends before it should is asked again, and never
//! taken for "deleted". Only what is before the stream's first sequence, or missing between two messages, is deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::jetstream::{Api, Direct, Stored, StreamInfo};
use wsgateway_nats::link::{Dialer, Requests, requests};
use wsgateway_nats::{Access, Notice};

use super::Life;
use super::message::{channel_text, deleted};
use crate::encode::{Delivery, Envelope, Message};
use crate::history::archive::{BLOCK, BLOCK_BYTES, Block, Desk, Fetched, LookupError, block_of};

/// Longest wait for the next message of an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Requests for one block: a replica that is behind, or a server that gives one message at a time.
const ATTEMPTS: usize = 3;

/// Answers those who catch up until told to stop, over a connection of its own, made when the first of them asks: what
/// is looked up is much, and live messages must not wait behind it. `life` tells which stream is read.
pub(crate) async fn look_up(
    source: JetStreamSource,
    name: String,
    (envelope, life): (Envelope, Life),
    mut desk: Desk,
    stop: CancellationToken,
) {
    let work = async {
        desk.wanted().await;
        match Dialer::new(&Access::from(&source), &name, on_notice) {
            Ok(dialer) => {
                let (requests, serve) = requests(dialer);
                let stream = source.stream.as_str().into();
                let api = Api::new(&*source.api_prefix);
                let lookup = Lookup { api, requests, stream, envelope, life };
                let answer = desk.run(move |from| lookup.clone().block(from));
                tokio::join!(answer, serve);
            }
            // The reader of the stream has the same trouble, and reports it.
            Err(error) => {
                let why: Arc<str> = error.to_string().into();
                desk.run(move |_| std::future::ready(Err(LookupError::Failed(Arc::clone(&why)))))
                    .await;
            }
        }
    };
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Whether NATS can be reached is reported by the reader of the stream; what a lookup is refused, only here.
fn on_notice(notice: Notice) {
    match notice {
        Notice::Complaint(complaint) => tracing::warn!(complaint, "NATS complains about a lookup"),
        notice => tracing::debug!(?notice, "the connection for lookups"),
    }
}

/// Looks up blocks of one stream. Clones share the connection.
#[derive(Clone)]
struct Lookup {
    api: Api,
    requests: Requests,
    stream: Arc<str>,
    envelope: Envelope,
    life: Life,
}

fn failed(why: impl std::fmt::Display) -> LookupError {
    LookupError::Failed(why.to_string().into())
}

impl Lookup {
    /// The block that begins at `from`: up to the end of its aligned range, or less if its messages are large.
    async fn block(self, from: u64) -> Fetched {
        let info = self.info().await?;
        let epoch = self.life.epoch_of(&info.epoch);
        let epoch = epoch.ok_or_else(|| failed("the stream is another one now"))?;
        let (first, last) = (info.first, info.last);
        let to = (block_of(from).saturating_add(BLOCK - 1)).min(last);
        let (mut messages, mut bytes, mut next) = (Vec::new(), 0, from.max(first));
        let mut attempts = 0;
        while next <= to && bytes < BLOCK_BYTES {
            let answer = match info.allow_direct {
                true => self.ask(next, to + 1 - next).await?,
                false => self.ask_leader(next).await?.into_iter().collect(),
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
                next = self.next_by_leader(next, last).await?;
                attempts = 0;
            }
        }
        let to = to.min(next.saturating_sub(1)).max(from.saturating_sub(1));
        let messages = self.encode(&messages);
        let missing_is_gone = true;
        Ok(Arc::new(Block { epoch, messages, from, to, first, last, missing_is_gone }))
    }

    async fn info(&self) -> Result<StreamInfo, LookupError> {
        let mut replies = self.send(self.api.stream_info(&self.stream), Vec::new()).await?;
        let answer = replies.next(ANSWER).await.map_err(failed)?;
        StreamInfo::read(&answer).map_err(failed)
    }

    /// The first message from `next` on, from the stream's leader.
    async fn ask_leader(&self, next: u64) -> Result<Option<Message>, LookupError> {
        let body = json!({ "seq": next, "next_by_subj": ">" }).to_string();
        let mut replies = self.send(self.api.message(&self.stream), body.into_bytes()).await?;
        let answer = replies.next(ANSWER).await.map_err(failed)?;
        Ok(Stored::from_leader(&answer).map_err(failed)?.map(message))
    }

    /// The first sequence after `missing` that the stream's leader has, or the one after `last`.
    async fn next_by_leader(&self, missing: u64, last: u64) -> Result<u64, LookupError> {
        match self.ask_leader(missing).await? {
            Some(message) if message.sequence > missing => Ok(message.sequence),
            Some(_) => Err(failed("the replica that answers is behind the stream's leader")),
            None => Ok(last + 1),
        }
    }

    /// Messages from `next` on, at most `count` of them.
    async fn ask(&self, next: u64, count: u64) -> Result<Vec<Message>, LookupError> {
        let request = json!({
            "seq": next, "next_by_subj": ">", "batch": count, "max_bytes": BLOCK_BYTES,
        });
        let subject = self.api.direct(&self.stream);
        let mut replies = self.send(subject, request.to_string().into_bytes()).await?;
        let mut messages = Vec::new();
        loop {
            let answer = replies.next(ANSWER).await.map_err(failed)?;
            match Stored::from_direct(&answer).map_err(failed)? {
                Direct::Message(stored, more) => {
                    messages.push(message(stored));
                    if !more || messages.len() as u64 > count {
                        return Ok(messages);
                    }
                }
                Direct::End => return Ok(messages),
                Direct::NotAllowed => return Err(failed("the stream does not allow direct gets")),
            }
        }
    }

    async fn send(
        &self,
        subject: String,
        body: Vec<u8>,
    ) -> Result<wsgateway_nats::link::Replies, LookupError> {
        self.requests.send(subject, body).await.map_err(failed)
    }

    /// Encodes messages in order; the first of each channel says that the one before it is not known.
    fn encode(&self, messages: &[Message]) -> Vec<Arc<Delivery>> {
        let mut previous: HashMap<&str, u64> = HashMap::new();
        let encode = |message| {
            let channel = self.envelope.channel(message);
            let prev = previous.insert(channel, message.sequence).unwrap_or(0);
            self.envelope.encode(message, prev)
        };
        messages.iter().map(encode).collect()
    }
}

fn message(stored: Stored) -> Message {
    Message {
        subject: channel_text(&stored.subject).into(),
        deleted: deleted(stored.headers()),
        sequence: stored.sequence,
        timestamp: stored.timestamp,
        payload: stored.payload,
    }
}
