//! Messages of the own publisher (pure): they carry their number and the time at which they were due.

use std::fmt::Write as _;

use wsgateway_client::envelope::number_after;

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run.
    pub run: u32,
    /// Its channel.
    pub channel: u32,
    /// Its number on the channel, from 1 on.
    pub number: u64,
    /// When it was due: Unix time (ns).
    pub due_ns: u64,
}

const RUN: &str = "\"loadRun\":";
const CHANNEL: &str = "\"loadChannel\":";
const NUMBER: &str = "\"loadNumber\":";
const DUE: &str = "\"loadDue\":";

impl Stamp {
    /// The payload, filled up to about so many bytes.
    #[must_use]
    pub fn payload(&self, bytes: usize) -> String {
        let Self { run, channel, number, due_ns } = self;
        let mut text = format!("{{{RUN}{run},{CHANNEL}{channel},{NUMBER}{number},{DUE}{due_ns}");
        let rest = bytes.saturating_sub(text.len() + 1);
        if let Some(filler) = rest.checked_sub(",\"filler\":\"\"".len()) {
            // Writing to a String cannot fail.
            let _ = write!(text, ",\"filler\":\"{}\"", "x".repeat(filler));
        }
        text.push('}');
        text
    }

    /// The stamp in a message, whatever the protocol has put around it.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let text = text.get(text.find(RUN)?..)?;
        Some(Self {
            run: u32::try_from(number_after(text, RUN)?).ok()?,
            channel: u32::try_from(number_after(text, CHANNEL)?).ok()?,
            number: number_after(text, NUMBER)?,
            due_ns: number_after(text, DUE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_found_again_and_has_its_size() {
        let stamp = Stamp { run: 7, channel: 3, number: 9, due_ns: 1_700_000_000_000_000_000 };
        let payload = stamp.payload(200);
        assert_eq!(payload.len(), 200);
        assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
        let message = format!("{{\"type\":\"message\",\"offset\":1,\"data\":{payload}}}");
        assert_eq!(Stamp::find(&message), Some(stamp));
        assert_eq!(Stamp::find(&stamp.payload(0)), Some(stamp));
    }

    #[test]
    fn messages_of_others_have_no_stamp() {
        for text in ["", "{}", "{\"loadRun\":-1}", "{\"loadRun\":99999999999,\"loadChannel\":1}"] {
            assert_eq!(Stamp::find(text), None, "{text}");
        }
    }
}
