//! The hot path: mark a message for its receivers, then write once per connection.
//!
//! Marking appends a link to each receiver's list of due deliveries (one shared arena, no allocation once it has
//! grown); flushing gathers a connection's due frames and hands them to the kernel in one call.

use std::sync::Arc;

use super::Clients;
use super::output::{Written, write};
use crate::conn::Connection;
use crate::conn::due::{Due, NONE, Rest};
use crate::conn::outbox::Frame;
use crate::encode::Delivery;
use crate::index::Subscriber;

/// Writes after which a flush lets others have a turn: one of 10,000 takes tens of milliseconds, too long to leave
/// an answer, a close frame or a socket with room again unseen.
const WRITES: usize = 256;

/// Counts messages that leave for a client, if its protocol counts: so many of a list, from a link on.
fn count(connection: &mut Connection, due: &Due, link: u32, messages: u64) {
    if connection.form.is_private() {
        for offset in due.offsets(link).take(messages as usize) {
            connection.count(offset);
        }
    }
}

impl Clients {
    /// Puts a message on the list of every subscriber, once; `patterns` are the subscribers of each pattern that matches.
    /// Returns how many those are; if any, it must be given to [`Clients::keep`] before the next one.
    pub(crate) fn mark<'a>(
        &mut self,
        delivery: &Delivery,
        patterns: impl Iterator<Item = &'a [Subscriber]>,
    ) -> usize {
        let window_us = u64::from(delivery.treatment.window_us);
        let until_us = (window_us > 0).then_some(self.clock.now_us + window_us);
        let due = &mut self.due;
        let (number, before) = (due.next_number(), due.links());
        for subscribers in patterns {
            // A start that moves with every message: nobody is always the last.
            let start = due.stamp as usize % subscribers.len().max(1);
            let (tail, head) = subscribers.split_at(start);
            for who in head.iter().chain(tail) {
                let Some(conn) = self.connections.get_mut(who.conn as usize) else { continue };
                if conn.stamp >= due.stamp {
                    continue; // another of its patterns matched as well, or it is closed
                }
                if delivery.deleted.is_some() && !conn.form.knows_deletions() {
                    continue;
                }
                conn.stamp = due.stamp;
                due.link(&mut conn.due, who.conn, number, until_us);
            }
        }
        let receivers = due.links() - before;
        if let Some(trace) = &delivery.trace {
            self.traced.marked(trace, delivery, receivers);
        }
        receivers
    }

    /// Keeps a marked message until it has been written.
    pub(crate) fn keep(&mut self, delivery: Arc<Delivery>) {
        self.due.keep(delivery);
    }

    /// Whether so much is due that everything must be flushed before the next message.
    pub(crate) fn is_full(&self) -> bool {
        self.due.is_full()
    }

    /// When what is on hold leaves (µs of the clock); `None` when nothing is.
    pub(crate) fn hold_until_us(&self) -> Option<u64> {
        (!self.due.held.is_empty()).then_some(self.due.hold_until_us)
    }

    /// Begins to write what leaves in this turn; `held`: and what is on hold. [`Clients::flush`] goes on with it.
    pub(crate) fn begin_flush(&mut self, held: bool) {
        let due = &mut self.due;
        if held {
            due.hold_until_us = u64::MAX;
            for conn in &due.held {
                if let Some(connection) = self.connections.get_mut(*conn as usize) {
                    connection.due.release();
                }
            }
            self.flushing.append(&mut due.held);
        }
        self.flushing.append(&mut due.dirty);
        if !self.flushing.is_empty() {
            due.allow_batches(self.flushing.len());
            // Taken from the end, in the order of the list.
            self.flushing.reverse();
        }
    }

    /// Writes to some of those whose turn it is; false when all have been served.
    pub(crate) fn flush(&mut self) -> bool {
        for _ in 0..WRITES {
            let Some(conn) = self.flushing.pop() else { break };
            self.flush_one(conn);
        }
        if !self.flushing.is_empty() {
            return true;
        }
        if self.due.held.is_empty() {
            if !self.traced.is_empty() {
                self.traced.settle();
            }
            self.time();
            self.due.clear();
        }
        false
    }

    /// Takes note of how old the messages are that have just been written.
    fn time(&mut self) {
        if self.due.links() > 0 {
            let now = crate::time::unix_ms();
            for ts in self.due.times() {
                // The stream's clock may be ahead of ours.
                self.totals.time(u64::try_from(now - ts).unwrap_or(0));
            }
        }
    }

    /// Writes what is due to one connection, as far as its socket takes it.
    pub(crate) fn flush_one(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let mut link = connection.due.take();
        let form = connection.form;
        if !connection.is_open() {
            return;
        }
        if form.is_poll() {
            return self.answer_due(conn, link);
        }
        while link != NONE && !connection.is_blocked() {
            let number = connection.next_number();
            let Some(chunk) = self.due.chunk(link, form, number) else { return };
            let bytes = self.due.bytes(&chunk, form);
            let all = bytes.len() as u64;
            self.totals.writes += 1;
            match write(&mut connection.stream, &mut connection.tls, bytes) {
                written @ (Written::All | Written::Encrypted) => {
                    self.totals.deliveries += chunk.messages;
                    self.totals.delivered_bytes += all;
                    self.totals.batches += u64::from(chunk.is_batch());
                    count(connection, &self.due, link, chunk.messages);
                    if !self.traced.is_empty() {
                        let offsets = self.due.offsets(link).take(chunk.messages as usize);
                        self.traced.written(offsets);
                    }
                    link = chunk.end;
                    if written == Written::Encrypted {
                        if self.hold(conn) && link != NONE {
                            self.park(conn, link, 0);
                        }
                        return;
                    }
                }
                Written::Part(written) => {
                    let (rest, done) = self.due.rest(&chunk, form, number, written);
                    count(connection, &self.due, link, done);
                    if !self.traced.is_empty() {
                        self.traced.written(self.due.offsets(link).take(done as usize));
                    }
                    self.totals.deliveries += done;
                    self.totals.delivered_bytes += written as u64;
                    match rest {
                        Rest::Link(link, offset) => return self.park(conn, link, offset),
                        Rest::Bytes(rest, end) => {
                            self.totals.deliveries += chunk.messages;
                            self.totals.batches += u64::from(chunk.is_batch());
                            self.totals.delivered_bytes += rest.len() as u64;
                            if self.enqueue(conn, rest.into(), true) && end != NONE {
                                self.park(conn, end, 0);
                            }
                            return;
                        }
                    }
                }
                Written::Failed => return self.remove(conn, 1006),
            }
        }
        if link != NONE {
            self.park(conn, link, 0);
        }
    }

    /// Moves the rest of a connection's due list into its outbox; `offset` bytes of the first frame are gone.
    fn park(&mut self, conn: u32, mut link: u32, mut offset: usize) {
        while let Some(connection) = self.connections.get_mut(conn as usize) {
            let (form, number) = (connection.form, connection.next_number());
            let meter = &self.outbox_memory;
            let Some((frame, next)) = self.due.frame(link, form, number, meter) else { return };
            count(connection, &self.due, link, 1);
            // A client that counts would take what is left out for lost.
            let may_replace = offset == 0 && !form.is_private();
            let latest = self.due.latest(link).filter(|_| may_replace);
            // The outbox reports what was left out itself, since there may be more of it by then.
            let begin = if latest.is_some() { self.due.gap_len(link, form) } else { offset };
            let rest = Frame { bytes: frame.bytes.slice(begin..), shared: frame.shared };
            let bytes = rest.bytes.len() as u64;
            let taken = match latest {
                Some((latest, skipped)) => self.enqueue_latest(conn, rest, latest, skipped),
                None => self.enqueue(conn, rest, offset > 0),
            };
            if !taken {
                return;
            }
            self.totals.deliveries += 1;
            self.totals.delivered_bytes += bytes;
            (link, offset) = (next, 0);
        }
    }
}
