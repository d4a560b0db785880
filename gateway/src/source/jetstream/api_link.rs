//! A link with requests on it: one at a time, while deliveries that come in between are kept.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wsgateway_nats::jetstream::ConsumerConfig;
use wsgateway_nats::link::{Incoming, Link, Lost};
use wsgateway_nats::wire::Message;

use super::Ended;

/// Longest wait for an answer of the JetStream API.
const REQUEST: Duration = Duration::from_secs(5);

/// Deliveries kept while an answer is waited for. Flow control lets the server send a few thousand at most.
const MAX_KEPT: usize = 65_536;

/// A connection, the answers to the request under way, and the deliveries of the consumer.
#[derive(Debug)]
pub(super) struct ApiLink {
    link: Link,
    answers: u64,
    requests: u64,
    /// The subscription to deliveries, and its subject.
    deliveries: Option<(u64, String)>,
    kept: VecDeque<Message>,
    lame: bool,
    /// What the server last complained about: a missing permission shows as silence otherwise.
    pub complaint: Option<String>,
}

impl ApiLink {
    pub(super) fn new(mut link: Link) -> Self {
        let answers = link.subscribe(&link.inbox("answer.*"));
        Self {
            link,
            answers,
            requests: 0,
            deliveries: None,
            kept: VecDeque::new(),
            lame: false,
            complaint: None,
        }
    }

    /// Begins to listen to deliveries, and no longer to those of the consumer before; returns where they must go.
    pub(super) fn listen(&mut self) -> String {
        if let Some((sid, _)) = self.deliveries.take() {
            self.link.unsubscribe(sid);
        }
        self.kept.clear();
        self.requests += 1;
        let inbox = self.link.inbox(&format!("deliver.{}", self.requests));
        self.deliveries = Some((self.link.subscribe(&inbox), inbox.clone()));
        inbox
    }

    /// Asks a consumer for so many deliveries, without waiting.
    pub(super) fn pull(
        &mut self,
        subject: &str,
        batch: u64,
        expires: Duration,
        heartbeat: Duration,
    ) {
        let reply = self.deliveries.as_ref().map(|(_, inbox)| inbox.as_str());
        let body = ConsumerConfig::pull(batch, expires, heartbeat);
        self.link.publish(subject.as_bytes(), reply, &body);
    }

    /// Asks, and waits for the answer; `what` says what could not be done otherwise.
    pub(super) async fn request(
        &mut self,
        what: &'static str,
        subject: &str,
        body: &[u8],
    ) -> Result<Message, Ended> {
        self.requests += 1;
        let inbox = self.link.inbox(&format!("answer.{}", self.requests));
        self.link.publish(subject.as_bytes(), Some(&inbox), body);
        let deadline = Instant::now() + REQUEST;
        let refused = |why: &str| Ended::Refused { what, why: why.to_owned() };
        loop {
            let incoming = timeout_at(deadline, self.link.next()).await;
            match incoming.map_err(|_| refused("no answer from NATS"))?? {
                Incoming::Message(message) if message.sid == self.answers => {
                    if *message.subject == *inbox.as_bytes() {
                        return Ok(message);
                    }
                }
                Incoming::Message(message) => self.keep(message)?,
                Incoming::Complaint(complaint) => {
                    let about_this = complaint.contains(subject);
                    self.note(complaint);
                    if about_this {
                        return Err(refused("it is not permitted"));
                    }
                }
                Incoming::LameDuck => self.lame = true,
            }
        }
    }

    /// The next delivery or control message. Safe to cancel.
    pub(super) async fn delivery(&mut self) -> Result<Message, Ended> {
        if let Some(kept) = self.kept.pop_front() {
            return Ok(kept);
        }
        loop {
            if self.lame {
                self.lame = false;
                return Err(Ended::LameDuck);
            }
            match self.link.next().await? {
                Incoming::Message(message) if self.is_delivery(&message) => {
                    return Ok(message);
                }
                Incoming::Message(_) => {}
                Incoming::Complaint(complaint) => self.note(complaint),
                Incoming::LameDuck => self.lame = true,
            }
        }
    }

    /// Waits for something else, while deliveries that come in between are kept.
    pub(super) async fn wait<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Ended> {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return Ok(done),
                incoming = self.link.next() => match incoming? {
                    Incoming::Message(message) => self.keep(message)?,
                    Incoming::Complaint(complaint) => self.note(complaint),
                    Incoming::LameDuck => self.lame = true,
                },
            }
        }
    }

    /// Serves the connection, and nothing else, until `rest` is over.
    pub(super) async fn idle(&mut self, rest: impl Future<Output = ()>) -> Result<(), Lost> {
        let mut rest = std::pin::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => return Ok(()),
                incoming = self.link.next() => match incoming? {
                    Incoming::Message(_) => {}
                    Incoming::Complaint(complaint) => self.note(complaint),
                    Incoming::LameDuck => self.lame = true,
                },
            }
        }
    }

    /// Publishes without waiting: it leaves before the next read.
    pub(super) fn publish(&mut self, subject: &[u8]) {
        self.link.publish(subject, None, b"");
    }

    fn is_delivery(&self, message: &Message) -> bool {
        self.deliveries.as_ref().is_some_and(|(sid, _)| *sid == message.sid)
    }

    fn keep(&mut self, message: Message) -> Result<(), Ended> {
        if self.is_delivery(&message) {
            if self.kept.len() >= MAX_KEPT {
                let why = "NATS delivers without an answer to flow control".to_owned();
                return Err(Ended::Refused { what: "keep up", why });
            }
            self.kept.push_back(message);
        }
        Ok(())
    }

    fn note(&mut self, complaint: String) {
        tracing::warn!(complaint, "NATS complains");
        self.complaint = Some(complaint);
    }
}
