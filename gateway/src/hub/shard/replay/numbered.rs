//! Numbered replays: messages that an odin.v1 connection has had before, under the numbers that they had.
//!
//! The connection's own memory of offsets says which messages those were, the history still has them or not; the stream
//! is not asked, since what is older than the history is older than any hole that such a client can find. Live messages
//! go on meanwhile.

use wsgateway_proto::v1::{self, KeptId};

use super::job::{Goal, Job};
use super::send::CHUNK;
use super::{Next, Shard};
use crate::history::Interest;
use crate::hub::shard::due::private;

/// What is asked for, and what of it is still to be sent.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) id: Option<KeptId>,
    /// The first and the last number.
    range: (u64, u64),
    /// First and last of the numbers that are out of reach.
    gone: Option<(u64, u64)>,
    /// Numbers and offsets still to be sent.
    rest: std::vec::IntoIter<(u64, u64)>,
}

impl Numbered {
    /// Takes note of a number that is out of reach.
    fn lose(&mut self, number: u64) {
        let (from, to) = self.gone.unwrap_or((number, number));
        self.gone = Some((from.min(number), to.max(number)));
    }
}

impl Shard {
    /// Begins to send the messages with these numbers again, both included; `to` absent: up to the last one.
    pub(in crate::hub::shard) fn send_numbers(
        &mut self,
        conn: u32,
        id: Option<KeptId>,
        from: u64,
        to: Option<u64>,
    ) {
        let Some(connection) = self.connections.get(conn as usize) else { return };
        let sequence = connection.sequence.as_deref();
        let (known, last) =
            sequence.map_or((1, 0), |sequence| (sequence.oldest(), sequence.last()));
        let (first, to) = (from.max(1), to.unwrap_or(last).min(last));
        let reachable = first.max(known)..=to;
        let rest: Vec<(u64, u64)> = sequence
            .into_iter()
            .flat_map(|sequence| reachable.clone().map(|n| Some((n, sequence.offset(n)?))))
            .flatten()
            .collect();
        let lost = first < known && first <= to;
        let gone = lost.then(|| (first, to.min(known - 1)));
        let range = (from, to.max(from.saturating_sub(1)));
        let numbered = Numbered { id, range, gone, rest: rest.into_iter() };
        self.begin(conn, Goal::Numbered(numbered), Interest::default(), (0, 0));
    }

    /// Sends the next messages of a numbered replay; at the end, what became of it.
    pub(super) fn send_numbered(&mut self, job: &mut Job) -> Next {
        let (conn, Goal::Numbered(numbered)) = (job.timer.conn, &mut job.goal) else {
            return Next::End;
        };
        let Some(form) = self.connections.get(conn as usize).map(|connection| connection.form)
        else {
            return Next::End;
        };
        let Some(past) = self.past.history.view(&self.epoch) else { return Next::Source };
        let mut out = std::mem::take(&mut self.replays.gather);
        let mut count = 0;
        while out.len() < CHUNK
            && let Some((number, offset)) = numbered.rest.next()
        {
            match past.get(offset) {
                None => numbered.lose(number),
                Some(message) => {
                    private::write(&mut out, &message, form, number);
                    count += 1;
                }
            }
        }
        drop(past);
        job.sent += count as u64;
        let ended = numbered.rest.as_slice().is_empty();
        if count > 0 {
            self.totals.replayed += count as u64;
            self.count_and_send(job, count, out);
        } else {
            self.replays.gather = out;
        }
        if !ended {
            return Next::Again;
        }
        job.end_numbered();
        Next::End
    }
}

impl Job {
    /// Says what became of a numbered replay.
    fn end_numbered(&mut self) {
        let Goal::Numbered(Numbered { id, range: (from, to), gone, .. }) = &self.goal else {
            return;
        };
        let (id, count, out) = (id.as_ref().map(KeptId::id), self.sent, &mut self.said);
        match gone {
            None => v1::replay_complete(out, id, *from, *to, count),
            Some((from, to)) => v1::replay_incomplete(out, id, *from, *to, count),
        }
    }
}
