//! The one consumer of a reader: ephemeral, without acknowledgements; pushed to an inbox with flow control, or asked for
//! messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AnswerError, read};
use crate::wire::Message;

/// What consumer to create.
#[derive(Clone, Debug)]
pub struct ConsumerConfig<'a> {
    /// The stream.
    pub stream: &'a str,
    /// Its name, unique among those of the stream.
    pub name: &'a str,
    /// Where its deliveries go, if the server pushes them; `None`: where a request for them says.
    pub inbox: Option<&'a str>,
    /// First sequence to deliver.
    pub start: u64,
    /// How often the server speaks up on a quiet stream.
    pub heartbeat: Duration,
    /// How long the server keeps it when nobody listens.
    pub inactive: Duration,
}

/// A consumer as the server created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ConsumerInfo {
    /// Messages that waited for it.
    #[serde(rename = "num_pending")]
    pub waiting: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    stream_name: &'a str,
    config: Config<'a>,
    action: &'static str,
}

#[derive(Serialize)]
struct Config<'a> {
    name: &'a str,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_subject: Option<&'a str>,
    deliver_policy: &'static str,
    opt_start_seq: u64,
    ack_policy: &'static str,
    replay_policy: &'static str,
    max_deliver: i64,
    /// Nothing is acknowledged; 0 would be taken for the stream's own limit, which asks for acknowledgements.
    max_ack_pending: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_control: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_heartbeat: Option<u64>,
    inactive_threshold: u64,
    mem_storage: bool,
    num_replicas: u32,
}

impl ConsumerConfig<'_> {
    /// The body of the request to create it.
    pub fn body(&self) -> Vec<u8> {
        let body = Body {
            stream_name: self.stream,
            action: "create",
            config: Config {
                name: self.name,
                description: "wsgateway: fan-out to browsers",
                deliver_subject: self.inbox,
                deliver_policy: "by_start_sequence",
                opt_start_seq: self.start,
                ack_policy: "none",
                replay_policy: "instant",
                max_deliver: 1,
                max_ack_pending: -1,
                flow_control: self.inbox.map(|_| true),
                idle_heartbeat: self.inbox.map(|_| nanoseconds(self.heartbeat)),
                inactive_threshold: nanoseconds(self.inactive),
                mem_storage: true,
                num_replicas: 1,
            },
        };
        // Strings and numbers: nothing that JSON cannot say.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The body of a request for so many messages, which the server keeps for a time, and speaks up meanwhile.
    pub fn pull(batch: u64, expires: Duration, heartbeat: Duration) -> Vec<u8> {
        let request =
            Pull { batch, expires: nanoseconds(expires), idle_heartbeat: nanoseconds(heartbeat) };
        serde_json::to_vec(&request).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Pull {
    batch: u64,
    expires: u64,
    idle_heartbeat: u64,
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl ConsumerInfo {
    /// Reads the answer to the request to create it.
    ///
    /// # Errors
    /// When the server refuses, or answers something else.
    pub fn read(answer: &Message) -> Result<Self, AnswerError> {
        read(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_says_everything_in_the_servers_words() {
        let config = ConsumerConfig {
            stream: "S",
            name: "n",
            inbox: Some("_INBOX.1"),
            start: 7,
            heartbeat: Duration::from_secs(2),
            inactive: Duration::from_secs(5),
        };
        let pulled = ConsumerConfig { inbox: None, ..config.clone() };
        let body: serde_json::Value = serde_json::from_slice(&config.body()).unwrap();
        assert_eq!((&body["stream_name"], &body["action"]), (&"S".into(), &"create".into()));
        let config = &body["config"];
        assert_eq!((&config["opt_start_seq"], &config["name"]), (&7.into(), &"n".into()));
        assert_eq!(config["idle_heartbeat"], 2_000_000_000u64);
        // The server refuses these where it pushes nothing.
        let body: serde_json::Value = serde_json::from_slice(&pulled.body()).unwrap();
        for field in ["deliver_subject", "flow_control", "idle_heartbeat"] {
            assert!(!config[field].is_null() && body["config"].get(field).is_none(), "{field}");
        }
        let request = ConsumerConfig::pull(7, Duration::from_secs(30), Duration::from_secs(2));
        let request: serde_json::Value = serde_json::from_slice(&request).unwrap();
        assert_eq!(
            (&request["batch"], &request["expires"]),
            (&7.into(), &30_000_000_000u64.into())
        );
    }
}
