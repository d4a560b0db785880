//! One question to a page of a target, with an end to everything: a page that hangs, drips or never ends is no answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// From the first byte of the question to the last one of the answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer: /status and /health have less than ten thousand.
const MOST_BYTES: usize = 1 << 20;
const PIECE: usize = 8 << 10;

/// The whole answer, its head included.
pub(super) fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let end = Instant::now() + TIMEOUT;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; PIECE]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(hangs());
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                return Err(hangs());
            }
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        if answer.len() > MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"));
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn hangs() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {TIMEOUT:?}"))
}
