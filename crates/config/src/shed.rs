//! What a pod is told to do with clients that it has, while it goes on running: the one instruction that is for a single pod.

use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Longest text of an instruction (bytes).
const LONGEST: usize = 4 << 10;
/// Longest identity of an instruction (bytes).
const LONGEST_ID: usize = 64;

/// Send clients elsewhere, and take no new ones meanwhile. The operator writes it as JSON into the annotation of a pod, which
/// the kubelet brings to the pod as a file; without the annotation the file is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shed {
    /// Tells one instruction from the next; at most 64 bytes. The same one with another pace goes on where it is.
    pub id: String,
    /// Why, as clients are told.
    pub reason: ShedReason,
    /// Clients that may stay.
    #[serde(default)]
    pub keep: u64,
    /// Clients that are asked to reconnect in a minute; at least 1.
    pub per_minute: u32,
    /// How long new clients are still taken before the first one is sent away (ms): load balancers need a moment to hear that
    /// the pod takes none.
    #[serde(default)]
    pub delay_ms: u32,
    /// Clients whose connection is younger than this stay, for now (s); gateways of before move them, too.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_age_seconds: u32,
    /// When the operator waits no longer for the pod to have done it (Unix time, s): for the operator alone.
    #[serde(default)]
    pub until: i64,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why clients are sent elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShedReason {
    /// The pod will not be needed any more.
    Drain,
    /// Other pods have more room.
    Rebalance,
}

impl ShedReason {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Rebalance => "rebalance",
        }
    }
}

impl Shed {
    /// Reads the text of the annotation or of the file; none when it is empty.
    ///
    /// # Errors
    /// [`ConfigError`] when it is no instruction.
    pub fn parse(text: &str) -> Result<Option<Self>, ConfigError> {
        let wrong = |message: String| ConfigError::Shape { path: "shed".to_owned(), message };
        if text.len() > LONGEST {
            return Err(wrong(format!("longer than {LONGEST} bytes")));
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        let shed: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if shed.id.len() > LONGEST_ID || shed.per_minute == 0 {
            return Err(wrong(format!(
                "id must have at most {LONGEST_ID} bytes, and perMinute must be at least 1"
            )));
        }
        Ok(Some(shed))
    }

    /// The text of the annotation.
    #[must_use]
    pub fn render(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_survives_its_text_and_no_text_is_none() {
        let (id, reason) = ("7".to_owned(), ShedReason::Rebalance);
        let (keep, per_minute, delay_ms, min_age_seconds) = (5, 60, 5_000, 900);
        let shed = Shed { id, reason, keep, per_minute, delay_ms, min_age_seconds, until: 9 };
        assert_eq!(Shed::parse(&shed.render()), Ok(Some(shed)));
        assert_eq!(Shed::parse(" \n"), Ok(None));
        let short = r#"{"id":"a","reason":"drain","perMinute":1,"newer":{}}"#;
        let short = Shed::parse(short).unwrap().unwrap();
        assert_eq!((short.keep, short.delay_ms, short.reason.as_str()), (0, 0, "drain"));
        assert_eq!(short.min_age_seconds, 0);
        assert!(!short.render().contains("minAge"), "as an operator of before has it");
    }

    #[test]
    fn what_is_no_instruction_is_refused() {
        let long = format!(r#"{{"id":"{}","reason":"drain","perMinute":1}}"#, "x".repeat(65));
        for bad in [
            "yes",
            "{}",
            r#"{"id":"a","reason":"whim","perMinute":1}"#,
            r#"{"id":"a","reason":"drain","perMinute":0}"#,
            r#"{"id":"a","reason":"drain","perMinute":1,"keep":-1}"#,
            &long,
            &"x".repeat(LONGEST + 1),
        ] {
            assert!(Shed::parse(bad).is_err(), "{bad}");
        }
    }
}
