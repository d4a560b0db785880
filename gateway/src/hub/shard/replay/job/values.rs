//! Last values that a job is still to send.

use std::sync::Arc;

use wsgateway_proto::channel;

use super::opening::{Opening, Start};
use crate::encode::Delivery;
use crate::history::archive::Query;
use crate::history::{Block, Chunk, Interest, View};

/// Last values that are still to be sent.
#[derive(Debug)]
pub(crate) struct Values {
    pub interest: Interest,
    /// Those up to here have been sent.
    pub cursor: u64,
    /// Later ones come as messages.
    pub until: u64,
    /// The history may lack some up to here: they are looked up.
    unknown: u64,
    /// Some that were looked up.
    pub block: Option<Arc<Block>>,
    /// The source cannot look them up: what the history has must do.
    pub alone: bool,
    /// Only of channels with `maxRate`.
    pub paced: bool,
}

/// How much older than a cursor (ms, as the stream has stored them) a message may be that waited for the interval of its
/// channel when the cursor was sent: twice the longest interval, since pods are late now and then.
const DOUBT_MS: i64 = 2_000;

impl Values {
    /// The last values that a subscription asked for; not only of what is new, unless the client resumes.
    pub(crate) fn of(opening: &Opening, interest: &Interest, until: u64) -> Option<Box<Self>> {
        opening.snapshot.then_some(())?;
        let mut interest = interest.clone();
        for held in opening.held.iter().filter(|_| opening.from == Start::Now) {
            if let Ok(kind) = channel::validate(held) {
                interest.add(held, kind);
            }
        }
        Some(Box::new(Self {
            interest,
            cursor: 0,
            until,
            unknown: 0,
            block: None,
            alone: false,
            paced: false,
        }))
    }

    /// The last values that a client may not have whose cursor is `offset`: those of channels with `maxRate`, which may have
    /// waited while later messages of other channels were sent. A channel that has spoken since has none.
    pub(crate) fn in_doubt(view: &View<'_>, interest: &Interest, offset: u64) -> Option<Box<Self>> {
        let cursor = view.offset_before(view.get(offset)?.ts.saturating_sub(DOUBT_MS));
        Some(Box::new(Self {
            interest: interest.clone(),
            cursor,
            until: offset,
            unknown: 0,
            block: None,
            alone: true,
            paced: true,
        }))
    }

    /// What is to be looked up next.
    pub(crate) fn query(&self) -> Query {
        let interest = Arc::new(self.interest.sorted());
        Query::Values { interest, from: self.cursor + 1, until: self.unknown }
    }

    /// The next of them: about `bytes`. `None` when they must be looked up.
    pub(crate) fn next(&mut self, view: &View<'_>, bytes: usize) -> Option<Chunk> {
        let unknown = if self.alone { 0 } else { view.unknown_until(&self.interest) };
        self.unknown = unknown.min(self.until);
        if self.unknown <= self.cursor {
            return Some(view.values(&self.interest, self.cursor, self.until, bytes));
        }
        let block = self.block.as_ref().filter(|block| block.to > self.cursor)?;
        let until = block.to.min(self.until);
        let mut chunk = view.values(&self.interest, self.cursor, until, bytes);
        let start = block.messages.partition_point(|message| message.offset <= self.cursor);
        let rest = block.messages.get(start..).unwrap_or_default().iter();
        // Of a channel that the history knows it has the newest message, or its deletion.
        let news = |message: &&Arc<Delivery>| {
            message.deleted.is_none()
                && self.interest.covers(&message.channel)
                && !view.knows(&message.channel)
        };
        let end = chunk.cursor;
        let looked_up = rest.take_while(|message| message.offset <= end).filter(news).cloned();
        chunk.messages.extend(looked_up);
        chunk.messages.sort_unstable_by_key(|message| message.offset);
        cut(&mut chunk, bytes);
        Some(chunk)
    }
}

/// Leaves what is beyond so many bytes, or one message, to the next chunk.
fn cut(chunk: &mut Chunk, bytes: usize) {
    let mut sum = 0;
    let fits = chunk.messages.iter().take_while(|message| {
        sum += message.frame.len();
        sum <= bytes
    });
    let count = fits.count().max(1);
    if count < chunk.messages.len() {
        chunk.messages.truncate(count);
        chunk.cursor = chunk.messages.last().map_or(chunk.cursor, |last| last.offset);
    }
}
