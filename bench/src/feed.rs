//! Publishing, without a runtime: a few system calls per message, so that clients and publisher can share a core.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use crate::error::{Error, io};
use crate::load::{CHANNEL, Shape, payload};
use crate::plan::{Feed, Plan};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection over which messages are published.
pub(crate) struct Publisher {
    way: Way,
    stream: TcpStream,
    number: u64,
    out: Vec<u8>,
}

enum Way {
    Lines,
    Nats,
}

impl Publisher {
    pub(crate) fn new(plan: &Plan) -> Result<Self, Error> {
        let (way, address) = match &plan.feed {
            Feed::Floor(address) => (Way::Lines, *address),
            Feed::Nats(address) => (Way::Nats, *address),
        };
        let mut stream = TcpStream::connect(address).map_err(io("cannot connect to publish"))?;
        stream.set_nodelay(true).map_err(io("TCP_NODELAY"))?;
        stream.set_read_timeout(Some(ANSWER)).map_err(io("a time limit"))?;
        if matches!(way, Way::Nats) {
            greet(&mut stream).map_err(io("NATS did not answer"))?;
        }
        Ok(Self { way, stream, number: 0, out: Vec::new() })
    }

    /// Publishes so many messages at once, each stamped with the time.
    pub(crate) fn publish(&mut self, shape: Shape, count: u64) -> Result<(), Error> {
        self.publish_on(CHANNEL, shape, count)
    }

    /// The same on another subject, which the floor knows nothing of.
    pub(crate) fn publish_on(
        &mut self,
        subject: &str,
        shape: Shape,
        count: u64,
    ) -> Result<(), Error> {
        self.out.clear();
        for _ in 0..count {
            self.number += 1;
            let payload = payload(shape, self.number, now_ns());
            match self.way {
                Way::Lines => {
                    self.out.extend_from_slice(&payload);
                    self.out.push(b'\n');
                }
                Way::Nats => {
                    write!(self.out, "PUB {subject} {}\r\n", payload.len())
                        .map_err(io("memory"))?;
                    self.out.extend_from_slice(&payload);
                    self.out.extend_from_slice(b"\r\n");
                }
            }
        }
        self.stream.write_all(&self.out).map_err(io("cannot publish"))?;
        match self.way {
            Way::Lines => Ok(()),
            Way::Nats => self.hear().map_err(io("NATS")),
        }
    }

    /// Answers what NATS asks now and then.
    fn hear(&mut self) -> std::io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let mut bytes = [0; 1_024];
        let heard = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false)?;
        match heard {
            Ok(count) => {
                let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
                match text.contains("PING") {
                    true => self.stream.write_all(b"PONG\r\n"),
                    false if text.contains("-ERR") => Err(std::io::Error::other(text.into_owned())),
                    false => Ok(()),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Connects as the simplest of clients.
fn greet(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")?;
    let (mut text, mut bytes) = (String::new(), [0; 4_096]);
    while !text.contains("PONG\r\n") {
        match stream.read(&mut bytes)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => {
                text += &String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// Unix time (ns).
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
