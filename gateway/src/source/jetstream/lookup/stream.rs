//! Stream: single questions to JetStream about the stream that is read, each with one answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use wsgateway_nats::jetstream::{Api, Direct, Stored, StreamInfo, Subjects};
use wsgateway_nats::link::{Replies, RequestError, Requests};

use super::super::message::{channel_text, deleted};
use crate::encode::Message;
use crate::history::archive::{BLOCK_BYTES, LookupError};

/// Longest wait for the next message of an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks about one stream. Clones share the connection.
#[derive(Clone)]
pub(super) struct Stream {
    api: Api,
    requests: Requests,
    name: Arc<str>,
    /// Whether the stream's leader must not be asked for messages.
    leader_denied: Arc<AtomicBool>,
}

/// Requests for one answer: a replica that is behind, or a server that gives one message at a time.
pub(super) const ATTEMPTS: usize = 3;

pub(super) fn failed(why: impl std::fmt::Display) -> LookupError {
    LookupError::Failed(why.to_string().into())
}

impl Stream {
    pub(super) fn new(api: Api, requests: Requests, name: &str) -> Self {
        Self { api, requests, name: name.into(), leader_denied: Arc::default() }
    }

    /// What the stream's leader says of it.
    pub(super) async fn info(&self) -> Result<StreamInfo, LookupError> {
        let mut replies = self.send(self.api.stream_info(&self.name), Vec::new()).await?;
        let answer = replies.next(ANSWER).await.map_err(failed)?;
        StreamInfo::read(&answer).map_err(failed)
    }

    /// Subjects of the stream that a filter matches, without the first `offset`.
    pub(super) async fn subjects(
        &self,
        filter: &str,
        offset: usize,
    ) -> Result<Subjects, LookupError> {
        let body = Subjects::request(filter, offset);
        let mut replies = self.send(self.api.stream_info(&self.name), body).await?;
        let answer = replies.next(ANSWER).await.map_err(failed)?;
        Subjects::read(&answer).map_err(failed)
    }

    /// Messages that a filter matches from `next` on, from any replica: at most `count` of them, about `bytes`.
    pub(super) async fn ask(
        &self,
        filter: &str,
        next: u64,
        (count, bytes): (u64, usize),
    ) -> Result<Vec<Message>, LookupError> {
        let bytes = bytes.min(BLOCK_BYTES);
        self.direct(
            json!({ "seq": next, "next_by_subj": filter, "batch": count, "max_bytes": bytes }),
            count,
        )
        .await
    }

    /// The newest message of a subject; from the leader where others may be behind it.
    pub(super) async fn newest(
        &self,
        subject: &str,
        info: &StreamInfo,
    ) -> Result<Option<Message>, LookupError> {
        let request = json!({ "last_by_subj": subject });
        if !info.allow_direct || info.replicas > 1 && !self.is_leader_denied() {
            match self.leader(&request).await {
                Err(_) if info.allow_direct && self.is_leader_denied() => {}
                answer => return answer,
            }
        }
        Ok(self.direct(request, 1).await?.pop())
    }

    /// The first message that a filter matches from `next` on, from the stream's leader. A subject that is not UTF-8
    /// comes with replacement characters.
    pub(super) async fn ask_leader(
        &self,
        filter: &str,
        next: u64,
    ) -> Result<Option<Message>, LookupError> {
        self.leader(&json!({ "seq": next, "next_by_subj": filter })).await
    }

    /// Whether NATS has said that the leader must not be asked for messages.
    pub(super) fn is_leader_denied(&self) -> bool {
        self.leader_denied.load(Ordering::Relaxed)
    }

    async fn direct(&self, request: Value, count: u64) -> Result<Vec<Message>, LookupError> {
        let subject = self.api.direct(&self.name);
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

    async fn leader(&self, request: &Value) -> Result<Option<Message>, LookupError> {
        let subject = self.api.message(&self.name);
        let mut replies = self.send(subject, request.to_string().into_bytes()).await?;
        let answer = replies.next(ANSWER).await.map_err(|error| {
            if error == RequestError::NotPermitted {
                self.leader_denied.store(true, Ordering::Relaxed);
            }
            failed(error)
        })?;
        Ok(Stored::from_leader(&answer).map_err(failed)?.map(message))
    }

    async fn send(&self, subject: String, body: Vec<u8>) -> Result<Replies, LookupError> {
        self.requests.send(subject, body).await.map_err(failed)
    }
}

fn message(stored: Stored) -> Message {
    Message {
        subject: channel_text(&stored.subject).into(),
        deleted: deleted(stored.headers()),
        sequence: stored.sequence,
        timestamp: stored.timestamp,
        payload: stored.payload,
        trace: None,
    }
}
