//! Sending: one chunk of a job per call, while the client reads; at the end of it the subscription goes live.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};
use wsgateway_proto::{channel, frame};

use super::job::{Goal, Job};
use super::{Next, Shard};
use crate::conn::{Connection, Phase};
use crate::encode::{Delivery, MIN_DEFLATE};
use crate::history::{Block, Found};
use crate::hub::shard::due::private;

/// Chunks per turn that are compressed for one client alone (20 µs each, and live messages wait); others go plain.
const DEFLATES: usize = 8;

/// Memory that the buffer of chunks keeps between two uses: one large message is no reason to hold it for ever.
const GATHER_KEPT: usize = 64 << 10;

/// Bytes of frames in a job's first write (or one larger frame): every socket takes them. While a client reads, each
/// write is twice the one before, up to the largest; one that does not read leaves no more than one of them in memory.
pub(super) const CHUNK: usize = 16 << 10;
pub(super) const LARGEST_CHUNK: usize = 64 << 10;

impl Shard {
    /// Sends the next messages of a job, if its client takes any.
    pub(super) fn send_chunk(&mut self, job: &mut Job) -> Next {
        let until = job.until.min(self.position);
        // Nothing to send, so nothing to wait for.
        let idle = job.interest.is_empty() && job.values.is_none();
        if job.subscribes() && (idle || job.is_plain() && job.cursor >= until) {
            return self.arrive(job);
        }
        if self.is_blocked(job.timer) {
            return Next::Blocked;
        }
        if matches!(job.goal, Goal::Numbered(_)) {
            return self.send_numbered(job);
        }
        if job.values.is_some() {
            return self.send_values(job);
        }
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
        let (found, floor) = {
            let Some(view) = self.past.history.view(&self.epoch) else { return Next::Source };
            (view.read(&job.interest, job.cursor, until, job.chunk), view.floor())
        };
        match found {
            None if self.past.archive.exists() => return Next::Older,
            None => {
                job.pass_over(floor.min(until));
                return Next::Again;
            }
            // Every connection that was there has been told of it.
            Some(Found::Gone(to)) if job.cursor >= job.born => job.cursor = to,
            Some(Found::Gone(to)) => job.pass_over(to),
            Some(Found::Messages(chunk)) => {
                self.replays.release(job);
                self.send_messages(job, &chunk.messages);
                job.cursor = chunk.cursor;
            }
        }
        if job.cursor >= until { self.arrive(job) } else { Next::Again }
    }

    /// The part of a block that is still to be sent, as far as one chunk goes.
    fn send_block(&mut self, job: &mut Job, block: &Block, until: u64) {
        let end = block.to.min(until);
        // What is before the stream's first message is gone, whatever was asked for.
        job.pass_over(block.first.saturating_sub(1).min(until));
        let start = block.messages.partition_point(|message| message.offset <= job.cursor);
        let rest = block.messages.get(start..).unwrap_or_default();
        let (mut some, mut bytes, mut cut) = (Vec::new(), 0, false);
        for message in rest.iter().take_while(|message| message.offset <= end) {
            let hole = block.missing_is_gone && message.offset > job.cursor + 1;
            // A hole is told before what is behind it.
            cut = bytes > 0 && (hole || bytes + message.frame.len() > job.chunk);
            if cut {
                break;
            }
            if hole {
                job.pass_over(message.offset - 1);
            }
            job.cursor = message.offset;
            if job.interest.covers(&message.channel) {
                bytes += message.frame.len();
                some.push(Arc::clone(message));
            }
        }
        self.send_messages(job, &some);
        match cut {
            true => {}
            // Nothing behind the last message was there to be read.
            false if block.missing_is_gone => job.pass_over(end),
            false => job.cursor = job.cursor.max(end),
        }
    }

    /// Whether a message has come, or will come, by a subscription that was there before the job.
    fn comes_live(&self, job: &Job, message: &Delivery) -> bool {
        let matches = |pattern: &str| channel::matches(pattern, &message.channel);
        self.held(job.timer.conn).any(matches)
            || job.ended.iter().any(|(pattern, to)| message.offset <= *to && matches(pattern))
    }

    fn send_messages(&mut self, job: &mut Job, messages: &[Arc<Delivery>]) {
        if !messages.is_empty() {
            // Before any of them, those included that come by another subscription.
            job.tell_passed_over();
        }
        let others: Vec<_>;
        let messages = match job.shares {
            false => messages,
            true => {
                let own = messages.iter().filter(|message| !self.comes_live(job, message));
                others = own.cloned().collect();
                &others
            }
        };
        let conn = job.timer.conn;
        if messages.is_empty() || !self.settle(conn) {
            return;
        }
        let mut out = self.begin_chunk(job);
        self.append(conn, messages, &mut out);
        job.sent += messages.len() as u64;
        self.totals.replayed += messages.len() as u64;
        self.count_and_send(job, messages.len(), out);
    }

    /// Writes what is due to a client that counts its messages, so that numbers are given in the order in which they
    /// leave; false when that was the end of it.
    pub(super) fn settle(&mut self, conn: u32) -> bool {
        let private = |connection: &Connection| connection.form.is_private();
        if self.connections.get(conn as usize).is_some_and(private) {
            self.flush_one(conn);
        }
        self.connections.get(conn as usize).is_some_and(|c| c.phase == Phase::Open)
    }

    /// The buffer of the next chunk, with what the job has said in it.
    pub(super) fn begin_chunk(&mut self, job: &mut Job) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.replays.gather);
        out.append(&mut job.said);
        out
    }

    /// Writes messages of a job; `out` begins with what it has said.
    pub(super) fn count_and_send(&mut self, job: &mut Job, messages: usize, mut out: Vec<u8>) {
        self.totals.deliveries += messages as u64;
        self.totals.delivered_bytes += out.len() as u64;
        self.send_bytes(job.timer.conn, &out);
        out.clear();
        out.shrink_to(GATHER_KEPT);
        self.replays.gather = out;
    }

    /// Writes messages the way this connection takes them.
    pub(super) fn append(&mut self, conn: u32, messages: &[Arc<Delivery>], out: &mut Vec<u8>) {
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
            let start = out.len();
            v1::batch(out, messages.iter().map(|message| message.body()));
            let batch = out.get(start..).unwrap_or_default();
            let mut twin = Vec::new();
            if form.deflate
                && batch.len() >= MIN_DEFLATE
                && self.may_deflate()
                && self.due.deflater().message(frame::payload(batch), &mut twin)
            {
                out.truncate(start);
                out.append(&mut twin);
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

    fn may_deflate(&mut self) -> bool {
        self.replays.deflated += 1;
        self.replays.deflated <= DEFLATES
    }

    /// The job has come to its end: its client is where everybody is, or has what it asked for.
    fn arrive(&mut self, job: &mut Job) -> Next {
        let (conn, until) = (job.timer.conn, job.until.min(self.position));
        job.tell_passed_over();
        match &job.goal {
            Goal::Subscribe(opening) => {
                if !job.is_plain() {
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

impl Job {
    /// Takes note that nobody has anything up to `to` any more.
    fn pass_over(&mut self, to: u64) {
        if to <= self.cursor {
            return;
        }
        let from = self.gone.map_or(self.cursor + 1, |(from, _)| from);
        self.gone = Some((from, to));
        self.cursor = to;
    }

    /// Tells what was passed over, or keeps it for the end of a range.
    fn tell_passed_over(&mut self) {
        let Some((from, to)) = self.gone.take() else { return };
        match &mut self.goal {
            Goal::Subscribe(_) => self.tell_gone((from, to), "retention"),
            Goal::Replay { gone, .. } => {
                *gone = Some((gone.map_or(from, |(first, _)| first), to));
            }
            Goal::Numbered(_) => {}
        }
    }
}
