//! Values: the newest message of channels, found by subject, wherever in the stream that is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use wsgateway_nats::jetstream::StreamInfo;

use super::Lookup;
use super::filters::filters;
use crate::encode::Message;
use crate::history::Interest;
use crate::history::archive::{BLOCK_BYTES, Block, Fetched, LookupError};

/// Subjects that the wildcards of one lookup may match: each is a request.
const MAX_MATCHED: usize = 1_024;

/// Last values in one answer. Each page asks for all of them, so it is more than a block has.
const MAX_VALUES: usize = 4_096;

/// Requests for single subjects under way at once, of one lookup: each may bring a message of the largest size.
const AT_ONCE: usize = 8;

/// Subjects by the channel that they are.
pub(super) type Named = HashMap<Box<str>, Vec<String>>;

impl Lookup {
    /// The newest message of each channel of an interest, where that is from `from` to `until` and a value.
    pub(super) async fn values(&self, interest: &Interest, from: u64, until: u64) -> Fetched {
        let (info, epoch) = self.current().await?;
        let named = self.named(interest).await?;
        let (mut values, mut bytes, mut to) = (BTreeMap::new(), 0, until);
        let mut newest = stream::iter(named.into_values().map(|s| self.newest(&info, s)))
            .buffer_unordered(AT_ONCE);
        while let Some(message) = newest.next().await {
            let Some(message) = message? else { continue };
            let wanted = (from..=to).contains(&message.sequence) && message.deleted.is_none();
            if !wanted || !interest.covers(self.envelope.channel(&message)) {
                continue;
            }
            bytes += message.payload.len();
            values.insert(message.sequence, message);
            // The oldest come first, the others with the next page.
            while values.len() > MAX_VALUES || bytes > BLOCK_BYTES && values.len() > 1 {
                let Some((sequence, message)) = values.pop_last() else { break };
                bytes -= message.payload.len();
                to = to.min(sequence.saturating_sub(1));
            }
        }
        let messages: Vec<_> = values.into_values().collect();
        let (messages, missing_is_gone) = (self.encode(&messages), false);
        let (first, last, to) = (info.first, info.last, to.max(from));
        Ok(Arc::new(Block { epoch, messages, from, to, first, last, missing_is_gone }))
    }

    /// The newest message of a channel, whichever of its subjects it has.
    pub(super) async fn newest(
        &self,
        info: &StreamInfo,
        subjects: Vec<String>,
    ) -> Result<Option<Message>, LookupError> {
        let mut newest: Option<Message> = None;
        for subject in &subjects {
            let found = self.stream.newest(subject, info).await?;
            if found.as_ref().map(|found| found.sequence) > newest.as_ref().map(|n| n.sequence) {
                newest = found;
            }
        }
        Ok(newest)
    }

    /// The subjects of an interest, by channel. A channel that no filter can name is left out.
    async fn named(&self, interest: &Interest) -> Result<Named, LookupError> {
        let (prefix, mut named) = (self.envelope.prefix(), Named::new());
        let mut matched = 0;
        for pattern in interest.wildcards() {
            for filter in filters(pattern, prefix).ok_or(LookupError::Nothing)? {
                if self.wide.knows(&filter, Instant::now()) {
                    return Err(LookupError::Nothing);
                }
                let subjects = self.stream.subjects(&filter, 0).await?;
                matched += subjects.total;
                if subjects.total > MAX_MATCHED {
                    self.wide.add(filter, Instant::now());
                }
                if matched > MAX_MATCHED {
                    return Err(LookupError::Nothing);
                }
                self.name(subjects.names, &mut named);
            }
        }
        for channel in interest.exact() {
            self.name(filters(channel, prefix).unwrap_or_default(), &mut named);
        }
        Ok(named)
    }

    /// Adds subjects to their channels, each once.
    pub(super) fn name(&self, subjects: Vec<String>, named: &mut Named) {
        for subject in subjects {
            let known = named.entry(self.envelope.channel_of(&subject).into()).or_default();
            if !known.contains(&subject) {
                known.push(subject);
            }
        }
    }
}
