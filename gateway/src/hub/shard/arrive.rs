//! Taking fresh connections in: a few a turn, so that a storm of them does not delay messages.

use super::input::Message;
use super::{Parts, Shard};
use crate::conn::{Form, Socket};
use crate::hub::arrivals::Handover;

/// Connections that a turn takes in, however short it was, and between two looks at the clock. About 0.1 ms.
const STEP: usize = 8;

/// Beyond that they get an eighth of the time of the turn's other work: a busy shard takes its clients back as well, and
/// its messages are late by no more than that, and once more for the commands of those who came.
const SHARE: u64 = 8;

impl Shard {
    /// Adopts connections that wait, after so much other work (µs).
    pub(super) fn welcome(&mut self, worked_us: u64) {
        let end_us = self.clients().clock.now_us + worked_us / SHARE;
        let mut arrivals = std::mem::take(&mut self.arrivals);
        loop {
            self.crowded = self.inbox.take_arrivals(STEP, &mut arrivals);
            if arrivals.is_empty() {
                break;
            }
            arrivals.drain(..).for_each(|handover| self.adopt(handover));
            self.clients().clock.update();
            if !self.crowded || self.clients().clock.now_us >= end_us {
                break;
            }
        }
        self.arrivals = arrivals;
        self.settle();
    }

    /// Takes over an upgraded socket: greets it, then treats what it has sent already.
    fn adopt(&mut self, handover: Handover) {
        let socket = Socket {
            stream: mio::net::TcpStream::from_std(handover.stream),
            tls: handover.session,
            form: Form {
                deflate: handover.deflate,
                batch: false,
                protocol: handover.protocol,
                transport: handover.transport,
            },
            grant: handover.grant,
            permit: handover.permit,
        };
        let Some(timer) = self.clients().insert(socket) else { return };
        if let Some(request) = handover.poll {
            self.clients().begin_poll(timer.conn, request);
        }
        let Parts { live, sessions, handler } = &mut self.parts;
        handler.opened(sessions, live, timer.conn, &handover.response);
        for command in &handover.commands {
            handler.message(sessions, live, timer.conn, Message::Text(command));
        }
        if !handover.leftover.is_empty() {
            let mut leftover = Vec::from(handover.leftover);
            self.input.consume(&mut self.parts, timer.conn, &mut leftover);
        }
        if let Some(stranger) = self.parts.sessions.stranger(&self.parts.live, timer.conn) {
            self.parts.dismiss(stranger, "auth");
        }
        let Parts { live, sessions, .. } = &mut self.parts;
        sessions.turn_out(live, timer.conn);
        if let Some(drain) = &self.drain {
            self.parts.dismiss(timer, drain.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::time::Duration;

    use wsgateway_config::{GatewayConfig, MemorySource, Source};

    use super::*;
    use crate::history::{Archive, Bounds, History, Past};
    use crate::hub::inbox::Inbox;
    use crate::hub::shard::Settings;
    use crate::hub::shard::commands::Commands;
    use crate::hub::shard::input::PER_TURN;

    fn shard() -> (Shard, Arc<Inbox>) {
        let config = GatewayConfig::new("test/storm", Source::Memory(MemorySource {}));
        let history = History::new(Bounds { messages: 1, bytes: 1, age_ms: 1 });
        let past = Past { history, archive: Archive::none() };
        let settings = Settings::new(&config, 1, "pod", 0);
        let (shard, inbox, _) = Shard::new(&settings, &Commands, 0, past).unwrap();
        (shard, inbox)
    }

    /// So many on their way in, and their clients.
    fn crowd(inbox: &Inbox, count: usize) -> Vec<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            inbox.arrive(Handover::new(stream));
        }
        clients
    }

    #[test]
    fn a_turn_takes_a_few_of_those_who_come_and_looks_for_the_others_without_waiting() {
        let (mut shard, inbox) = shard();
        let _clients = crowd(&inbox, 2 * STEP + 1);
        for (held, crowded) in [(STEP, true), (2 * STEP, true), (2 * STEP + 1, false)] {
            shard.welcome(0);
            assert_eq!((shard.clients().len(), shard.crowded), (held, crowded));
        }
        // A turn that had much else to do takes more of them.
        let _more = crowd(&inbox, 2 * STEP);
        let hour_us = 3_600_000_000;
        shard.welcome(hour_us);
        assert_eq!((shard.clients().len(), shard.crowded), (4 * STEP + 1, false));
    }

    #[test]
    fn a_turn_ends_a_few_of_those_who_leave_and_the_turns_after_it_all_of_them() {
        const MANY: usize = 200;
        let (mut shard, inbox) = shard();
        let clients = crowd(&inbox, MANY);
        shard.welcome(3_600_000_000);
        assert_eq!(shard.clients().len(), MANY);
        drop(clients);
        let mut held = MANY;
        while held > 0 {
            shard.turn(Duration::ZERO).unwrap();
            let ended = held - shard.clients().len();
            assert!(ended <= PER_TURN / (1 << 10), "{ended} in one turn");
            held -= ended;
        }
    }
}
