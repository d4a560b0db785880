//! Connections that are no WebSocket: event streams and long-polls, from the first answer on.

use wsgateway_proto::handshake::ClientHandshakeError;

use super::{Connection, State, Upgrade};
use crate::envelope::number_after;
use crate::swarm::dial::Dialer;
use crate::swarm::hear::Ear;
use crate::swarm::record::Record;
use crate::swarm::{events, polls};

impl Connection {
    /// The answer to the request for an event stream.
    pub(super) fn answered(&mut self, mut upgrade: Box<Upgrade>, record: &mut Record) {
        match events::answer(&upgrade.head) {
            Ok(None) => self.upgrade = Some(upgrade),
            Ok(Some(events::Answer::Open(head_bytes))) => {
                record.counters.connecting -= 1;
                record.counters.connected += 1;
                record.counters.opened += 1;
                self.tally.state = State::Open;
                self.events = true;
                self.consume(upgrade.head.get_mut(head_bytes..).unwrap_or_default(), record);
            }
            Ok(Some(events::Answer::Status(status))) => self.refused_with(status, record),
            Err(error) => self.refused(&error, record),
        }
    }

    /// Another status than 200 to a request for a stream, or to a first poll.
    fn refused_with(&mut self, status: u16, record: &mut Record) {
        record.counters.connecting -= 1;
        *record.counters.refused.entry(status).or_default() += 1;
        self.tally.refused = Some(status);
        record.last_error = Some(format!("the server answered {status}"));
        self.tally.state = State::Ended;
        self.stream = None;
    }

    /// The answer to the first poll: with it the connection counts as open.
    pub(super) fn first_answer(
        &mut self,
        upgrade: Box<Upgrade>,
        record: &mut Record,
        dialer: &Dialer,
    ) {
        let answer = polls::answer(&upgrade.head, longest_answer(record));
        match answer.map(|answer| answer.map(|answer| answer.status)) {
            Ok(None) => self.upgrade = Some(upgrade),
            Ok(Some(status)) if status != 200 => self.refused_with(status, record),
            Ok(Some(_)) => {
                record.counters.connecting -= 1;
                record.counters.connected += 1;
                record.counters.opened += 1;
                self.tally.state = State::Open;
                self.polls = true;
                self.polled(&upgrade.head, record, dialer);
            }
            Err(why) => self.refused(&ClientHandshakeError::NotHttp(why), record),
        }
    }

    /// Treats answers to polls, and asks again.
    pub(super) fn polled(&mut self, bytes: &[u8], record: &mut Record, dialer: &Dialer) {
        if self.tally.close_code.is_some() {
            return;
        }
        record.counters.bytes += bytes.len() as u64;
        let mut waiting = std::mem::take(&mut self.stream_rest);
        waiting.extend_from_slice(bytes);
        let mut position = 0;
        loop {
            let from = waiting.get(position..).unwrap_or_default();
            let answer = match polls::answer(from, longest_answer(record)) {
                Ok(None) => break,
                Ok(Some(answer)) => answer,
                Err(why) => {
                    record.counters.violations += 1;
                    record.last_error = Some(why.to_owned());
                    return self.closed(1002, record);
                }
            };
            position += answer.end;
            if answer.status != 200 {
                // Counted by its status, so the end itself is in order.
                *record.counters.refused.entry(answer.status).or_default() += 1;
                record.last_error = Some(format!("the server answered {}", answer.status));
                return self.closed(1000, record);
            }
            let number = self.number as usize;
            let channels = dialer.options.channels(number).len() as u64;
            let arrival = record.arrival();
            let Self { place, tally, ledger, rest, .. } = self;
            let mut ear = Ear { number, place, arrival, tally, ledger, rest };
            polls::hear(&answer.body, &mut ear, channels, record);
            if answer.is_last {
                return self.closed(1000, record);
            }
            let cursor = self.cursor(record);
            let request = dialer.options.next_poll(&dialer.host, (number, cursor));
            self.write(&request, record);
        }
        waiting.drain(..position);
        // A connection that waits owns no buffer.
        if !waiting.is_empty() {
            self.stream_rest = waiting;
        }
    }

    /// Treats every event; returns the code of the server's last word, if that came.
    pub(super) fn hear_events(&mut self, bytes: &[u8], record: &mut Record) -> Option<u16> {
        let mut stream = std::mem::take(&mut self.stream_rest);
        stream.extend_from_slice(bytes);
        let number = self.number as usize;
        let Self { place, tally, ledger, rest, .. } = self;
        let mut ear = Ear { number, place, arrival: record.arrival(), tally, ledger, rest };
        let mut position = 0;
        while let Some(event) = events::next(&stream, &mut position) {
            if event.is_close {
                let code = number_after(&event.data, "\"code\":");
                return Some(code.and_then(|code| u16::try_from(code).ok()).unwrap_or(1005));
            }
            ear.text(&event.data, record);
        }
        stream.drain(..position);
        if stream.len() > record.limits.message_bytes {
            record.counters.violations += 1;
            record.last_error = Some("an event is too long".to_owned());
            return Some(1009);
        }
        // An idle connection owns no buffer.
        if !stream.is_empty() {
            self.stream_rest = stream;
        }
        None
    }
}

/// Bytes of an answer to a poll: it ends with the message that completes a MiB, and has a frame around each.
fn longest_answer(record: &Record) -> usize {
    record.limits.message_bytes.saturating_mul(4)
}
