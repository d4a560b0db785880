//! Sending: one chunk of a job per call, while the client reads; at the end of it the subscription goes live.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};
use wsgateway_proto::{channel, frame};

use super::job::{From, Goal, Job};
use super::{Next, Shard};
use crate::conn::{Connection, Phase};
use crate::encode::{Delivery, MIN_DEFLATE};
use crate::hub::shard::due::private;

/// Bytes of frames in one write, or one larger frame.
const CHUNK: usize = 16 << 10;

impl Shard {
    /// Sends the next messages of a job, if its client takes any.
    pub(super) fn send_chunk(&mut self, job: &mut Job) -> Next {
        let conn = job.timer.conn;
        if self.connections.get(conn as usize).is_none_or(|connection| connection.is_blocked()) {
            return Next::Blocked;
        }
        if matches!(job.goal, Goal::Numbered(_)) {
            return self.send_numbered(job);
        }
        if !job.snapshot.as_slice().is_empty() {
            self.send_snapshot(job);
            return Next::Again;
        }
        let until = job.until.min(self.position);
        if job.cursor >= until {
            return self.arrive(job);
        }
        if let Some(block) = job.block.clone()
            && block.from <= job.cursor + 1
            && block.to > job.cursor
        {
            self.send_block(job, &block, until);
            return Next::Again;
        }
        let (chunk, floor) = {
            // Another stream's: the client is about to be told.
            let Some(view) = self.past.history.view(&self.epoch) else { return Next::Blocked };
            (view.read(&job.interest, job.cursor, until, CHUNK), view.floor())
        };
        let Some(chunk) = chunk else {
            if self.past.archive.exists() {
                return Next::Older;
            }
            self.pass_over(job, floor.min(until));
            return Next::Again;
        };
        self.replays.release(job);
        self.send_messages(job, &chunk.messages);
        job.cursor = chunk.cursor;
        if job.cursor >= until { self.arrive(job) } else { Next::Again }
    }

    /// What the stream does not have any more, up to `to`.
    fn pass_over(&mut self, job: &mut Job, to: u64) {
        let gone = (job.cursor + 1, to);
        job.cursor = job.cursor.max(to);
        match &mut job.goal {
            Goal::Subscribe(_) => job.tell_gone(&[gone], "retention"),
            Goal::Replay { gone: so_far, .. } => {
                let from = so_far.map_or(gone.0, |(from, _)| from);
                *so_far = Some((from, gone.1));
            }
            Goal::Numbered(_) => {}
        }
    }

    /// The part of a block that is still to be sent, as far as one chunk goes.
    fn send_block(&mut self, job: &mut Job, block: &crate::history::Block, until: u64) {
        let start = block.messages.partition_point(|message| message.offset <= job.cursor);
        let rest = block.messages.get(start..).unwrap_or_default();
        let (mut some, mut bytes) = (Vec::new(), 0);
        for message in rest {
            if message.offset > until || (bytes > 0 && bytes + message.frame.len() > CHUNK) {
                break;
            }
            if message.offset > job.cursor + 1 {
                if !some.is_empty() {
                    break; // a gap comes in its place
                }
                self.pass_over(job, message.offset - 1);
            }
            job.cursor = message.offset;
            if job.interest.covers(&message.channel) {
                bytes += message.frame.len();
                some.push(Arc::clone(message));
            }
        }
        let last = rest.last().is_none_or(|last| last.offset <= job.cursor);
        self.send_messages(job, &some);
        if last {
            // Nothing behind the last message of a block was there to be read.
            let end = block.to.min(until);
            if end > job.cursor {
                self.pass_over(job, end);
            }
        }
    }

    /// Whether a message has come, or will come, by a subscription that was there before the job.
    fn comes_live(&self, job: &Job, message: &Delivery) -> bool {
        let matches = |pattern: &str| channel::matches(pattern, &message.channel);
        self.held(job.timer.conn).any(matches)
            || job.ended.iter().any(|(pattern, to)| message.offset <= *to && matches(pattern))
    }

    fn send_messages(&mut self, job: &mut Job, messages: &[Arc<Delivery>]) {
        let others: Vec<_>;
        let messages = match job.shares {
            false => messages,
            true => {
                let own = messages.iter().filter(|message| !self.comes_live(job, message));
                others = own.cloned().collect();
                &others
            }
        };
        if messages.is_empty() {
            return;
        }
        let conn = job.timer.conn;
        if !self.settle(conn) {
            return;
        }
        let mut out = std::mem::take(&mut self.replays.gather);
        self.append(conn, messages, &mut out);
        job.sent += messages.len() as u64;
        self.totals.replayed += messages.len() as u64;
        self.count_and_send(job, messages.len(), out);
    }

    fn send_snapshot(&mut self, job: &mut Job) {
        let conn = job.timer.conn;
        if !self.settle(conn) {
            return;
        }
        let marked = self.connections.get(conn as usize).is_some_and(|c| !c.form.is_private());
        let mut out = std::mem::take(&mut self.replays.gather);
        let mut count = 0;
        while let Some(value) = job.snapshot.as_slice().first()
            && (out.is_empty() || out.len() + value.frame.len() <= CHUNK)
        {
            if let Some(value) = job.snapshot.next() {
                match marked {
                    true => v1::snapshot(&mut out, value.body()),
                    false => self.append(conn, &[value], &mut out),
                }
                count += 1;
            }
        }
        self.count_and_send(job, count, out);
    }

    /// Writes what is due to a client that counts its messages, so that numbers are given in the order in which they
    /// leave; false when that was the end of it.
    fn settle(&mut self, conn: u32) -> bool {
        let private = |connection: &Connection| connection.form.is_private();
        if self.connections.get(conn as usize).is_some_and(private) {
            self.flush_one(conn);
        }
        self.connections.get(conn as usize).is_some_and(|c| c.phase == Phase::Open)
    }

    /// Writes messages of a job, behind what it has said.
    pub(super) fn count_and_send(&mut self, job: &mut Job, messages: usize, mut out: Vec<u8>) {
        self.totals.deliveries += messages as u64;
        self.totals.delivered_bytes += out.len() as u64;
        let mut said = std::mem::take(&mut job.said);
        self.send(job.timer.conn, |control| {
            control.append(&mut said);
            control.extend_from_slice(&out);
        });
        out.clear();
        self.replays.gather = out;
    }

    /// Writes messages the way this connection takes them.
    fn append(&mut self, conn: u32, messages: &[Arc<Delivery>], out: &mut Vec<u8>) {
        let Some(form) = self.connections.get(conn as usize).map(|connection| connection.form)
        else {
            return;
        };
        if form.is_private() {
            let Some(connection) = self.connections.get_mut(conn as usize) else { return };
            for message in messages {
                let number = connection.count(message.offset);
                private::write(out, message, form, number);
            }
            return;
        }
        if form.batch && messages.len() > 1 {
            v1::batch(out, messages.iter().map(|message| message.body()));
            let mut twin = Vec::new();
            if form.deflate
                && out.len() >= MIN_DEFLATE
                && self.due.deflater().message(frame::payload(out), &mut twin)
            {
                *out = twin;
            }
            return;
        }
        for message in messages {
            out.extend_from_slice(match form.deflate {
                true => message.deflated(self.due.deflater()),
                false => &message.frame,
            });
        }
    }

    /// The job has come to its end: its client is where everybody is, or has what it asked for.
    fn arrive(&mut self, job: &mut Job) -> Next {
        let (conn, until) = (job.timer.conn, job.until.min(self.position));
        match &job.goal {
            Goal::Subscribe(opening) => {
                if opening.snapshot || opening.from != From::Now {
                    v1::live(&mut job.said, opening.id.as_ref().map(KeptId::id), until);
                }
                for (text, kind) in job.patterns() {
                    self.hold(conn, &text, kind);
                }
            }
            Goal::Numbered(_) => {}
            Goal::Replay { id, from, gone } => {
                let (id, count) = (id.as_ref().map(KeptId::id), job.sent);
                let until = until.max(from.saturating_sub(1));
                let out = &mut job.said;
                match gone {
                    None => v1::replay_complete(out, id, *from, until, count),
                    Some((from, to)) => v1::replay_incomplete(out, id, *from, *to, count),
                }
            }
        }
        Next::End
    }
}
