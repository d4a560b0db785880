//! An answer: what a shard says, put into one JSON object, until it is time to end it.
//!
//! In: pushes, one after the other, and the time. Out: text, piece by piece, and what to wait for. No sockets. What must
//! hold: the cursor is never ahead of what was told, moves on when nothing has matched, and memory is bounded: only gaps
//! are kept.

use std::fmt::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant};

use super::gaps::{Gap, Gaps};
use crate::http::bridge::{Head, Said, head};
use crate::http::query::{Cursor, Wish};

/// Time for more messages to come behind the first: they are on their way already when a client catches up.
const GATHER: Duration = Duration::from_millis(20);

/// Time to look for something in the past, before a client is told how far that has come: more than many lookups take,
/// less than proxies wait.
const SEARCH: Duration = Duration::from_secs(10);

/// Most messages of an answer, and the bytes after which it ends; last values come on top, since without all of them they
/// are worth nothing.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The shard has not acknowledged the subscription.
    Asked,
    /// What is behind the cursor is on its way.
    Behind { since: Instant },
    /// The same, and we have asked how far that is.
    Questioned,
    /// Everything up to the cursor has come; what follows comes as it happens.
    Live,
    /// Nothing is added any more.
    Done,
    /// The rest of it will not come.
    Broken(Broken),
}

/// Why there is no answer, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The request can never be answered.
    Refused { code: String, message: String },
    /// Another time, or elsewhere.
    Unavailable(String),
}

/// What to do when nothing is said in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Ask the shard how far it is.
    Ask,
    /// Nothing: the answer has ended.
    End,
}

#[derive(Debug)]
pub(super) struct Answer {
    /// The client has no cursor yet.
    begins: bool,
    /// Last values are on their way.
    values: bool,
    epoch: Box<str>,
    offset: u64,
    stage: Stage,
    until: Instant,
    /// Whether the pod sends its clients away.
    pub leaving: bool,
    recovered: Option<bool>,
    /// Messages that are no last values, and bytes of them.
    messages: usize,
    bytes: usize,
    /// Whether the list of messages has an element.
    listed: bool,
    gaps: Gaps,
}

/// The rest of an acknowledgement.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ack<'a> {
    #[serde(default)]
    subscribed: Vec<IgnoredAny>,
    #[serde(borrow)]
    rejected: Option<&'a RawValue>,
    rejected_count: Option<usize>,
    recovered: Option<bool>,
}

#[derive(Deserialize)]
struct Refused {
    code: String,
    message: String,
}

impl Answer {
    pub(super) fn new(wish: &Wish, now: Instant, wait: Duration) -> Self {
        Self {
            begins: wish.cursor.is_none(),
            values: wish.snapshot,
            epoch: Box::default(),
            offset: 0,
            stage: Stage::Asked,
            until: now + wait,
            leaving: false,
            recovered: None,
            messages: 0,
            bytes: 0,
            listed: false,
            gaps: Gaps::default(),
        }
    }

    pub(super) fn is_acknowledged(&self) -> bool {
        self.stage != Stage::Asked
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Broken(_))
    }

    pub(super) fn broken(&self) -> Option<&Broken> {
        match &self.stage {
            Stage::Broken(broken) => Some(broken),
            _ => None,
        }
    }

    /// When [`Answer::late`] is to be called; `None` while the shard is sure to say something.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.stage {
            Stage::Live => Some(self.until),
            Stage::Behind { .. } if self.begins || self.values => None,
            Stage::Behind { .. } if self.messages > 0 => Some(self.until),
            Stage::Behind { since } => Some(self.until.max(since + SEARCH)),
            Stage::Asked | Stage::Questioned | Stage::Done | Stage::Broken(_) => None,
        }
    }

    /// Nothing was said in time.
    pub(super) fn late(&mut self, out: &mut String) -> Late {
        if matches!(self.stage, Stage::Behind { .. }) && self.messages == 0 {
            self.stage = Stage::Questioned;
            return Late::Ask;
        }
        self.end(out);
        Late::End
    }

    /// Takes what the shard says.
    pub(super) fn take(&mut self, said: Option<Said>, out: &mut String, now: Instant) {
        match said {
            Some(Said::Ping) => {}
            Some(Said::Push(push)) => {
                if let Some(head) = head(&push) {
                    self.push(&push, &head, out, now);
                }
            }
            Some(Said::Close { reason, .. }) => self.cut(&reason, out),
            None => self.cut("the gateway could not answer", out),
        }
    }

    fn push(&mut self, push: &str, head: &Head<'_>, out: &mut String, now: Instant) {
        let offset = head.offset.unwrap_or_default();
        match &*head.kind {
            "connection:established" => self.epoch = head.epoch.clone().unwrap_or_default(),
            "subscription_ack" if self.stage == Stage::Asked => {
                self.begin(push, offset, out, now);
            }
            "subscription_ack" => {
                self.offset = self.offset.max(offset);
                self.end(out);
            }
            "error" if self.stage == Stage::Asked => {
                if let Ok(Refused { code, message }) = serde_json::from_str(push) {
                    self.stage = Stage::Broken(Broken::Refused { code, message });
                }
            }
            "message" => self.message(push, head.snapshot, offset, out, now),
            "gap" => self.gap(push, now),
            "live" => {
                self.offset = self.offset.max(offset);
                (self.stage, self.values) = (Stage::Live, false);
                if self.begins {
                    self.end(out);
                }
            }
            "reconnect" => {
                self.leaving = true;
                if self.is_acknowledged() && !self.values {
                    self.end(out);
                }
            }
            _ => {}
        }
    }

    /// The acknowledgement: what is sent begins here.
    fn begin(&mut self, push: &str, offset: u64, out: &mut String, now: Instant) {
        let Ok(ack) = serde_json::from_str::<Ack<'_>>(push) else { return };
        out.push('{');
        if let Some(rejected) = ack.rejected.filter(|list| list.get() != "[]") {
            let _written = write!(out, r#""rejected":{rejected},"#);
        }
        if let Some(count) = ack.rejected_count {
            let _written = write!(out, r#""rejectedCount":{count},"#);
        }
        out.push_str(r#""messages":["#);
        self.offset = offset;
        self.recovered = ack.recovered;
        self.values &= ack.recovered != Some(true);
        self.until = self.until.max(now + GATHER);
        self.stage = Stage::Behind { since: now };
        let looks_back = !self.begins || self.values;
        if ack.subscribed.is_empty() || !looks_back {
            self.end(out); // nothing will come
        }
    }

    fn message(&mut self, push: &str, value: bool, offset: u64, out: &mut String, now: Instant) {
        if std::mem::replace(&mut self.listed, true) {
            out.push(',');
        }
        out.push_str(push);
        self.until = self.until.min(now + GATHER);
        if value {
            return;
        }
        (self.offset, self.values) = (offset, false);
        self.messages += 1;
        self.bytes += push.len();
        if self.messages >= MOST || self.bytes >= MOST_BYTES {
            self.end(out);
        }
    }

    fn gap(&mut self, push: &str, now: Instant) {
        let Ok(gap) = serde_json::from_str::<Gap>(push) else { return };
        self.until = self.until.min(now + GATHER);
        if self.stage == Stage::Live {
            // Whatever comes now is behind it. Before, it may be told ahead of messages that are not.
            self.offset = self.offset.max(gap.to);
        }
        self.gaps.add(gap);
    }

    /// The shard has hung up. What was told stands, except for last values: nobody would ask for the rest of them.
    fn cut(&mut self, reason: &str, out: &mut String) {
        self.leaving = true;
        if self.is_acknowledged() && !self.values {
            return self.end(out);
        }
        self.stage = Stage::Broken(Broken::Unavailable(format!("{reason}: try again")));
    }

    fn end(&mut self, out: &mut String) {
        if self.is_done() {
            return;
        }
        self.stage = Stage::Done;
        out.push(']');
        let gaps = std::mem::take(&mut self.gaps).up_to(self.offset);
        if let Some(recovered) = self.recovered {
            // What is missing may lie behind this answer.
            let recovered = recovered || gaps.is_empty();
            let _written = write!(out, r#","recovered":{recovered}"#);
        }
        if !gaps.is_empty()
            && let Ok(gaps) = serde_json::to_string(&gaps)
        {
            out.extend([r#","gaps":"#, &gaps]);
        }
        let cursor = Cursor { epoch: self.epoch.to_string(), offset: self.offset, owed: false };
        if let Ok(cursor) = serde_json::to_string(&cursor.to_string()) {
            out.extend([r#","cursor":"#, &cursor]);
        }
        out.push('}');
    }
}

#[cfg(test)]
mod tests;
