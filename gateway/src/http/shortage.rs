//! Want of file descriptors: every client is answered all the same, and the pod says that it is not ready.
//!
//! A few descriptors are kept in reserve. When the system has no more (EMFILE, ENFILE), the reserve is released, so that
//! probes, metrics and the source go on, and the client port answers each connection with a 503 and closes it, for which
//! one descriptor at a time is enough. It is over when the reserve can be filled again, with some to spare.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use prometheus::IntCounter;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};
use wsgateway_runtime::readiness::Gate;

use crate::metrics::AcceptErrors;

/// Descriptors kept in reserve: what probes, a scrape and a new connection to NATS take.
pub(crate) const RESERVE: usize = 16;

/// Descriptors that must be free before clients are served again: with the reserve alone, the next one would be the last.
const ENOUGH: usize = 2 * RESERVE;

/// How often it is tried whether there are enough again.
const RETRY: Duration = Duration::from_secs(1);

/// Pause after an error that says nothing about descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client is told; the fields are those of every refusal.
const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\ncontent-length: 111\r\nretry-after: 2\r\nconnection: close\r\n\
    access-control-allow-origin: *\r\naccess-control-expose-headers: retry-after\r\n\r\n\
    {\"code\":\"overloaded\",\"message\":\"no file descriptors: try again, another pod may have some\",\
    \"retryAfterMs\":2000}";

/// The acceptor's view of descriptors.
#[derive(Debug)]
pub(crate) struct Shortage {
    /// Empty while there is a shortage.
    reserve: Vec<File>,
    /// When to try again whether it is over.
    retry: Instant,
    gate: Gate,
    refused: IntCounter,
    errors: AcceptErrors,
}

impl Shortage {
    /// Fills the reserve. The gate is closed during a shortage.
    ///
    /// # Errors
    /// When there are not even so many descriptors.
    pub(crate) fn new(gate: Gate, refused: IntCounter, errors: AcceptErrors) -> io::Result<Self> {
        let reserve = open(RESERVE)?;
        gate.open();
        Ok(Self { reserve, retry: Instant::now(), gate, refused, errors })
    }

    /// The next connection that can be served. None: look again.
    pub(super) async fn accept(
        &mut self,
        listener: &AsyncFd<TcpListener>,
    ) -> Option<(TcpStream, IpAddr)> {
        let short = self.reserve.is_empty();
        let accepted = match short {
            false => accept(listener).await,
            // Nobody may come for long, and the pod is to be ready again by itself.
            true => match timeout_at(self.retry, accept(listener)).await {
                Ok(accepted) => accepted,
                Err(_) => return self.end(),
            },
        };
        match accepted {
            Ok((stream, _)) if short => {
                self.refuse(stream);
                if self.retry <= Instant::now() { self.end() } else { None }
            }
            Ok(accepted) => Some(accepted),
            Err(error) if is_shortage(&error) => {
                self.errors.descriptors.inc();
                self.begin(&error).await;
                None
            }
            Err(error) => {
                self.count(&error);
                // The connection was reset before it was accepted, or something that no retry mends.
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    fn count(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::ConnectionAborted => self.errors.aborted.inc(),
            _ => self.errors.other.inc(),
        }
    }

    async fn begin(&mut self, error: &io::Error) {
        if self.reserve.is_empty() {
            // Others have taken what was released.
            return tokio::time::sleep(PAUSE).await;
        }
        tracing::error!(
            %error,
            "no file descriptors: clients are answered 503; raise the limit of open files of the container or of the \
             node, or lower capacity.connectionsPerPod"
        );
        self.gate.close();
        self.reserve.clear();
        self.retry = Instant::now() + RETRY;
    }

    fn end<T>(&mut self) -> Option<T> {
        self.retry = Instant::now() + RETRY;
        if let Ok(mut files) = open(ENOUGH) {
            files.truncate(RESERVE);
            self.reserve = files;
            self.gate.open();
            tracing::info!("there are file descriptors again: clients are served");
        }
        None
    }

    /// Says so and hangs up, without waiting for anything.
    fn refuse(&self, mut stream: TcpStream) {
        self.refused.inc();
        // Whatever fails here, the connection is closed.
        let _written = stream.write(ANSWER);
        let _ended = stream.shutdown(Shutdown::Write);
        // A request that is not read would make a reset of the end, which may overtake the answer.
        let mut request = [0; 4 << 10];
        let _read = stream.read(&mut request);
    }
}

/// The next connection, non-blocking, and where it comes from: one system call while there are some.
async fn accept(listener: &AsyncFd<TcpListener>) -> io::Result<(TcpStream, IpAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = ready.try_io(|listener| Ok(acceptfrom_with(listener.get_ref(), flags)?));
        if let Ok(accepted) = accepted {
            let (socket, peer) = accepted?;
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            let ip = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
            return Ok((socket.into(), ip));
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn open(count: usize) -> io::Result<Vec<File>> {
    (0..count).map(|_| File::open("/dev/null")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_one_whole_response() {
        let text = str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["code"], &body["retryAfterMs"]), (&"overloaded".into(), &2000.into()));
    }

    #[test]
    fn want_of_descriptors_is_told_from_other_errors() {
        assert!([24, 23].iter().all(|code| is_shortage(&io::Error::from_raw_os_error(*code))));
        assert!(!is_shortage(&io::Error::from_raw_os_error(103)));
        assert!(!is_shortage(&io::Error::other("no")));
    }
}
