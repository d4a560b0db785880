//! Gaps of one answer: bounded, and none that the next answer reports again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Gaps kept for one answer: a stream that keeps one message per channel has a gap between any two of a thousand messages,
/// and the first few hundred are reported channel by channel.
const MOST: usize = 2_048;

/// Offsets of a channel that will not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    channel: String,
    from: u64,
    pub to: u64,
    reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Gaps {
    list: Vec<Gap>,
}

impl Gaps {
    pub(super) fn add(&mut self, gap: Gap) {
        let full = self.list.len() >= MOST;
        match self.list.last_mut().filter(|_| full) {
            // It stands for many channels and ranges.
            Some(last) => {
                last.channel = ">".to_owned();
                (last.from, last.to) = (last.from.min(gap.from), last.to.max(gap.to));
            }
            None => self.list.push(gap),
        }
    }

    /// What an answer with this cursor reports: the answer that goes on from there reports the rest.
    pub(super) fn up_to(mut self, cursor: u64) -> Vec<Gap> {
        self.list.retain(|gap| gap.from <= cursor);
        for gap in &mut self.list {
            gap.to = gap.to.min(cursor);
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64) -> Gap {
        let json = format!(
            r#"{{"type":"gap","channel":"a","from":{from},"to":{to},"reason":"retention"}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn a_gap_behind_the_cursor_is_left_to_the_next_answer() {
        let mut gaps = Gaps::default();
        for (from, to) in [(0, 0), (3, 5), (9, 12)] {
            gaps.add(gap(from, to));
        }
        assert_eq!(gaps.up_to(8), [gap(0, 0), gap(3, 5)]);
    }

    #[test]
    fn very_many_gaps_become_one_for_any_channel() {
        let mut gaps = Gaps::default();
        for n in 0..9_000 {
            gaps.add(gap(2 * n, 2 * n));
        }
        let reported = gaps.up_to(17_000);
        assert_eq!(reported.len(), MOST);
        let rest = Gap { channel: ">".to_owned(), ..gap(2 * (MOST as u64 - 1), 17_000) };
        assert_eq!(reported.last(), Some(&rest));
    }
}
