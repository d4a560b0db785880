//! Last values: a job walks over them in stream order, a chunk per write, and holds none of them.
//!
//! A channel that speaks while the walk is under way is left out by it: its message comes behind the acknowledgement's
//! offset, as every other does.

use std::sync::Arc;

use wsgateway_proto::v1;

use super::job::{Job, Next};
use super::line::Replays;
use crate::encode::Delivery;
use crate::hub::shard::live::Live;

impl Replays {
    /// Sends the next last values of a job.
    pub(super) fn send_values(&mut self, live: &mut Live, job: &mut Job) -> Next {
        let Some(values) = job.values.as_deref_mut() else { return Next::Again };
        let Some(view) = self.past.history.view(live.epoch()) else { return Next::Source };
        values.alone |= !self.past.archive.filters();
        let chunk = values.next(&view, job.chunk);
        drop(view);
        let Some(mut chunk) = chunk else { return Next::Older };
        if values.paced {
            chunk.messages.retain(|message| message.treatment.max_rate > 0);
        }
        values.cursor = chunk.cursor;
        if values.cursor >= values.until {
            job.values = None;
            self.release(job);
        }
        if !chunk.messages.is_empty() && self.settle(live, job.timer.conn) {
            self.write_values(live, job, &chunk.messages);
        }
        Next::Again
    }

    fn write_values(&mut self, live: &mut Live, job: &mut Job, values: &[Arc<Delivery>]) {
        let conn = job.timer.conn;
        let marked = live.clients.get(conn).is_some_and(|c| !c.form.is_private());
        let mut out = self.begin_chunk(job);
        match marked {
            true => values.iter().for_each(|value| v1::snapshot(&mut out, value.body())),
            // A protocol that knows no mark: ordinary messages.
            false => self.append(live, conn, values, &mut out),
        }
        self.count_and_send(live, job, values.len(), out);
    }
}
