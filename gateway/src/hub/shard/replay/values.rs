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
use crate::history::Interest;

/// Last values that are still to be sent.
#[derive(Debug)]
pub(super) struct Values {
    pub interest: Interest,
    /// Those up to here have been sent.
    pub cursor: u64,
    /// Later ones come as messages.
    until: u64,
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
        Some(Box::new(Self { interest, cursor: 0, until }))
    }
}

impl Shard {
    /// Sends the next last values of a job.
    pub(super) fn send_values(&mut self, job: &mut Job) -> Next {
        let Some(values) = job.values.as_deref_mut() else { return Next::Again };
        // Another stream's: the client is about to be told.
        let Some(view) = self.past.history.view(&self.epoch) else { return Next::Blocked };
        let chunk = view.values(&values.interest, values.cursor, values.until, job.chunk);
        drop(view);
        values.cursor = chunk.cursor;
        if values.cursor >= values.until {
            job.values = None;
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
