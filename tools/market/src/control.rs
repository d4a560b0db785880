//! The control API of the publisher (seed S2): what may be asked, and what is answered.
//!
//! In: the bodies of requests, and facts about the publisher. Out: JSON documents. Health has the shape of the earlier
//! system's (S2, "Health endpoint response"), and refusals have its `errors`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Settings;

/// Largest body of a request (bytes): room for the longest list of the longest tokens.
pub const MOST_BODY: usize = 128 << 10;

/// What is to be done: `POST /control/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Publish, with other settings if some are given.
    Start,
    /// Publish nothing more.
    Stop,
    /// Other settings, whether it publishes or not.
    Configure,
}

impl Command {
    /// The last word of its path.
    pub fn from_path(word: &str) -> Option<Self> {
        match word {
            "start" => Some(Self::Start),
            "stop" => Some(Self::Stop),
            "configure" => Some(Self::Configure),
            _ => None,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Configure => "configured",
        }
    }
}

/// What the publisher shall do.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Whether it publishes.
    pub running: bool,
    /// What and how fast.
    pub settings: Settings,
}

/// The body of a command; fields that are left out stay as they are.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// Messages a second.
    #[serde(default, alias = "messagesPerSecond")]
    rate: Option<f64>,
    #[serde(default)]
    tokens: Option<Vec<String>>,
}

impl Wanted {
    /// What is wanted after a command. An empty body is an empty object.
    ///
    /// # Errors
    /// What is wrong with the body, field first; nothing is changed then.
    pub fn after(&self, command: Command, body: &[u8]) -> Result<Self, String> {
        let body = read(body)?;
        if command == Command::Stop && (body.rate.is_some() || body.tokens.is_some()) {
            return Err("stop takes no settings: use configure".to_owned());
        }
        if command == Command::Configure && body.rate.is_none() && body.tokens.is_none() {
            return Err("nothing to configure: give rate, tokens or both".to_owned());
        }
        let settings = self.settings.changed(body.rate, body.tokens);
        let settings = settings.map_err(|error| error.to_string())?;
        let running = match command {
            Command::Start => true,
            Command::Stop => false,
            Command::Configure => self.running,
        };
        Ok(Self { running, settings })
    }

    /// The answer to a command that was carried out.
    pub fn answer(&self, command: Command) -> Value {
        let mut answer = self.fields();
        answer.insert("status".to_owned(), command.done().into());
        Value::Object(answer)
    }

    /// The answer to a question without a command.
    pub fn state(&self) -> Value {
        let mut answer = self.fields();
        let status = if self.running { "running" } else { "stopped" };
        answer.insert("status".to_owned(), status.into());
        Value::Object(answer)
    }

    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("running".to_owned(), self.running.into());
        fields.insert("rate".to_owned(), self.settings.rate().into());
        fields.insert("tokens".to_owned(), self.settings.tokens().into());
        fields
    }
}

fn read(body: &[u8]) -> Result<Body, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Body::default());
    }
    // A list would be taken for the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err("must be an object".to_owned());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read: Body = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let at_field = !path.is_empty() && path != ".";
        let place = if at_field { format!("{path}: ") } else { String::new() };
        format!("{place}{}", error.into_inner())
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(read)
}

/// The answer to a request that was refused.
pub fn refusal(why: &str) -> Value {
    json!({ "status": "error", "errors": [why] })
}

/// What the publisher has done so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Messages that the market has made.
    pub generated: u64,
    /// Messages that the stream has confirmed, or that were sent to Redis.
    pub messages_published: u64,
    /// Of these, those of which the stream says that it had them already.
    pub duplicates: u64,
    /// Messages that were sent once more, under the same id.
    pub retries: u64,
    /// Messages that were given up: no stream takes their subject, or Redis was lost while they were sent.
    pub dropped: u64,
    /// Attempts that failed.
    pub errors: u64,
}

impl Counts {
    /// Messages under way: neither confirmed nor given up.
    pub fn unconfirmed(&self) -> u64 {
        self.generated.saturating_sub(self.messages_published).saturating_sub(self.dropped)
    }
}

/// Facts about the publisher that answers are made of.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What was done.
    pub counts: Counts,
    /// Messages that were published in the last second.
    pub per_second: f64,
    /// `nats` or `redis`.
    pub target: &'static str,
    /// Whether a connection stands.
    pub connected: bool,
    /// What is wrong, if anything is.
    pub trouble: Option<String>,
    /// Unix time of the start (ms).
    pub start_ms: u64,
    /// Seconds since then.
    pub uptime: f64,
    /// Memory of the process (MB).
    pub memory_mb: f64,
}

impl Facts<'_> {
    /// `GET /stats`.
    pub fn stats(&self) -> Value {
        let mut stats = self.wanted.fields();
        if let Ok(Value::Object(counts)) = serde_json::to_value(&self.counts) {
            stats.extend(counts);
        }
        for (name, value) in [
            ("unconfirmed", self.counts.unconfirmed().into()),
            ("messagesPerSecond", rounded(self.per_second)),
            ("target", self.target.into()),
            ("startTime", self.start_ms.into()),
            ("uptime", rounded(self.uptime)),
        ] {
            stats.insert(name.to_owned(), value);
        }
        Value::Object(stats)
    }

    /// Whether `GET /health` answers 200 rather than 503. A publisher that was stopped is healthy.
    pub fn healthy(&self) -> bool {
        self.connected && self.trouble.is_none()
    }

    /// `GET /health`.
    pub fn health(&self) -> Value {
        let connection = if self.connected { "connected" } else { "disconnected" };
        let mut checks = Map::new();
        checks.insert(
            self.target.to_owned(),
            json!({ "status": connection, "healthy": self.connected }),
        );
        let publishing = if self.wanted.running { "running" } else { "stopped" };
        checks.insert(
            "publisher".to_owned(),
            json!({ "status": publishing, "healthy": self.trouble.is_none() }),
        );
        checks.insert(
            "memory".to_owned(),
            json!({ "used_mb": rounded(self.memory_mb), "healthy": true }),
        );
        let mut warnings = Vec::new();
        if !self.wanted.running {
            warnings.push("nothing is published until POST /control/start".to_owned());
        }
        if self.counts.dropped > 0 {
            warnings.push(format!("{} messages were dropped", self.counts.dropped));
        }
        let unreachable = format!("no connection to {}", self.target);
        let errors: Vec<String> = match (&self.trouble, self.connected) {
            (Some(trouble), _) => vec![trouble.clone()],
            (None, false) => vec![unreachable],
            (None, true) => Vec::new(),
        };
        json!({
            "status": if self.healthy() { "healthy" } else { "unhealthy" },
            "healthy": self.healthy(),
            "checks": checks,
            "warnings": warnings,
            "errors": errors,
            "uptime": rounded(self.uptime),
        })
    }
}

fn rounded(value: f64) -> Value {
    ((value * 100.0).round() / 100.0).into()
}

#[cfg(test)]
mod tests;
