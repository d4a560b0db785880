//! The ways to attack.

use serde::{Deserialize, Serialize};

/// One way to attack. A hostile client that is closed comes back at once, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 128 patterns of 127 tokens each, subscribed and unsubscribed without end, while a subject as deep is published
    DeepPatterns,
    /// 16,200 channels in one command of 64 KiB, at the allowed rate
    CrowdedCommands,
    /// 128 subscriptions with names of 255 bytes, other names all the time
    LongNames,
    /// Subscribe and unsubscribe as fast as is allowed
    Churn,
    /// The whole stream is asked for again and again
    Replays,
    /// Last values of everything are asked for again and again
    Snapshots,
    /// Frames of 64 KiB of which the last byte never comes
    HalfFrames,
    /// Commands of 60 KB in fragments, of which the last one never comes
    HalfCommands,
    /// Commands that come one byte at a time
    ByteAtATime,
    /// Fragments without content, without end
    EmptyFragments,
    /// Pongs that nobody asked for, as fast as the socket takes them
    Pongs,
    /// Pings as fast as the socket takes them
    Pings,
    /// Text that is not UTF-8
    BadUtf8,
    /// Frames of a megabyte
    Oversized,
    /// Compressed frames that unfold to 60 MB, or to nothing
    Bombs,
    /// Subscribed to everything, the whole stream asked for, and nothing is read
    NeverRead,
    /// The same, one byte a second is read
    DripRead,
    /// TCP connections that say nothing, 21 for each hostile client, from several addresses
    Silent,
    /// HTTP requests that come one byte a second, 21 for each hostile client
    HalfHeads,
    /// HTTP connections kept after one request, 21 for each hostile client
    KeepAlive,
    /// Connect, upgrade, be gone
    Storm,
    /// /health, /stats and / as fast as they are answered
    Hammer,
    /// Event streams with as many channels as fit, of which little is read
    EventStreams,
    /// Long-polls that wait as long as they may
    LongPolls,
}

/// Connections for each hostile client, of kinds whose connections cost the attacker next to nothing.
const HOARD: usize = 21;

impl Kind {
    /// All of them, in the order of a run.
    pub fn all() -> &'static [Self] {
        clap::ValueEnum::value_variants()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is, for a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::DeepPatterns => "patterns of 127 tokens",
            Self::CrowdedCommands => "16,200 channels in a command",
            Self::LongNames => "128 subscriptions with long names",
            Self::Churn => "subscribe and unsubscribe",
            Self::Replays => "the whole stream, again and again",
            Self::Snapshots => "last values of everything, again and again",
            Self::HalfFrames => "half-sent frames",
            Self::HalfCommands => "half-sent commands",
            Self::ByteAtATime => "one byte at a time",
            Self::EmptyFragments => "empty fragments",
            Self::Pongs => "unsolicited pongs",
            Self::Pings => "ping flood",
            Self::BadUtf8 => "text that is not UTF-8",
            Self::Oversized => "oversized frames",
            Self::Bombs => "compression bombs",
            Self::NeverRead => "everything asked for, nothing read",
            Self::DripRead => "everything asked for, one byte a second read",
            Self::Silent => "silent TCP connections",
            Self::HalfHeads => "half-sent HTTP requests",
            Self::KeepAlive => "idle HTTP connections",
            Self::Storm => "connect and disconnect",
            Self::Hammer => "/health, /stats and / in a loop",
            Self::EventStreams => "event streams",
            Self::LongPolls => "long-polls",
        }
    }

    /// Connections of so many hostile clients.
    pub fn connections(self, clients: usize) -> usize {
        match self {
            Self::Silent | Self::HalfHeads | Self::KeepAlive => clients * HOARD,
            _ => clients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_title_and_a_name_of_its_own() {
        let mut names: Vec<String> = Kind::all().iter().map(|kind| kind.name()).collect();
        let mut titles: Vec<&str> = Kind::all().iter().map(|kind| kind.title()).collect();
        for list in [names.len(), titles.len()] {
            assert!(list >= 24);
        }
        names.sort();
        names.dedup();
        titles.sort_unstable();
        titles.dedup();
        assert_eq!((names.len(), titles.len()), (Kind::all().len(), Kind::all().len()));
    }
}
