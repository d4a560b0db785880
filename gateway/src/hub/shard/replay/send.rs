//! Sending: one chunk of a job per call, while the client reads; at the end of it the subscription goes live.

use std::sync::Arc;

use wsgateway_proto::v1::{self, KeptId};
use wsgateway_proto::{channel, frame};

use super::job::{Goal, Job, Next};
use super::line::Replays;
use crate::conn::Connection;
use crate::conn::due::private;
use crate::encode::{Delivery, MIN_DEFLATE};
use crate::history::{Block, Found};
use crate::hub::shard::live::Live;

/// Chunks per turn that are compressed for one client alone (20 µs each, and live messages wait); others go plain.
const DEFLATES: usize = 8;

/// Memory that the buffer of chunks keeps between two uses: one large message is no reason to hold it for ever.
const GATHER_KEPT: usize = 64 << 10;

impl Replays {
    /// Sends the next messages of a job, if its client takes any.
    pub(super) fn send_chunk(&mut self, live: &mut Live, job: &mut Job) -> Next {
        let until = job.until.min(live.position);
        // Nothing to send, so nothing to wait for.
        let idle = job.interest.is_empty() && job.values.is_none();
        if job.subscribes() && (idle || job.is_plain() && job.cursor >= until) {
            return self.arrive(live, job);
        }
        if live.clients.get(job.timer.conn).is_none_or(Connection::is_blocked) {
            return Next::Blocked;
        }
        if matches!(job.goal, Goal::Numbered(_)) {
            return self.send_numbered(live, job);
        }
        if job.values.is_some() {
            return self.send_values(live, job);
        }
        if job.cursor >= until {
            return self.arrive(live, job);
        }
        if let Some(block) = job.block.clone()
            && block.from <= job.cursor + 1
            && block.to > job.cursor
        {
            self.send_block(live, job, &block, until);
            return Next::Again;
        }
        let (found, floor) = {
            let Some(view) = self.past.history.view(live.epoch()) else { return Next::Source };
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
                self.release(job);
                self.send_messages(live, job, &chunk.messages);
                job.cursor = chunk.cursor;
            }
        }
        if job.cursor >= until { self.arrive(live, job) } else { Next::Again }
    }

    /// The part of a block that is still to be sent, as far as one chunk goes.
    fn send_block(&mut self, live: &mut Live, job: &mut Job, block: &Block, until: u64) {
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
        self.send_messages(live, job, &some);
        match cut {
            true => {}
            // Nothing behind the last message was there to be read.
            false if block.missing_is_gone => job.pass_over(end),
            false => job.cursor = job.cursor.max(end),
        }
    }

    /// Whether a message has come, or will come, by a subscription that was there before the job.
    fn comes_live(&self, live: &Live, job: &Job, message: &Delivery) -> bool {
        let matches = |pattern: &str| channel::matches(pattern, &message.channel);
        live.held(job.timer.conn).any(matches)
            || job.ended.iter().any(|(pattern, to)| message.offset <= *to && matches(pattern))
    }

    fn send_messages(&mut self, live: &mut Live, job: &mut Job, messages: &[Arc<Delivery>]) {
        if !messages.is_empty() {
            // Before any of them, those included that come by another subscription.
            job.tell_passed_over();
        }
        let others: Vec<_>;
        let messages = match job.shares {
            false => messages,
            true => {
                let own = messages.iter().filter(|message| !self.comes_live(live, job, message));
                others = own.cloned().collect();
                &others
            }
        };
        let conn = job.timer.conn;
        if messages.is_empty() || !self.settle(live, conn) {
            return;
        }
        let mut out = self.begin_chunk(job);
        self.append(live, conn, messages, &mut out);
        job.sent += messages.len() as u64;
        live.clients.totals.replayed += messages.len() as u64;
        self.count_and_send(live, job, messages.len(), out);
    }

    /// Writes what is due to a client that counts its messages, so that numbers are given in the order in which they
    /// leave; false when that was the end of it.
    pub(super) fn settle(&mut self, live: &mut Live, conn: u32) -> bool {
        let private = |connection: &Connection| connection.form.is_private();
        if live.clients.get(conn).is_some_and(private) {
            live.clients.flush_one(conn);
        }
        live.clients.is_open(conn)
    }

    /// The buffer of the next chunk, with what the job has said in it.
    pub(super) fn begin_chunk(&mut self, job: &mut Job) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.gather);
        out.append(&mut job.said);
        out
    }

    /// Writes messages of a job; `out` begins with what it has said.
    pub(super) fn count_and_send(
        &mut self,
        live: &mut Live,
        job: &mut Job,
        messages: usize,
        mut out: Vec<u8>,
    ) {
        live.clients.totals.deliveries += messages as u64;
        live.clients.totals.delivered_bytes += out.len() as u64;
        live.clients.send_bytes(job.timer.conn, &out);
        out.clear();
        out.shrink_to(GATHER_KEPT);
        self.gather = out;
    }

    /// Writes messages the way this connection takes them.
    pub(super) fn append(
        &mut self,
        live: &mut Live,
        conn: u32,
        messages: &[Arc<Delivery>],
        out: &mut Vec<u8>,
    ) {
        let Some(form) = live.clients.get(conn).map(|connection| connection.form) else {
            return;
        };
        if form.is_private() {
            let Some(connection) = live.clients.get_mut(conn) else { return };
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
                && live.clients.deflater().message(frame::payload(batch), &mut twin)
            {
                out.truncate(start);
                out.append(&mut twin);
            }
            return;
        }
        for message in messages {
            out.extend_from_slice(match form.deflate {
                true => message.deflated(live.clients.deflater()),
                false => &message.frame,
            });
        }
    }

    fn may_deflate(&mut self) -> bool {
        self.deflated += 1;
        self.deflated <= DEFLATES
    }

    /// The job has come to its end: its client is where everybody is, or has what it asked for.
    fn arrive(&mut self, live: &mut Live, job: &mut Job) -> Next {
        let (conn, until) = (job.timer.conn, job.until.min(live.position));
        job.tell_passed_over();
        match &job.goal {
            Goal::Subscribe(opening) => {
                if !job.is_plain() {
                    v1::live(&mut job.said, opening.id.as_ref().map(KeptId::id), until);
                }
                for (text, kind) in job.patterns() {
                    live.hold(conn, &text, kind);
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
