//! Disconnects of a WsGateway: the annotation that people write and the operator keeps (pure).
//!
//! One JSON object a line, so that a line which a person has spoilt takes no other with it. People say who, and for how
//! long; the operator says since when and until when, by its own clock, and takes out what is over. Both sides read and write
//! the text with this module. What must hold: no line is lost but those that are over or lifted, and no name is in an error.

mod line;

use std::time::Duration;

use jiff::Timestamp;
use wsgateway_config::{Disconnect, MAX_DISCONNECTS};

pub use line::{BadLine, DisconnectEntry, MAX_BAN, Whom};

/// On a WsGateway: whose connections are ended, and who is kept out.
pub const DISCONNECT: &str = "wsgateway.dev/disconnect";

/// A disconnect stands for so long at least, that every pod sees it: a kubelet that nobody hurries takes two minutes.
pub const LEAST_STAND: Duration = Duration::from_secs(600);

/// A ban stands for so much longer than it lasts, since clocks of pods may be behind.
const AFTER_BAN: Duration = Duration::from_secs(60);

/// What the annotation holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disconnects {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Entry(DisconnectEntry),
    /// What a person wrote, and why it counts for nothing.
    Bad(String, BadLine),
}

/// There is no room for another disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_DISCONNECTS} disconnects stand already, which is the most: lift bans that are not needed any more, or wait until some \
     are over; for more people than that take the key or the rule away that lets them in (spec.auth)"
)]
pub struct Full;

impl Disconnects {
    /// Reads the annotation. A line that is none is kept as it is, and counts for nothing; so does every line beyond the
    /// most that may stand.
    pub fn parse(text: &str) -> Self {
        let mut good = 0;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.map(|line| match DisconnectEntry::parse(line) {
            Ok(_) if good >= MAX_DISCONNECTS => Line::Bad(line.to_owned(), BadLine::TooMany),
            Ok(entry) => {
                good += 1;
                Line::Entry(entry)
            }
            Err(why) => Line::Bad(line.to_owned(), why),
        });
        Self { lines: lines.collect() }
    }

    /// The annotation's text; `None` when there is nothing to say.
    pub fn render(&self) -> Option<String> {
        let lines: Vec<String> = self.lines.iter().map(Line::text).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Asks for another disconnect. When the list is full, those that are over make room.
    ///
    /// # Errors
    /// [`Full`]
    pub fn add(&mut self, entry: DisconnectEntry) -> Result<(), Full> {
        if self.lines.len() >= MAX_DISCONNECTS {
            // By the one clock that wrote these times: a later stamp of the operator says that earlier ones are over.
            if let Some(latest) = self.entries().filter_map(|entry| entry.at).max() {
                self.prune(latest);
            }
        }
        if self.lines.len() >= MAX_DISCONNECTS {
            return Err(Full);
        }
        self.lines.push(Line::Entry(entry));
        Ok(())
    }

    /// Takes back whatever stands for somebody; how many lines that were.
    pub fn lift(&mut self, whom: &Whom) -> usize {
        let before = self.lines.len();
        self.lines.retain(|line| !matches!(line, Line::Entry(entry) if entry.whom == *whom));
        before - self.lines.len()
    }

    /// Stamps what is new, and takes out what is over. True: the annotation is to be written.
    pub fn settle(&mut self, now: Timestamp) -> bool {
        let before = self.lines.len();
        self.prune(now);
        let mut is_changed = before != self.lines.len();
        for line in &mut self.lines {
            if let Line::Entry(entry) = line {
                is_changed |= entry.stamp(now);
            }
        }
        is_changed
    }

    fn prune(&mut self, now: Timestamp) {
        self.lines.retain(|line| match line {
            Line::Entry(entry) => entry.stands_until().is_none_or(|end| end > now),
            Line::Bad(..) => true,
        });
    }

    /// The entries, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &DisconnectEntry> {
        self.lines.iter().filter_map(|line| match line {
            Line::Entry(entry) => Some(entry),
            Line::Bad(..) => None,
        })
    }

    /// Lines that count for nothing: their number, from 1 on, and why.
    pub fn bad(&self) -> impl Iterator<Item = (usize, BadLine)> {
        self.lines.iter().zip(1..).filter_map(|(line, number)| match line {
            Line::Bad(_, why) => Some((number, *why)),
            Line::Entry(_) => None,
        })
    }

    /// What gateways act on: everything that is stamped.
    pub fn config(&self) -> Vec<Disconnect> {
        self.entries().filter_map(DisconnectEntry::config).collect()
    }

    /// Time until something is over.
    pub fn next(&self, now: Timestamp) -> Option<Duration> {
        let ends = self.entries().filter_map(DisconnectEntry::stands_until);
        ends.min().map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default())
    }
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Entry(entry) => entry.render(),
            Self::Bad(text, _) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
