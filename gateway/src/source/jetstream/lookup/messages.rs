//! Messages: what the stream has of some channels, from a sequence on.

use std::sync::Arc;

use futures_util::future::try_join_all;
use wsgateway_nats::jetstream::StreamInfo;

use super::Lookup;
use super::filters::filters;
use super::merge::Merge;
use super::stream::{ATTEMPTS, failed};
use crate::encode::Message;
use crate::history::Interest;
use crate::history::archive::{BLOCK, BLOCK_BYTES, Block, Fetched, LookupError};

/// Fewest messages asked for at once by one of several filters.
const FEWEST: u64 = 16;

/// Filters of an interest.
pub(super) fn all_filters(interest: &Interest, prefix: &str) -> Option<Vec<String>> {
    let all: Option<Vec<_>> = interest.iter().map(|(text, _)| filters(text, prefix)).collect();
    let mut all: Vec<String> = all?.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    Some(all)
}

impl Lookup {
    /// The messages of an interest from `from` on.
    pub(super) async fn messages(&self, interest: &Interest, from: u64) -> Fetched {
        // Where filters cannot say it, or nobody may tell where the stream ends: everything, as for many channels.
        let Some(filters) = all_filters(interest, self.envelope.prefix()) else {
            return self.block(from).await;
        };
        if self.stream.is_leader_denied() {
            return self.block(from).await;
        }
        match self.filtered(interest, &filters, from).await {
            Err(_) if self.stream.is_leader_denied() => self.block(from).await,
            fetched => fetched,
        }
    }

    async fn filtered(&self, interest: &Interest, filters: &[String], from: u64) -> Fetched {
        let (info, epoch) = self.current().await?;
        let (first, last) = (info.first, info.last);
        let start = from.max(first);
        let reads = filters.len() as u64;
        let quota = ((BLOCK / reads.max(1)).max(FEWEST), BLOCK_BYTES / filters.len().max(1));
        let mut merge = Merge::new(filters.len(), start, last);
        while !merge.take() {
            let wanted = merge.wanted();
            let answers = wanted.iter().filter_map(|(read, next)| {
                Some(self.read_on(&info, filters.get(*read)?, *next, quota))
            });
            let answers = try_join_all(answers).await?;
            for ((read, _), messages) in wanted.into_iter().zip(answers) {
                merge.feed(read, messages);
            }
        }
        let (mut messages, to) = merge.finish();
        messages.retain(|message| interest.covers(self.envelope.channel(message)));
        // Deletions since then must not pass for messages of other channels.
        let (after, epoch_after) = self.current().await?;
        if epoch_after != epoch {
            return Err(failed("the stream is another one now"));
        }
        let whole = info.is_whole() && after.is_whole() && after.first <= start;
        let (messages, to) = (self.encode(&messages), to.max(from.saturating_sub(1)));
        let missing_is_gone = !whole;
        Ok(Arc::new(Block { epoch, messages, from, to, first, last, missing_is_gone }))
    }

    /// What a filter matches from `next` on; nothing only if the stream's leader says so.
    async fn read_on(
        &self,
        info: &StreamInfo,
        filter: &str,
        next: u64,
        quota: (u64, usize),
    ) -> Result<Vec<Message>, LookupError> {
        for _ in 0..ATTEMPTS {
            let messages = match info.allow_direct {
                true => self.stream.ask(filter, next, quota).await?,
                false => self.stream.ask_leader(filter, next).await?.into_iter().collect(),
            };
            if !messages.is_empty() || !info.allow_direct {
                return Ok(messages);
            }
            // The replica may be behind.
            match self.stream.ask_leader(filter, next).await? {
                Some(message) if message.sequence <= info.last => {}
                _ => return Ok(Vec::new()),
            }
        }
        Err(failed("the replica that answers is behind the stream's leader"))
    }
}
