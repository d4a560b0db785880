//! The hot path: mark a message for its receivers, then write once per connection.
//!
//! Marking appends a link to each receiver's list of due deliveries (one shared arena, no allocation once it has
//! grown); flushing gathers a connection's due frames and hands them to the kernel in one call.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use mio::Interest;

use super::Shard;
use crate::conn::outbox::{Outbox, admits};
use crate::conn::{Connection, Phase};
use crate::encode::Delivery;
use crate::hub::NONE;

/// Frames due to one connection are gathered into one buffer and one `send` up to this size: copying is cheaper
/// than the kernel's work for a vector of small slices. A larger frame is sent by itself.
const GATHER: usize = 16 << 10;

/// Links after which a batch is flushed: 8 MiB of arena, and a bound on how stale the first message of a batch gets.
const MAX_LINKS: usize = 1 << 20;

/// What is due to whom in this turn.
#[derive(Debug, Default)]
pub(super) struct Due {
    deliveries: Vec<Arc<Delivery>>,
    links: Vec<Link>,
    /// Connections with at least one link.
    dirty: Vec<u32>,
    gather: Vec<u8>,
    /// Number of the last message marked, in this shard's life.
    stamp: u64,
}

/// One delivery in a connection's list.
#[derive(Clone, Copy, Debug)]
struct Link {
    delivery: u32,
    next: u32,
}

/// How a write ended, in bytes of what was to be written.
enum Written {
    All,
    Part(usize),
    Failed,
}

impl Shard {
    /// Puts a message on the list of everybody who is subscribed to its channel.
    pub(super) fn mark(&mut self, delivery: Arc<Delivery>) {
        self.totals.messages += 1;
        self.position = delivery.offset;
        self.index.resolve(&delivery.channel);
        let due = &mut self.due;
        due.stamp += 1;
        let number = due.deliveries.len() as u32;
        let before = due.links.len();
        for subscribers in self.index.receivers(&delivery.channel) {
            // A start that moves with every message: nobody is always the last.
            let start = due.stamp as usize % subscribers.len().max(1);
            let (tail, head) = subscribers.split_at(start);
            for who in head.iter().chain(tail) {
                let Some(conn) = self.connections.get_mut(who.conn as usize) else { continue };
                if conn.stamp == due.stamp {
                    continue; // another of its patterns matched as well
                }
                conn.stamp = due.stamp;
                let link = due.links.len() as u32;
                due.links.push(Link { delivery: number, next: NONE });
                if conn.has_due() {
                    if let Some(last) = due.links.get_mut(conn.due_last as usize) {
                        last.next = link;
                    }
                } else {
                    conn.due_first = link;
                    due.dirty.push(who.conn);
                }
                conn.due_last = link;
            }
        }
        if due.links.len() > before {
            due.deliveries.push(delivery);
        }
        if self.due.links.len() >= MAX_LINKS {
            self.flush();
        }
    }

    /// Writes everything that is due.
    pub(super) fn flush(&mut self) {
        if self.due.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.due.dirty);
        for conn in dirty.drain(..) {
            self.flush_one(conn);
        }
        self.due.dirty = dirty;
        self.due.links.clear();
        self.due.deliveries.clear();
    }

    /// Writes what is due to one connection, as far as its socket takes it.
    pub(super) fn flush_one(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let mut link = std::mem::replace(&mut connection.due_first, NONE);
        if connection.phase != Phase::Open {
            return;
        }
        while link != NONE && !connection.is_blocked() {
            let (chunk_end, frames, bytes) = gather(&mut self.due, link);
            let outcome = match self.due.single(link, frames) {
                Some(frame) => write_all(&mut connection.stream, frame),
                None => write_all(&mut connection.stream, &self.due.gather),
            };
            self.totals.writes += 1;
            match outcome {
                Written::All => {
                    self.totals.deliveries += frames;
                    self.totals.delivered_bytes += bytes as u64;
                    link = chunk_end;
                }
                Written::Part(written) => {
                    let Some(rest) = skip(&self.due, link, written) else { break };
                    self.totals.deliveries += rest.done;
                    self.totals.delivered_bytes += written as u64;
                    return self.park(conn, rest.link, rest.offset);
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
        while let Some((frame, next)) = self.due.frame(link) {
            let rest = frame.slice(offset..);
            let bytes = rest.len() as u64;
            if !self.enqueue(conn, rest, offset > 0) {
                return;
            }
            self.totals.deliveries += 1;
            self.totals.delivered_bytes += bytes;
            (link, offset) = (next, 0);
        }
    }

    /// Puts a frame into the outbox, or closes a client that reads too slowly; false when it did. `started`: the
    /// beginning of this frame is already out.
    pub(super) fn enqueue(&mut self, conn: u32, frame: Bytes, started: bool) -> bool {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return false };
        let waiting = connection.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
        let total = self.totals.outbox_bytes as usize;
        // Behind a frame that was begun, the close frame is all that a closing connection gets: it always fits.
        let bounded = !started && connection.phase == Phase::Open;
        if bounded && !admits(&self.settings.bounds, waiting, total, frame.len()) {
            self.close(conn, 4008, "slow consumer: reconnect and resume");
            return false;
        }
        self.totals.outbox_bytes += frame.len() as u64;
        put(connection, frame, started);
        if waiting == 0 {
            self.totals.outboxes += 1;
            if self.register(conn, Interest::READABLE | Interest::WRITABLE, true).is_err() {
                self.remove(conn, 1006);
                return false;
            }
        }
        true
    }

    /// The socket takes bytes again.
    pub(super) fn write_outbox(&mut self, conn: u32) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let Some(outbox) = &mut connection.outbox else { return };
        let Ok(written) = outbox.write_to(&mut connection.stream) else {
            return self.remove(conn, 1006);
        };
        self.totals.writes += 1;
        self.totals.outbox_bytes -= written as u64;
        if outbox.bytes() > 0 {
            return;
        }
        connection.outbox = None;
        self.totals.outboxes -= 1;
        let closing = connection.phase == Phase::Closing;
        if self.register(conn, Interest::READABLE, true).is_err() {
            self.remove(conn, 1006);
        } else if closing {
            self.finish_output(conn);
        }
    }

    /// One frame for everybody, behind what is due already.
    pub(super) fn broadcast(&mut self, frame: &Bytes) {
        for conn in 0..self.connections.capacity() as u32 {
            if self
                .connections
                .get(conn as usize)
                .is_some_and(|connection| connection.phase == Phase::Open)
            {
                self.send(conn, |out| out.extend_from_slice(frame));
            }
        }
    }

    /// Sends a frame of the connection's own, behind everything produced for it before.
    pub(super) fn send(&mut self, conn: u32, build: impl FnOnce(&mut Vec<u8>)) {
        if self.connections.get(conn as usize).is_some_and(Connection::has_due) {
            self.flush_one(conn);
        }
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let control = &mut self.scratch.control;
        control.clear();
        build(control);
        let written = if connection.is_blocked() {
            Written::Part(0)
        } else {
            write_all(&mut connection.stream, control)
        };
        match written {
            Written::All => {}
            Written::Part(written) => {
                let rest = Bytes::copy_from_slice(control.get(written..).unwrap_or_default());
                self.enqueue(conn, rest, written > 0);
            }
            Written::Failed => self.remove(conn, 1006),
        }
    }
}

impl Due {
    /// The frame of a link, and the link behind it.
    fn frame(&self, link: u32) -> Option<(&Bytes, u32)> {
        let link = self.links.get(link as usize)?;
        let delivery = self.deliveries.get(link.delivery as usize)?;
        Some((&delivery.frame, link.next))
    }

    /// A chunk of one frame is sent from where it is.
    fn single(&self, link: u32, frames: u64) -> Option<&[u8]> {
        let (frame, _) = self.frame(link)?;
        (frames == 1).then_some(frame)
    }
}

/// Gathers the next chunk of a list: either one frame (left where it is) or as many as fit [`GATHER`]. Returns the
/// link behind the chunk, its frames and its bytes.
fn gather(due: &mut Due, first: u32) -> (u32, u64, usize) {
    let Due { links, deliveries, gather, .. } = due;
    gather.clear();
    let frame_of = |link: u32| {
        let link = links.get(link as usize)?;
        Some((&deliveries.get(link.delivery as usize)?.frame, link.next))
    };
    let Some((frame, mut link)) = frame_of(first) else { return (NONE, 0, 0) };
    let (mut frames, mut bytes) = (1, frame.len());
    while let Some((next, behind)) = frame_of(link) {
        if bytes + next.len() > GATHER {
            break;
        }
        if frames == 1 {
            gather.extend_from_slice(frame);
        }
        gather.extend_from_slice(next);
        (frames, bytes, link) = (frames + 1, bytes + next.len(), behind);
    }
    (link, frames, bytes)
}

/// Where the rest of a partly written chunk begins.
struct Rest {
    link: u32,
    offset: usize,
    done: u64,
}

fn skip(due: &Due, mut link: u32, mut written: usize) -> Option<Rest> {
    let mut done = 0;
    loop {
        let (frame, next) = due.frame(link)?;
        if written < frame.len() {
            return Some(Rest { link, offset: written, done });
        }
        written -= frame.len();
        done += 1;
        link = next;
    }
}

fn put(connection: &mut Connection, frame: Bytes, started: bool) {
    let outbox = connection.outbox.get_or_insert_with(|| Box::new(Outbox::default()));
    if started {
        outbox.push_rest(frame);
    } else {
        outbox.push(frame);
    }
}

fn write_all(stream: &mut mio::net::TcpStream, bytes: &[u8]) -> Written {
    loop {
        return match stream.write(bytes) {
            Ok(written) if written == bytes.len() => Written::All,
            Ok(written) => Written::Part(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::Part(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Written::Failed,
        };
    }
}
