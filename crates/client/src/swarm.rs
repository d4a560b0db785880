//! Thousands of connections on one thread.
//!
//! In: a server's address and what each connection should ask for. Out: [`Counters`] over all of
//! them, a [`Tally`] for each, and a latency histogram when the payloads carry a time. The caller
//! drives it: nothing moves outside the `run_` functions, and all waiting has a deadline.
//!
//! Sockets are registered once, edge-triggered, and read into one buffer that all share.

mod again;
mod connection;
mod dial;
mod events;
mod hear;
mod link;
mod observer;
mod options;
mod polls;
mod pushes;
mod record;
mod visits;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use thiserror::Error;
use wsgateway_proto::frame::Opcode;

pub use again::{Channels, Reconnect};
pub use connection::{State, Tally};
pub use hear::{Dialect, Heard};
pub use link::Tls;
pub use observer::{Acknowledgement, Gap, Observer};
pub use options::{
    Commands, Due, Headers, Latency, PER_SOURCE, SwarmOptions, Unit, every, loopback_sources,
    subscribe, subscribe_batched,
};

use crate::counters::Counters;
use again::Again;
use connection::{Connection, Next};
use dial::Dialer;
use record::Record;

/// Bytes of the one read buffer: as much as a socket hands out in one call without growing.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one socket per turn, so that a busy one does not starve the others.
const READS: usize = 16;

/// Events taken from the kernel per turn.
const EVENTS: usize = 1_024;

/// Why a swarm cannot go on.
#[derive(Debug, Error)]
pub enum SwarmError {
    /// The condition did not come true in time.
    #[error("not reached within {within:?}: {counters}{}", because(.last_error))]
    Deadline {
        /// The time that was given.
        within: Duration,
        /// What had been reached.
        counters: Box<Counters>,
        /// The latest failure of a connection.
        last_error: Option<String>,
    },
    /// A connection that was needed was refused, failed or ended.
    #[error("connections were refused or lost: {counters}{}", because(.last_error))]
    Lost {
        /// What had been reached.
        counters: Box<Counters>,
        /// The latest failure of a connection.
        last_error: Option<String>,
    },
    /// A socket could not be made.
    #[error("cannot open connection {number}: {source} ({hint})")]
    Socket {
        /// How many there are already.
        number: usize,
        /// What the kernel said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The poller failed.
    #[error("cannot poll: {0}")]
    Poll(#[from] io::Error),
    /// There is no open connection of this number.
    #[error("connection {0} is not open")]
    NotOpen(usize),
    /// The server takes nothing and too much is waiting.
    #[error("connection {0} has too much to send: the server does not read")]
    Full(usize),
}

fn because(last_error: &Option<String>) -> String {
    last_error.as_ref().map(|error| format!("; last error: {error}")).unwrap_or_default()
}

/// What the poller said about a socket.
#[derive(Clone, Copy, Debug)]
struct Ready {
    index: usize,
    writable: bool,
    readable: bool,
    /// The peer will send no more: a short read is then not the end.
    ended: bool,
}

impl From<&Event> for Ready {
    fn from(event: &Event) -> Self {
        Self {
            index: event.token().0,
            writable: event.is_writable(),
            readable: event.is_readable(),
            ended: event.is_read_closed() || event.is_error(),
        }
    }
}

/// Many connections to one server.
pub struct Swarm {
    poll: Poll,
    events: Events,
    ready: Vec<Ready>,
    /// Sockets that had more than [`READS`] reads last turn.
    unread: Vec<usize>,
    dialer: Dialer,
    /// The way back of those that end, if they come back.
    again: Option<Again>,
    connections: Vec<Connection>,
    record: Record,
    input: Vec<u8>,
}

impl Swarm {
    /// Prepares the connections; they are made while the swarm runs.
    ///
    /// # Errors
    /// When the poller cannot be made.
    pub fn connect(addr: SocketAddr, mut options: SwarmOptions) -> Result<Self, SwarmError> {
        let acknowledgements = options.dialect.as_ref().map(|dialect| dialect.acknowledgements());
        let record = Record::new(&mut options);
        let away = if options.on_call { options.connections } else { 0 };
        Ok(Self {
            again: options
                .reconnect
                .as_ref()
                .map(|options| Again::new(options, acknowledgements != Some(0), away)),
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            ready: Vec::new(),
            unread: Vec::new(),
            connections: match away {
                0 => Vec::with_capacity(options.connections),
                away => (0..away).map(Connection::away).collect(),
            },
            record,
            dialer: Dialer::new(addr, options, acknowledgements),
            input: vec![0; READ_BYTES],
        })
    }

    /// Sums so far.
    pub fn counters(&self) -> &Counters {
        &self.record.counters
    }

    /// Latency in ns, when it was asked for.
    pub fn latency(&self) -> Option<&Histogram<u64>> {
        self.record.latency.as_ref().map(|latency| &latency.histogram)
    }

    /// Forgets the latency so far, as after a warm-up.
    pub fn reset_latency(&mut self) {
        if let Some(latency) = &mut self.record.latency {
            latency.histogram.reset();
        }
    }

    /// What each connection has seen, in the order of dialling.
    pub fn tallies(&self) -> impl ExactSizeIterator<Item = &Tally> {
        self.connections.iter().map(Connection::tally)
    }

    /// The latest failure of a connection, for a message.
    pub fn last_error(&self) -> Option<&str> {
        self.record.last_error.as_deref()
    }

    /// Runs until the condition holds.
    ///
    /// # Errors
    /// [`SwarmError::Deadline`] when it does not hold in time.
    pub fn run_until(
        &mut self,
        mut condition: impl FnMut(&Counters) -> bool,
        within: Duration,
    ) -> Result<(), SwarmError> {
        let start = Instant::now();
        while !condition(&self.record.counters) {
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                let counters = Box::new(self.record.counters.clone());
                let last_error = self.record.last_error.clone();
                return Err(SwarmError::Deadline { within, counters, last_error });
            }
            self.turn(left)?;
        }
        Ok(())
    }

    /// Runs for a time, as a measurement does.
    ///
    /// # Errors
    /// When sockets cannot be made or polled.
    pub fn run_for(&mut self, span: Duration) -> Result<(), SwarmError> {
        match self.run_until(|_| false, span) {
            Err(SwarmError::Deadline { .. }) => Ok(()),
            other => other,
        }
    }

    /// Runs until every connection is open and has had an answer to each of its commands.
    ///
    /// # Errors
    /// As [`Self::run_until`], and [`SwarmError::Lost`] as soon as one is refused, fails or ends.
    pub fn run_until_subscribed(&mut self, within: Duration) -> Result<(), SwarmError> {
        let wanted = self.dialer.wanted() as u64;
        let lost = |c: &Counters| c.refused_in_all() + c.failed + c.closed() > 0;
        let answers = self.dialer.answers();
        let answered = |c: &Counters| c.opened == wanted && c.acks + c.errors >= answers;
        self.run_until(|c| lost(c) || answered(c), within)?;
        if !lost(self.counters()) {
            return Ok(());
        }
        let counters = Box::new(self.record.counters.clone());
        Err(SwarmError::Lost { counters, last_error: self.record.last_error.clone() })
    }

    /// Sends a text message on one connection.
    ///
    /// # Errors
    /// When it is not open, or the server has stopped reading.
    pub fn send(&mut self, index: usize, text: &str) -> Result<(), SwarmError> {
        let connection = self.connections.get_mut(index).filter(|c| c.is_open());
        let connection = connection.ok_or(SwarmError::NotOpen(index))?;
        match connection.send(Opcode::Text, text.as_bytes(), &mut self.record) {
            true => Ok(()),
            false => Err(SwarmError::Full(index)),
        }
    }

    /// Sends a text message on every open connection.
    ///
    /// # Errors
    /// When a server has stopped reading.
    pub fn send_all(&mut self, text: &str) -> Result<(), SwarmError> {
        for index in 0..self.connections.len() {
            if self.connections.get(index).is_some_and(Connection::is_open) {
                self.send(index, text)?;
            }
        }
        Ok(())
    }

    /// Stops reading a connection, as a client that hangs does.
    ///
    /// # Errors
    /// When it is not open.
    pub fn pause(&mut self, index: usize) -> Result<(), SwarmError> {
        self.unread.retain(|other| *other != index);
        let connection = self.connections.get_mut(index).filter(|c| c.is_open());
        let stream = connection.and_then(|c| c.stream.as_mut()).map(|link| &mut link.socket);
        let stream = stream.ok_or(SwarmError::NotOpen(index))?;
        Ok(self.poll.registry().deregister(stream)?)
    }

    /// Reads a paused connection again.
    ///
    /// # Errors
    /// When there is none of this number.
    pub fn resume(&mut self, index: usize) -> Result<(), SwarmError> {
        let stream = self.connections.get_mut(index).and_then(|c| c.stream.as_mut());
        let stream = stream.map(|link| &mut link.socket);
        let stream = stream.ok_or(SwarmError::NotOpen(index))?;
        Ok(self.poll.registry().register(stream, Token(index), interest())?)
    }

    /// Sends a close frame on every open connection; their ends are counted as answers come.
    /// Nobody comes back after that.
    pub fn close_all(&mut self, code: u16) {
        self.again = None;
        for connection in &mut self.connections {
            connection.close(code, &mut self.record);
        }
    }

    /// Ends a connection without a word, as a client that crashes does.
    pub fn hang_up(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.end(&mut self.record, None);
        }
        self.look(index);
    }

    /// Follows a connection that comes back when it ends.
    fn look(&mut self, index: usize) {
        if let Some(again) = &mut self.again
            && let Some(connection) = self.connections.get(index)
        {
            again.look(index, connection, &mut self.record, Instant::now());
        }
    }

    /// One round: dial what is due, wait for sockets, treat them.
    fn turn(&mut self, at_most: Duration) -> Result<(), SwarmError> {
        let registry = self.poll.registry();
        let next_dial = self.dialer.dial(&mut self.connections, &mut self.record, registry)?;
        let next_again = match &mut self.again {
            Some(again) => {
                again.turn(&mut self.connections, &self.dialer, &mut self.record, registry)?
            }
            None => None,
        };
        let next = next_dial.into_iter().chain(next_again).min();
        let wait = match self.unread.is_empty() {
            true => next.map_or(at_most, |next| next.min(at_most)),
            false => Duration::ZERO,
        };
        let wait = match self.dialer.options.nap {
            Some(nap) if !wait.is_zero() => {
                std::thread::sleep(nap.min(wait));
                Duration::ZERO
            }
            _ => wait,
        };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(self.events.iter().map(Ready::from));
        for index in std::mem::take(&mut self.unread) {
            ready.push(Ready { index, writable: false, readable: true, ended: true });
        }
        for event in ready.drain(..) {
            self.handle(event);
            self.look(event.index);
        }
        self.ready = ready;
        Ok(())
    }

    fn handle(&mut self, ready: Ready) {
        let Some(connection) = self.connections.get_mut(ready.index) else { return };
        if ready.writable || ready.ended {
            connection.writable(&mut self.record, &self.dialer);
        }
        if !(ready.readable || ready.ended) {
            return;
        }
        for _ in 0..READS {
            match connection.read(&mut self.input, ready.ended, &mut self.record, &self.dialer) {
                Next::Event => return,
                Next::Read => {}
                Next::Turn => break,
            }
        }
        self.unread.push(ready.index);
    }
}

/// Every socket is watched for both from the start: an edge costs nothing until it comes.
fn interest() -> Interest {
    Interest::READABLE | Interest::WRITABLE
}

#[cfg(test)]
mod tests;
