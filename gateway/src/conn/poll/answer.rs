//! An answer: the pushes of a session, put into one JSON object, until it is time to end it.
//!
//! In: pushes, one after the other, and the time of the shard. Out: text, piece by piece, and what to wait for. No sockets.
//! What must hold: the cursor is never ahead of what the answer contains, moves on when nothing has matched, and memory is
//! bounded: only gaps are kept.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::gaps::{Gap, Gaps};
use crate::conn::push::Head;

/// Time for more messages to come after the first: they are on their way already when a client catches up.
pub(crate) const GATHER: Duration = Duration::from_millis(20);

/// Time to search the past, before the answer says how far that has come: more than many lookups take, less than proxies
/// wait.
const SEARCH: Duration = Duration::from_secs(10);

/// Most messages of an answer, and the bytes after which it ends; last values come on top, since without all of them they
/// are worth nothing.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

/// The same bytes for an answer whose messages come live: it waits in memory meanwhile. The next answer brings the rest.
const MOST_LIVE_BYTES: usize = 16 << 10;

/// What a client asks for, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// It has no cursor yet.
    pub begins: bool,
    /// It asks for last values.
    pub values: bool,
    /// Longest wait for a message.
    pub wait: Duration,
}

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The subscription has not been acknowledged.
    Asked,
    /// What came after the cursor is on its way.
    Behind { since: Duration },
    /// The same, and the session is about to say how far that is.
    Overdue,
    /// Everything up to the cursor has come; what follows comes as it happens.
    Live,
    /// Nothing is added any more.
    Done,
    /// The rest of it will not come.
    Broken(Broken),
}

/// Why there is no answer, or no whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The request can never be answered.
    Refused { code: String, message: String },
    /// Another time, or elsewhere.
    Unavailable(String),
}

/// What to do when the time of an answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// Give it the position of its session: [`Answer::reach`].
    NeedsPosition,
    /// Nothing: the answer has ended.
    Ended,
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
    until: Duration,
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
    /// An answer that begins at `now`, in the time of its shard like every instant here.
    pub(super) fn new(terms: Terms, now: Duration) -> Self {
        Self {
            begins: terms.begins,
            values: terms.values,
            epoch: Box::default(),
            offset: 0,
            stage: Stage::Asked,
            until: now + terms.wait,
            leaving: false,
            recovered: None,
            messages: 0,
            bytes: 0,
            listed: false,
            gaps: Gaps::default(),
        }
    }

    fn is_acknowledged(&self) -> bool {
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

    /// When [`Answer::expire`] is to be called; `None` while something is sure to come.
    pub(super) fn until(&self) -> Option<Duration> {
        match self.stage {
            Stage::Live => Some(self.until),
            Stage::Behind { .. } if self.begins || self.values => None,
            Stage::Behind { .. } if self.messages > 0 => Some(self.until),
            Stage::Behind { since } => Some(self.until.max(since + SEARCH)),
            Stage::Asked | Stage::Overdue | Stage::Done | Stage::Broken(_) => None,
        }
    }

    /// Its time is over.
    pub(super) fn expire(&mut self, out: &mut String) -> Expired {
        if matches!(self.stage, Stage::Behind { .. }) && self.messages == 0 {
            self.stage = Stage::Overdue;
            return Expired::NeedsPosition;
        }
        self.end(out);
        Expired::Ended
    }

    /// The session has been sent everything up to this offset: ends an answer that needed to know.
    pub(super) fn reach(&mut self, offset: u64, out: &mut String) {
        if self.stage == Stage::Overdue {
            self.offset = self.offset.max(offset);
            self.end(out);
        }
    }

    /// Ends the answer with what it has: the client takes no more now, or there is no memory for more. Does nothing while
    /// last values are owed, of which a part is worth nothing, or when there is nothing to answer with.
    pub(super) fn end_early(&mut self, out: &mut String) {
        if self.messages > 0 && !self.values {
            self.end(out);
        }
    }

    /// Takes a push of the session.
    pub(super) fn push(&mut self, push: &str, out: &mut String, now: Duration) {
        if let Some(head) = Head::read(push.as_bytes()).filter(|_| !self.is_done()) {
            self.take(push, &head, out, now);
        }
    }

    fn take(&mut self, push: &str, head: &Head<'_>, out: &mut String, now: Duration) {
        let offset = head.offset.unwrap_or_default();
        match &*head.kind {
            "connection:established" => {
                self.epoch = head.epoch.as_deref().unwrap_or_default().into();
            }
            "subscription_ack" if self.stage == Stage::Asked => {
                self.begin(push, offset, out, now);
            }
            "error" if self.stage == Stage::Asked => {
                if let Ok(Refused { code, message }) = serde_json::from_str(push) {
                    self.stage = Stage::Broken(Broken::Refused { code, message });
                }
            }
            "message" if head.snapshot => self.list(push, out, now),
            "message" => self.message(push, offset, out, now),
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
    fn begin(&mut self, push: &str, offset: u64, out: &mut String, now: Duration) {
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
        let catches_up = !self.begins || self.values;
        if ack.subscribed.is_empty() || !catches_up {
            self.end(out); // nothing will come
        }
    }

    /// Takes a message that is no last value.
    pub(super) fn message(&mut self, push: &str, offset: u64, out: &mut String, now: Duration) {
        if self.is_done() {
            return;
        }
        self.list(push, out, now);
        // A message that has waited for its rule may be older than what came before it.
        (self.offset, self.values) = (self.offset.max(offset), false);
        self.messages += 1;
        self.bytes += push.len();
        let most_bytes = if self.stage == Stage::Live { MOST_LIVE_BYTES } else { MOST_BYTES };
        if self.messages >= MOST || self.bytes >= most_bytes {
            self.end(out);
        }
    }

    fn list(&mut self, push: &str, out: &mut String, now: Duration) {
        if std::mem::replace(&mut self.listed, true) {
            out.push(',');
        }
        out.push_str(push);
        self.until = self.until.min(now + GATHER);
    }

    fn gap(&mut self, push: &str, now: Duration) {
        let Ok(gap) = serde_json::from_str::<Gap>(push) else { return };
        self.until = self.until.min(now + GATHER);
        if self.stage == Stage::Live {
            // Whatever comes now is after it. Before, it may come ahead of messages that are not.
            self.offset = self.offset.max(gap.to);
        }
        self.gaps.add(gap);
    }

    /// The session ends. What the answer has stands, except for last values: nobody would ask for the rest of them.
    pub(super) fn cut(&mut self, reason: &str, out: &mut String) {
        if self.is_done() {
            return;
        }
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
        let cursor = format!("{}:{}", self.epoch, self.offset);
        if let Ok(cursor) = serde_json::to_string(&cursor) {
            out.extend([r#","cursor":"#, &cursor]);
        }
        out.push('}');
    }
}

#[cfg(test)]
mod tests;
