//! Last values: a job walks over them in stream order, a chunk per write, and holds none of them.
//!
//! A channel that speaks while the walk is under way is left out by it: its message comes behind the acknowledgement's
//! offset, as every other does.

use std::sync::Arc;

use wsgateway_proto::channel;
use wsgateway_proto::v1;

use super::job::{From, Job, Opening};
use super::{Next, Shard};
use crate::encode::Delivery;
use crate::history::archive::Query;
use crate::history::{Block, Chunk, Interest, View};

/// Last values that are still to be sent.
#[derive(Debug)]
pub(super) struct Values {
    pub interest: Interest,
    /// Those up to here have been sent.
    pub cursor: u64,
    /// Later ones come as messages.
    until: u64,
    /// The history may lack some up to here: they are looked up.
    unknown: u64,
    /// Some that were looked up.
    pub block: Option<Arc<Block>>,
    /// The source cannot look them up: what the history has must do.
    pub alone: bool,
}

impl Values {
    /// The last values that a subscription asked for; not only of what is new, unless the client resumes.
    pub(super) fn of(opening: &Opening, interest: &Interest, until: u64) -> Option<Box<Self>> {
        opening.snapshot.then_some(())?;
        let mut interest = interest.clone();
        for held in opening.held.iter().filter(|_| opening.from == From::Now) {
            if let Ok(kind) = channel::validate(held) {
                interest.add(held, kind);
            }
        }
        Some(Box::new(Self { interest, cursor: 0, until, unknown: 0, block: None, alone: false }))
    }

    /// What is to be looked up next.
    pub(super) fn query(&self) -> Query {
        let interest = Arc::new(self.interest.sorted());
        Query::Values { interest, from: self.cursor + 1, until: self.unknown }
    }

    /// The next of them: about `bytes`. `None` when they must be looked up.
    fn next(&mut self, view: &View<'_>, bytes: usize) -> Option<Chunk> {
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

impl Shard {
    /// Sends the next last values of a job.
    pub(super) fn send_values(&mut self, job: &mut Job) -> Next {
        let Some(values) = job.values.as_deref_mut() else { return Next::Again };
        let Some(view) = self.past.history.view(&self.epoch) else { return Next::Source };
        values.alone |= !self.past.archive.filters();
        let chunk = values.next(&view, job.chunk);
        drop(view);
        let Some(chunk) = chunk else { return Next::Older };
        values.cursor = chunk.cursor;
        if values.cursor >= values.until {
            job.values = None;
            self.replays.release(job);
        }
        if !chunk.messages.is_empty() && self.settle(job.timer.conn) {
            self.write_values(job, &chunk.messages);
        }
        Next::Again
    }

    fn write_values(&mut self, job: &mut Job, values: &[Arc<Delivery>]) {
        let conn = job.timer.conn;
        let marked = self.connections.get(conn as usize).is_some_and(|c| !c.form.is_private());
        let mut out = self.begin_chunk(job);
        match marked {
            true => values.iter().for_each(|value| v1::snapshot(&mut out, value.body())),
            // A protocol that knows no mark: ordinary messages.
            false => self.append(conn, values, &mut out),
        }
        self.count_and_send(job, values.len(), out);
    }
}

impl Job {
    /// Takes a subscription back that is on its way; false if it is not.
    pub(super) fn withdraw(&mut self, text: &str) -> bool {
        if let Some(values) = &mut self.values {
            values.interest.remove(text);
        }
        self.subscribes() && self.interest.remove(text)
    }

    /// What another subscription has brought of its channels up to an offset is left out.
    pub(super) fn leave_out(&mut self, pattern: &str, until: u64) {
        if let Some(values) = &mut self.values {
            values.interest.remove(pattern);
        }
        if self.subscribes() && self.interest.overlaps(pattern) {
            self.shares = true;
            self.ended.push((pattern.into(), until));
        }
    }
}
