//! Numbered replays: messages that an odin.v1 connection has had before, under the numbers that they had.
//!
//! The connection's own memory of offsets says which messages those were, the history still has them or not; the stream
//! is not asked, since what is older than the history is older than any hole that such a client can find. Live messages
//! go on meanwhile.

use wsgateway_proto::v1::KeptId;

use super::job::numbered::Numbered;
use super::job::{CHUNK, Goal, Job, Next};
use super::line::Replays;
use crate::conn::due::private;
use crate::history::Interest;
use crate::hub::shard::live::Live;

impl Replays {
    /// Begins to send the messages with these numbers again, both included; `to` absent: up to the last one.
    pub(in crate::hub::shard) fn send_numbers(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<KeptId>,
        from: u64,
        to: Option<u64>,
    ) {
        let Some(connection) = live.clients.get(conn) else { return };
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
        self.begin(live, conn, Goal::Numbered(numbered), Interest::default(), (0, 0));
    }

    /// Sends the next messages of a numbered replay; at the end, what became of it.
    pub(super) fn send_numbered(&mut self, live: &mut Live, job: &mut Job) -> Next {
        let (conn, Goal::Numbered(numbered)) = (job.timer.conn, &mut job.goal) else {
            return Next::End;
        };
        let Some(form) = live.clients.get(conn).map(|connection| connection.form) else {
            return Next::End;
        };
        let Some(past) = self.past.history.view(live.epoch()) else { return Next::Source };
        let mut out = std::mem::take(&mut self.gather);
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
            live.clients.totals.replayed += count as u64;
            self.count_and_send(live, job, count, out);
        } else {
            self.gather = out;
        }
        if !ended {
            return Next::Again;
        }
        job.end_numbered();
        Next::End
    }
}
