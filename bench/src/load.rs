//! The load, the same for every server: channels and payloads.

use serde::{Deserialize, Serialize};

/// The channel (and subject) that is published to.
pub(crate) const CHANNEL: &str = "bench.price";

/// What the channels begin with among which many connections are spread.
pub(crate) const GROUP: &str = "crowd.";

/// Names among which subscriptions beyond the first three are spread.
const NAMES: u64 = 10_000;

/// What a payload looks like.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Shape {
    /// A price and filler up to this many bytes.
    Filled(usize),
    /// A ticker of about 250 bytes, with other figures each time: what compression is measured on.
    Ticker,
}

/// Payload number `number`, published at `now_ns` (Unix).
pub(crate) fn payload(shape: Shape, number: u64, now_ns: u64) -> Vec<u8> {
    match shape {
        Shape::Filled(bytes) => {
            let head = format!(
                r#"{{"type":"price:update","tokenId":"BTC","price":67123.45,"t":{now_ns},"filler":""#
            );
            let filler = bytes.saturating_sub(head.len() + 2);
            format!(r#"{head}{}"}}"#, "x".repeat(filler)).into_bytes()
        }
        Shape::Ticker => ticker(number, now_ns).into_bytes(),
    }
}

fn ticker(number: u64, now_ns: u64) -> String {
    let symbols = ["BTC", "ETH", "SOL", "DOGE", "ADA", "XRP", "DOT", "LINK", "AVAX", "ATOM"];
    let symbol = symbols[(number % 10) as usize];
    let mut state = number;
    // A number of so many digits, with two of them behind the point.
    let mut figure = |digits: u32| {
        let value = scramble(&mut state) % 10_u64.pow(digits);
        format!("{}.{:02}", value / 100, value % 100)
    };
    format!(
        concat!(
            r#"{{"type":"price:update","tokenId":"{}","t":{},"price":{},"bid":{},"ask":{},"#,
            r#""high24h":{},"low24h":{},"volume24h":{},"marketCap":{},"changePercent24h":{},"#,
            r#""trades24h":{},"source":"spot"}}"#
        ),
        symbol,
        now_ns,
        figure(7),
        figure(7),
        figure(7),
        figure(7),
        figure(7),
        figure(11),
        figure(14),
        figure(3),
        number * 7 + 1_000,
    )
}

/// SplitMix64: figures that look random and are the same in every run.
fn scramble(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Who is subscribed to what.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Subscriptions {
    /// Each connection: the published channel, one that a few share, and a pattern that all share.
    Three,
    /// `receivers` connections: the published channel; besides, `others` subscriptions spread evenly over all
    /// connections and [`NAMES`] channels on which nothing is published.
    Spread { receivers: usize, others: u64 },
    /// Each connection: one of so many channels of [`GROUP`], in turn.
    Groups { groups: usize },
}

impl Subscriptions {
    /// What connection `number` of `connections` subscribes to.
    pub(crate) fn channels(self, number: usize, connections: usize) -> Vec<String> {
        match self {
            Self::Three => {
                vec![CHANNEL.to_owned(), format!("T{}.trade", number % 500), "*.volume".to_owned()]
            }
            Self::Spread { receivers, others } => {
                let (number, connections) = (number as u64, connections.max(1) as u64);
                let first = others * number / connections;
                let behind = others * (number + 1) / connections;
                let published = (number < receivers as u64).then(|| CHANNEL.to_owned());
                published
                    .into_iter()
                    .chain((first..behind).map(|each| format!("token.{}", each % NAMES)))
                    .collect()
            }
            Self::Groups { groups } => vec![format!("{GROUP}{}", number % groups.max(1))],
        }
    }

    /// Connections that get what is published.
    pub(crate) fn receivers(self, connections: usize) -> usize {
        match self {
            Self::Three => connections,
            Self::Spread { receivers, .. } => receivers.min(connections),
            Self::Groups { groups } => connections.div_ceil(groups.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_the_size_asked_for_and_say_when_they_were_published() {
        let text = String::from_utf8(payload(Shape::Filled(256), 1, 42)).unwrap();
        assert_eq!(text.len(), 256);
        assert!(text.contains("\"t\":42,"), "{text}");
    }

    #[test]
    fn tickers_are_json_and_differ() {
        let (first, second) = (payload(Shape::Ticker, 1, 42), payload(Shape::Ticker, 11, 42));
        let value: serde_json::Value = serde_json::from_slice(&first).unwrap();
        assert_eq!(value["tokenId"], "ETH");
        assert_ne!(first, second);
        assert!((200..320).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn spread_subscriptions_are_as_many_as_asked_for() {
        let spread = Subscriptions::Spread { receivers: 3, others: 1_001 };
        let all: Vec<Vec<String>> = (0..10).map(|number| spread.channels(number, 10)).collect();
        assert_eq!(all.iter().map(Vec::len).sum::<usize>(), 1_004);
        assert_eq!(all.iter().filter(|each| each.iter().any(|c| c == CHANNEL)).count(), 3);
        assert!(all.iter().all(|each| (100..=102).contains(&each.len())));
    }
}
