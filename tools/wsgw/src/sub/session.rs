//! One subscription over any number of connections (pure): the gateway's pushes in, lines out, and the cursor in between.
//!
//! What must hold: the cursor never passes a message that was not handed out, so that going on from it misses nothing.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::token::words::printable;

/// A point of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    epoch: String,
    offset: u64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.epoch, self.offset)
    }
}

impl Cursor {
    /// `EPOCH:OFFSET`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // A cursor of an event stream may end so.
        let (epoch, offset) = text.trim_end_matches('~').rsplit_once(':')?;
        let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
        let is_good = !epoch.is_empty() && epoch.len() <= 128 && epoch.chars().all(plain);
        is_good.then_some(Self { epoch: epoch.to_owned(), offset: offset.parse().ok()? })
    }
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Channel, tab, data.
    Line,
    /// The gateway's JSON of messages and gaps.
    Json,
    /// Every frame.
    Raw,
}

/// What comes of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Out {
    /// For standard output, with its line break.
    Print(String),
    /// A message was handed out.
    Counted,
    /// For standard error.
    Note(String),
    /// The gateway is asked for nothing any more: every channel was rejected.
    Rejected(String),
    /// The gateway wants another token soon.
    TokenWanted,
    /// The connection ends soon; the next one may come after so many ms.
    Reconnect(u64),
}

/// Anything that a gateway sends. What is not named here does not matter.
#[derive(Deserialize)]
struct Push<'a> {
    r#type: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    offset: Option<u64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    deleted: Option<String>,
    #[serde(default)]
    snapshot: bool,
    #[serde(default)]
    epoch: Option<String>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    subscribed: Vec<String>,
    #[serde(default)]
    rejected: Vec<Rejected>,
    #[serde(default)]
    recovered: Option<bool>,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    to: u64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    code: Option<Value>,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "afterMs")]
    after_ms: u64,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default, rename = "heartbeatMs")]
    heartbeat_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Rejected {
    channel: String,
    code: String,
}

/// One subscription.
#[derive(Debug)]
pub(crate) struct Session {
    channels: Vec<String>,
    form: Form,
    snapshot: bool,
    cursor: Option<Cursor>,
    /// The stream's life that the present connection reads.
    epoch: String,
    /// Until its `live` the command is behind what else comes on the connection.
    catching_up: bool,
    /// Channels are subscribed without asking, whose messages are no part of what is caught up with.
    has_set: bool,
    heartbeat_ms: u64,
}

impl Session {
    pub(crate) fn new(channels: Vec<String>, form: Form, snapshot: bool) -> Self {
        Self {
            channels,
            form,
            snapshot,
            cursor: None,
            epoch: String::new(),
            catching_up: false,
            has_set: false,
            heartbeat_ms: 25_000,
        }
    }

    pub(crate) fn from(self, cursor: Option<Cursor>) -> Self {
        Self { cursor, ..self }
    }

    pub(crate) fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// How often the gateway says something at least.
    pub(crate) fn heartbeat_ms(&self) -> u64 {
        // What a gateway says is bounded, too.
        self.heartbeat_ms.clamp(1_000, 300_000)
    }

    /// The command to begin a connection with.
    pub(crate) fn subscribe(&mut self) -> String {
        let mut command = json!({ "type": "subscribe", "id": 1, "channels": self.channels });
        self.catching_up = self.cursor.is_some() || self.snapshot;
        self.has_set = false;
        if let (Some(cursor), Some(command)) = (&self.cursor, command.as_object_mut()) {
            let resume = json!({ "epoch": cursor.epoch, "offset": cursor.offset });
            command.insert("resume".to_owned(), resume);
        }
        if let (true, Some(command)) = (self.snapshot, command.as_object_mut()) {
            command.insert("snapshot".to_owned(), json!(true));
        }
        command.to_string()
    }

    /// Takes one push.
    pub(crate) fn take(&mut self, text: &str) -> Vec<Out> {
        let mut out = Vec::new();
        if self.form == Form::Raw {
            out.push(Out::Print(line(text)));
        }
        let Ok(push) = serde_json::from_str::<Push<'_>>(text) else { return out };
        match push.r#type.as_str() {
            "connection:established" => {
                self.epoch = push.epoch.unwrap_or_default();
                self.has_set = !push.subscribed.is_empty();
                self.heartbeat_ms = push.heartbeat_ms.unwrap_or(self.heartbeat_ms);
            }
            "message" => self.message(&push, text, &mut out),
            "gap" => {
                if self.form == Form::Json {
                    out.push(Out::Print(line(text)));
                }
                let (channel, reason) = (printable(&push.channel), printable(&push.reason));
                out.push(Out::Note(format!(
                    "gap: {channel} misses offsets {} to {} ({reason}): {}",
                    push.from,
                    push.to,
                    gap_in_words(&push.reason)
                )));
            }
            "subscription_ack" => self.acknowledged(&push, &mut out),
            "live" => {
                self.catching_up = false;
                self.advance(push.offset);
            }
            "pong" => self.advance(push.offset),
            "token_expiring" => out.push(Out::TokenWanted),
            "reconnect" => out.push(Out::Reconnect(push.after_ms)),
            "unsubscribed" => out.push(Out::Note(format!(
                "no longer allowed or subscribed ({}): {}",
                printable(&push.reason),
                printable(&push.channels.join(", "))
            ))),
            "error" => {
                let code = push.code.as_ref().and_then(Value::as_str).unwrap_or_default();
                let said = format!("the gateway says {code}: {}", push.message);
                out.push(Out::Note(printable(&said)));
            }
            _ => {}
        }
        out
    }

    fn message(&mut self, push: &Push<'_>, text: &str, out: &mut Vec<Out>) {
        match self.form {
            Form::Raw => {}
            Form::Json => out.push(Out::Print(line(text))),
            Form::Line => {
                let data = match (push.data, &push.deleted) {
                    (Some(data), _) => line(data.get()),
                    (None, Some(reason)) => format!("deleted ({})\n", printable(reason)),
                    (None, None) => "\n".to_owned(),
                };
                out.push(Out::Print(format!("{}\t{data}", printable(&push.channel))));
            }
        }
        out.push(Out::Counted);
        // A last value may be older than what comes next, and a set channel's message newer than what is still to come.
        let is_ahead = self.catching_up && self.has_set;
        if !push.snapshot && !is_ahead {
            self.advance(push.offset);
        }
    }

    fn acknowledged(&mut self, push: &Push<'_>, out: &mut Vec<Out>) {
        if push.id != Some(json!(1)) {
            return;
        }
        let rejected: Vec<String> = push
            .rejected
            .iter()
            .map(|one| format!("{} ({})", printable(&one.channel), printable(&one.code)))
            .collect();
        if !rejected.is_empty() {
            let text = format!("the gateway rejects {}", rejected.join(", "));
            let is_all = push.subscribed.is_empty();
            out.push(if is_all { Out::Rejected(text) } else { Out::Note(text) });
        }
        if push.recovered == Some(false) {
            out.push(Out::Note("not everything since the cursor could be recovered".to_owned()));
        }
        // Without a look back the command is at the connection's head at once.
        if let Some(offset) = push.offset {
            self.cursor = Some(Cursor { epoch: self.epoch.clone(), offset });
        }
        self.snapshot = false;
    }

    fn advance(&mut self, offset: Option<u64>) {
        if let (Some(cursor), Some(offset)) = (&mut self.cursor, offset) {
            cursor.offset = cursor.offset.max(offset);
        }
    }
}

fn gap_in_words(reason: &str) -> &'static str {
    match reason {
        "slow_consumer" => "only the newest of each channel is kept for a slow client",
        "retention" => "the stream has discarded them",
        "epoch" => "the stream is another one than that of the cursor",
        "source" => "the gateway had no connection to its source",
        _ => "they will not come",
    }
}

/// JSON as one line: it has line breaks between its tokens only, and other controls only as escapes.
fn line(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            // Commands for terminals, which JSON allows within text.
            '\u{7f}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
