//! Requests: many at once over one link, which is made anew whenever it ends.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout_at};

use super::{Dialer, Incoming, Link, Lost};
use crate::Notice;
use crate::wire::Message;

/// Requests that may wait to be sent.
const QUEUE: usize = 64;

/// Answers to one request that may wait to be taken: more than any batch holds.
const ANSWERS: usize = 1_024;

/// Why there is no (further) answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// None in time.
    #[error("no answer from NATS")]
    NoAnswer,
    /// The link ended meanwhile, or there is none yet.
    #[error("the connection to NATS was lost")]
    Lost,
    /// The user may not publish to the subject of the request.
    #[error("NATS does not permit it: grant the gateway's user what docs/configuration.md lists")]
    NotPermitted,
}

type Answers = mpsc::Sender<Result<Message, RequestError>>;

struct Request {
    subject: String,
    payload: Vec<u8>,
    answers: Answers,
}

/// A request that was sent.
struct Open {
    subject: String,
    answers: Answers,
}

/// Handle for those who ask. Clones use the same link.
#[derive(Clone, Debug)]
pub struct Requests {
    queue: mpsc::Sender<Request>,
}

/// The answers to one request, as they come.
#[derive(Debug)]
pub struct Replies {
    answers: mpsc::Receiver<Result<Message, RequestError>>,
}

/// A handle, and what must run beside it.
pub fn requests(dialer: Dialer) -> (Requests, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    (Requests { queue }, run(dialer, waiting))
}

impl Requests {
    /// Sends a request.
    ///
    /// # Errors
    /// When the link cannot be used any more.
    pub async fn send(&self, subject: String, payload: Vec<u8>) -> Result<Replies, RequestError> {
        let (answers, replies) = mpsc::channel(ANSWERS);
        let request = Request { subject, payload, answers };
        self.queue.send(request).await.map_err(|_| RequestError::Lost)?;
        Ok(Replies { answers: replies })
    }
}

impl Replies {
    /// The next answer.
    ///
    /// # Errors
    /// When none comes within `timeout`, the link ends, or the request is not permitted.
    pub async fn next(&mut self, timeout: Duration) -> Result<Message, RequestError> {
        let answer = timeout_at(Instant::now() + timeout, self.answers.recv()).await;
        answer.map_err(|_| RequestError::NoAnswer)?.ok_or(RequestError::Lost)?
    }
}

async fn run(mut dialer: Dialer, mut waiting: mpsc::Receiver<Request>) {
    loop {
        let mut link = dialer.connect().await;
        match serve(&mut link, &mut waiting, &mut dialer).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "the connection for requests"),
        }
    }
}

/// Until nobody asks any more.
async fn serve(
    link: &mut Link,
    waiting: &mut mpsc::Receiver<Request>,
    dialer: &mut Dialer,
) -> Result<(), Lost> {
    let inbox = link.inbox("r");
    let sid = link.subscribe(&format!("{inbox}.*"));
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut last = 0u64;
    loop {
        tokio::select! {
            request = waiting.recv() => {
                let Some(Request { subject, payload, answers }) = request else { return Ok(()) };
                open.retain(|_, open| !open.answers.is_closed());
                last += 1;
                link.publish(subject.as_bytes(), Some(&format!("{inbox}.{last}")), &payload);
                open.insert(last, Open { subject, answers });
                link.flush().await?;
            }
            incoming = link.next() => match incoming? {
                Incoming::Message(message) if message.sid == sid => {
                    let number = message.subject.rsplit(|byte| *byte == b'.').next();
                    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                    if let Some(number) = number
                        && let Some(Open { answers, .. }) = open.get(&number)
                        && answers.try_send(Ok(message)).is_err()
                    {
                        open.remove(&number);
                    }
                }
                Incoming::Message(_) => {}
                Incoming::Complaint(complaint) => {
                    refuse(&mut open, &complaint);
                    dialer.notice(Notice::Complaint(complaint));
                }
                Incoming::LameDuck if dialer.leave() => return Err(Lost::Closed),
                Incoming::LameDuck => {}
            }
        }
    }
}

/// Ends the requests that a complaint is about; without it they would wait for an answer that cannot come.
fn refuse(open: &mut HashMap<u64, Open>, complaint: &str) {
    open.retain(|_, Open { subject, answers }| {
        let refused = complaint.contains(&format!("\"{subject}\""));
        if refused {
            // Full or closed: then nobody waits for this.
            let _unread = answers.try_send(Err(RequestError::NotPermitted));
        }
        !refused
    });
}
