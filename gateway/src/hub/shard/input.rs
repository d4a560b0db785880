//! Reading: bytes from sockets become messages of clients.
//!
//! In: which sockets have something to read. Out: each whole message, to a [`Listener`]; pings are answered here. Owns the
//! read buffer, and the line of those whose sockets have more than a turn takes. What must hold: live messages wait for no
//! flood, and every byte and frame is charged before it is acted on.

use std::io::{self, Read};

use wsgateway_proto::decoder::{Event, Limits};
use wsgateway_proto::deflate::Inflater;
use wsgateway_proto::frame::{self, Opcode};

use crate::clients::Clients;
use crate::clients::secured::Received;
use crate::clients::wheel::Timer;
use crate::conn::rate::RateLimit;

/// What sockets may take of a turn, in bytes; who is over it waits for the next one, before others. Well below 1 ms of
/// small commands: as long may a message wait for them, and a turn by itself costs a few microseconds.
pub(super) const PER_TURN: usize = 64 << 10;

/// The same between two writes of a long flush, about a fifth of the time that these take: live messages are on their way.
pub(super) const PER_PAUSE: usize = 16 << 10;

/// The least that a read counts for: each is a system call, and most bring a command or end a connection, which costs as
/// much.
const LEAST: usize = 1 << 10;

/// Bytes read from a socket at once. One buffer per shard, not per connection.
const BUFFER: usize = 64 << 10;

/// Memory that the buffer of what was decrypted keeps between two reads.
const PLAIN_KEPT: usize = 4 << 10;

/// What clients may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub rate: RateLimit,
    pub decoder: Limits,
}

/// A whole message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Message<'_> {
    fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
    }
}

/// Who acts on the messages.
pub(super) trait Listener {
    /// The connections that are read from.
    fn clients(&mut self) -> &mut Clients;

    /// A message that has been charged.
    fn message(&mut self, conn: u32, message: Message<'_>);
}

/// The reading side of a shard.
#[derive(Debug)]
pub(super) struct Input {
    settings: Settings,
    buffer: Vec<u8>,
    /// What was decrypted of it; empty but while it is acted on.
    plain: Vec<u8>,
    /// Sockets that had more to read than one turn takes.
    unread: Vec<Timer>,
    /// Created when the first client sends something compressed. One serves every connection: no message depends on
    /// one before it.
    inflater: Option<Inflater>,
}

impl Input {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            buffer: vec![0; BUFFER],
            plain: Vec::new(),
            unread: Vec::new(),
            inflater: None,
        }
    }

    /// Takes up other settings.
    pub(super) fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether no socket is known to have more to read.
    pub(super) fn is_idle(&self) -> bool {
        self.unread.is_empty()
    }

    /// Reads once what a socket has, as far as the turn's budget goes.
    pub(super) fn read(
        &mut self,
        listener: &mut impl Listener,
        conn: u32,
        hung_up: bool,
        budget: &mut usize,
    ) {
        let clients = listener.clients();
        let tick = clients.clock.tick;
        let Some(connection) = clients.get_mut(conn) else { return };
        connection.hung_up |= hung_up;
        let to_the_end = connection.hung_up;
        if connection.unread {
            return; // its turn comes
        }
        if *budget == 0 {
            return self.read_later(clients, conn);
        }
        if connection.form.is_poll() {
            // What follows its request is for the HTTP server, which gets the socket back with it.
            *budget = budget.saturating_sub(LEAST);
            if to_the_end && connection.is_open() {
                clients.remove(conn, 1006);
            }
            return;
        }
        let read = connection.stream.read(&mut self.buffer);
        *budget = budget.saturating_sub(*read.as_ref().unwrap_or(&0).max(&LEAST));
        let more = match read {
            Ok(0) => {
                clients.remove(conn, 1006);
                false
            }
            Ok(count) => {
                connection.heard = tick;
                connection.pinged = false;
                let is_secured = connection.tls.is_some();
                if connection.is_open() {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    let bytes = buffer.get_mut(..count).unwrap_or_default();
                    match is_secured {
                        false => self.consume(listener, conn, bytes),
                        true => self.decrypt(listener, conn, bytes),
                    }
                    self.buffer = buffer;
                }
                // The kernel had less than we asked for: it reports when there is more. The end of a client that has hung
                // up was reported already.
                count == self.buffer.len() || to_the_end
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                clients.remove(conn, 1006);
                false
            }
        };
        if more {
            self.read_later(listener.clients(), conn);
        }
    }

    /// The socket has more to read, and is in the line for it once.
    fn read_later(&mut self, clients: &mut Clients, conn: u32) {
        if let Some(connection) = clients.get_mut(conn)
            && !std::mem::replace(&mut connection.unread, true)
        {
            self.unread.push(Timer { conn, serial: connection.serial });
        }
    }

    /// Reads from those that were cut short before, as far as the budget goes.
    pub(super) fn read_unread(&mut self, listener: &mut impl Listener, budget: &mut usize) {
        let mut unread = std::mem::take(&mut self.unread);
        let mut served = 0;
        for timer in &unread {
            if *budget == 0 {
                break;
            }
            served += 1;
            let clients = listener.clients();
            if clients.is_current(*timer) {
                if let Some(connection) = clients.get_mut(timer.conn) {
                    connection.unread = false;
                }
                self.read(listener, timer.conn, false, budget);
            }
        }
        // Those that still have more queue after those that were not served.
        unread.drain(..served);
        unread.append(&mut self.unread);
        self.unread = unread;
    }

    /// Decrypts bytes and acts on what they say.
    fn decrypt(&mut self, listener: &mut impl Listener, conn: u32, bytes: &mut [u8]) {
        let mut plain = std::mem::take(&mut self.plain);
        let clients = listener.clients();
        let now_us = clients.clock.now_us;
        let received = clients.decrypt(conn, bytes, &mut plain);
        // Records that say nothing cost something, too: keys that change are the dearest.
        let rest = bytes.len().saturating_sub(plain.len());
        let Some(connection) = clients.get_mut(conn) else { return };
        if !connection.rate.take_bytes(&self.settings.rate, now_us, rest) {
            clients.close(conn, 4009, "too many bytes: slow down");
        } else if !plain.is_empty() {
            self.consume(listener, conn, &mut plain);
        }
        let clients = listener.clients();
        match received {
            Received::Open if clients.is_open(conn) => clients.watch_message(conn),
            Received::Open => {}
            Received::Ended | Received::Broken => clients.remove(conn, 1006),
        }
        plain.clear();
        plain.shrink_to(PLAIN_KEPT);
        self.plain = plain;
    }

    /// Decodes bytes and acts on every event in them.
    pub(super) fn consume(&mut self, listener: &mut impl Listener, conn: u32, bytes: &mut [u8]) {
        let clients = listener.clients();
        let now_us = clients.clock.now_us;
        let Some(connection) = clients.get_mut(conn) else { return };
        if !connection.rate.take_bytes(&self.settings.rate, now_us, bytes.len()) {
            return clients.close(conn, 4009, "too many bytes: slow down");
        }
        if connection.form.is_events() {
            return; // nothing that follows its request means anything
        }
        let mut ended_one = false;
        // The decoder lends its buffer to events while the listener acts on the clients: it is put back afterwards.
        let limits = Limits { deflate: connection.form.deflate, ..self.settings.decoder };
        let Some(mut decoder) = clients.take_decoder(conn) else { return };
        let mut position = 0;
        loop {
            match decoder.next(bytes, &mut position, &limits) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    ended_one |= event.is_message();
                    self.event(listener, conn, event);
                }
                Err(violation) => {
                    listener.clients().close(conn, violation.close_code, violation.reason);
                }
            }
            if !listener.clients().is_open(conn) {
                return;
            }
        }
        let clients = listener.clients();
        if ended_one && let Some(connection) = clients.get_mut(conn) {
            // What is unfinished now is another message.
            connection.unfinished_since = None;
        }
        clients.put_decoder(conn, decoder);
        clients.watch_message(conn);
    }

    fn event(&mut self, listener: &mut impl Listener, conn: u32, event: Event<'_>) {
        let clients = listener.clients();
        match event {
            Event::Pong(_) => self.pong(clients, conn),
            Event::Ping(payload) => {
                if self.may_act(clients, conn) {
                    clients.send(conn, |out| frame::write(out, Opcode::Pong, payload));
                }
            }
            Event::Close(None) => clients.close(conn, 1000, ""),
            Event::Close(Some(close)) => clients.close(conn, close.code, ""),
            Event::Deflated(opcode, compressed) => self.inflate(listener, conn, opcode, compressed),
            Event::Text(text) => self.message(listener, conn, Message::Text(text)),
            Event::Binary(bytes) => self.message(listener, conn, Message::Binary(bytes)),
        }
    }

    fn message(&self, listener: &mut impl Listener, conn: u32, message: Message<'_>) {
        if self.may_act(listener.clients(), conn) {
            listener.message(conn, message);
        }
    }

    /// Acts on a compressed message.
    fn inflate(
        &mut self,
        listener: &mut impl Listener,
        conn: u32,
        opcode: Opcode,
        compressed: &[u8],
    ) {
        let mut inflater = self.inflater.take().unwrap_or_default();
        match inflater.message(opcode, compressed, self.settings.decoder.message_bytes) {
            Ok(Event::Text(text)) => self.inflated(listener, conn, Message::Text(text)),
            Ok(Event::Binary(bytes)) => self.inflated(listener, conn, Message::Binary(bytes)),
            Ok(_) => {} // an inflater gives messages only
            Err(violation) => {
                listener.clients().close(conn, violation.close_code, violation.reason)
            }
        }
        inflater.release();
        self.inflater = Some(inflater);
    }

    /// What was small on the way is charged for what it has become.
    fn inflated(&self, listener: &mut impl Listener, conn: u32, message: Message<'_>) {
        let clients = listener.clients();
        let now_us = clients.clock.now_us;
        let Some(connection) = clients.get_mut(conn) else { return };
        if connection.rate.take_bytes(&self.settings.rate, now_us, message.len()) {
            self.message(listener, conn, message);
        } else {
            clients.close(conn, 4009, "too many bytes: slow down");
        }
    }

    /// An answer to a ping is free, one that nobody has asked for is not.
    fn pong(&self, clients: &mut Clients, conn: u32) {
        if !clients.take_pong(conn) {
            self.may_act(clients, conn);
        }
    }

    /// Charges one command; a client that sends too many is closed.
    fn may_act(&self, clients: &mut Clients, conn: u32) -> bool {
        let now_us = clients.clock.now_us;
        let Some(connection) = clients.get_mut(conn) else { return false };
        let may = connection.rate.take(&self.settings.rate, now_us);
        clients.totals.commands += 1;
        if !may {
            clients.close(conn, 4009, "too many commands: slow down");
        }
        may
    }
}
