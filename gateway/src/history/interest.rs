//! Interest: the channels that somebody looks back for.

use wsgateway_proto::channel::{self, Kind};

/// Patterns compared with another one: bounds what one command can cost.
const MAX_LOOKED_INTO: usize = 1_024;

/// Exact channels and wildcard patterns, each once and valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Interest {
    exact: Vec<Box<str>>,
    wildcards: Vec<Box<str>>,
}

impl Interest {
    /// Adds a valid channel or pattern; twice is once.
    pub(crate) fn add(&mut self, pattern: &str, kind: Kind) {
        let list = match kind {
            Kind::Exact => &mut self.exact,
            Kind::Wildcard => &mut self.wildcards,
        };
        if !list.iter().any(|known| **known == *pattern) {
            list.push(pattern.into());
        }
    }

    /// Adds a valid channel or pattern that is known not to be there.
    pub(crate) fn add_new(&mut self, pattern: &str, kind: Kind) {
        match kind {
            Kind::Exact => self.exact.push(pattern.into()),
            Kind::Wildcard => self.wildcards.push(pattern.into()),
        }
    }

    /// Removes it again; false if it was not there.
    pub(crate) fn remove(&mut self, pattern: &str) -> bool {
        for list in [&mut self.exact, &mut self.wildcards] {
            if let Some(place) = list.iter().position(|known| **known == *pattern) {
                list.swap_remove(place);
                return true;
            }
        }
        false
    }

    /// The same in an order that does not depend on how it was asked for.
    pub(crate) fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        sorted.exact.sort_unstable();
        sorted.wildcards.sort_unstable();
        sorted
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels and patterns.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.wildcards.len()
    }

    /// The exact channels.
    pub(crate) fn exact(&self) -> &[Box<str>] {
        &self.exact
    }

    /// The patterns.
    pub(crate) fn wildcards(&self) -> &[Box<str>] {
        &self.wildcards
    }

    /// Whether every channel is looked for.
    pub(crate) fn covers_all(&self) -> bool {
        self.wildcards.iter().any(|pattern| **pattern == *">")
    }

    /// Everything, as it was added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Kind)> {
        let exact = self.exact.iter().map(|text| (&**text, Kind::Exact));
        exact.chain(self.wildcards.iter().map(|text| (&**text, Kind::Wildcard)))
    }

    /// Whether a channel or pattern has anything in common with it. Of very many patterns this is not looked into: the
    /// answer is yes.
    pub(crate) fn overlaps(&self, pattern: &str) -> bool {
        self.len() > MAX_LOOKED_INTO || self.iter().any(|(own, _)| channel::overlap(own, pattern))
    }

    /// Whether a message of this channel is looked for.
    pub(crate) fn covers(&self, channel: &str) -> bool {
        self.exact.iter().any(|exact| **exact == *channel)
            || self.wildcards.iter().any(|pattern| channel::matches(pattern, channel))
    }
}

#[cfg(test)]
impl Interest {
    /// The interest in these channels and patterns.
    pub(crate) fn of(patterns: &[&str]) -> Self {
        let mut interest = Self::default();
        for pattern in patterns {
            interest.add(pattern, channel::validate(pattern).unwrap());
        }
        interest
    }
}
