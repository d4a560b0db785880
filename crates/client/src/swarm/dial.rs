//! Who connects when, and from where.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::link::Link;
use super::record::Record;
use super::{SwarmError, SwarmOptions, interest};

/// Begins connections at the chosen pace, and knows what each says first.
pub(super) struct Dialer {
    addr: SocketAddr,
    pub(super) host: String,
    pub(super) options: SwarmOptions,
    /// Acknowledgements that each connection waits for, where a dialect knows better.
    acknowledgements: Option<u64>,
    /// When the first one was begun.
    start: Option<Instant>,
}

impl Dialer {
    pub(super) fn new(
        addr: SocketAddr,
        options: SwarmOptions,
        acknowledgements: Option<u64>,
    ) -> Self {
        let host = options.host.clone().unwrap_or_else(|| addr.to_string());
        Self { addr, host, options, acknowledgements, start: None }
    }

    pub(super) fn wanted(&self) -> usize {
        self.options.connections
    }

    /// Answers that all connections wait for together.
    pub(super) fn answers(&self) -> u64 {
        if let Some(each) = self.acknowledgements {
            return each * self.wanted() as u64;
        }
        match &self.options.reconnect {
            Some(_) => self.wanted() as u64,
            None => (0..self.wanted()).map(|i| (self.options.commands)(i).len() as u64).sum(),
        }
    }

    /// What connection `number` says as soon as it is open.
    pub(super) fn first_words(&self, number: usize, cursor: Option<(&str, u64)>) -> Vec<String> {
        match &self.options.reconnect {
            // A dialect has no cursor: it says the same again.
            Some(reconnect) if self.acknowledgements.is_none() => {
                vec![reconnect.command(number, cursor)]
            }
            _ => (self.options.commands)(number),
        }
    }

    /// Begins what is due. Returns when the next one is, if it only waits for its time.
    pub(super) fn dial(
        &mut self,
        connections: &mut Vec<Connection>,
        record: &mut Record,
        registry: &Registry,
    ) -> Result<Option<Duration>, SwarmError> {
        let start = *self.start.get_or_insert_with(Instant::now);
        while connections.len() < self.wanted()
            && record.counters.connecting < self.options.in_flight as u64
        {
            let index = connections.len();
            let due = match (&self.options.due, self.options.per_second) {
                (Some(due), _) => Some(due(index)),
                (None, Some(rate)) => Some(Duration::from_secs(1) / rate.max(1) * index as u32),
                (None, None) => None,
            };
            if let Some(due) = due {
                let wait = due.saturating_sub(start.elapsed());
                if !wait.is_zero() {
                    return Ok(Some(wait));
                }
            }
            let mut connection = Connection::new(index);
            self.dial_one(index, &mut connection, record, registry)?;
            connections.push(connection);
        }
        Ok(None)
    }

    /// Gives a connection a socket and begins to connect it.
    pub(super) fn dial_one(
        &self,
        index: usize,
        connection: &mut Connection,
        record: &mut Record,
        registry: &Registry,
    ) -> Result<(), SwarmError> {
        record.counters.connecting += 1;
        match self.socket(index) {
            Ok(stream) => {
                let mut stream = mio::net::TcpStream::from_std(stream.into());
                registry.register(&mut stream, Token(index), interest())?;
                match Link::new(stream, self.options.tls.as_ref()) {
                    Ok(link) => connection.stream = Some(link),
                    Err(error) => connection.end(record, Some(&error)),
                }
            }
            Err(error) if is_ours(&error) => {
                return Err(SwarmError::Socket {
                    number: index,
                    hint: hint(&error),
                    source: error,
                });
            }
            Err(error) => connection.end(record, Some(&error)),
        }
        Ok(())
    }

    fn socket(&self, index: usize) -> io::Result<Socket> {
        let socket =
            Socket::new(Domain::for_address(self.addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let sources = &self.options.sources;
        if let Some(source) = sources.get(index.checked_rem(sources.len()).unwrap_or_default()) {
            socket.bind(&SocketAddr::new(*source, 0).into())?;
        }
        match socket.connect(&self.addr.into()) {
            Err(error) if !is_under_way(&error) => Err(error),
            _ => Ok(socket),
        }
    }
}

/// `EINPROGRESS` on Linux and macOS; some systems say `EWOULDBLOCK`.
fn is_under_way(error: &io::Error) -> bool {
    const EINPROGRESS: [i32; 2] = [115, 36];
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error().is_some_and(|code| EINPROGRESS.contains(&code))
}

/// Faults of this side, which would repeat with every further connection.
fn is_ours(error: &io::Error) -> bool {
    const EMFILE_ENFILE: [i32; 2] = [24, 23];
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse)
        || error.raw_os_error().is_some_and(|code| EMFILE_ENFILE.contains(&code))
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => {
            "the ports of the source address are used up: give more source addresses"
        }
        _ => "raise the limit of open files: ulimit -n",
    }
}
