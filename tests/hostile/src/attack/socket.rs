//! A connection made of bytes, counted.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::Shared;

/// Addresses of loopback that hostile clients come from.
const SOURCES: usize = 8;

/// Largest head of an answer that is read.
const HEAD: usize = 64 << 10;

/// Kernel buffer of a client that does not read (bytes), the least that Linux gives.
const SMALL: u32 = 4 << 10;

/// A text frame, final.
pub(super) const TEXT: u8 = 0x81;

/// A TCP connection.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    shared: Arc<Shared>,
}

impl Socket {
    /// Connects from one of several addresses; `small` with the smallest receive buffer.
    pub(super) async fn connect(
        shared: &Arc<Shared>,
        number: usize,
        small: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if small {
            socket.set_recv_buffer_size(SMALL)?;
        }
        let last = (number % SOURCES) as u8 + 1;
        socket.bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0)))?;
        let stream = socket.connect(shared.target).await?;
        stream.set_nodelay(true)?;
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Self { stream, shared: shared.clone() })
    }

    /// Connects and upgrades, with further header lines.
    pub(super) async fn upgrade(
        shared: &Arc<Shared>,
        headers: &str,
        small: bool,
    ) -> io::Result<Self> {
        let mut socket = Self::connect(shared, fastrand::usize(..SOURCES), small).await?;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: hostile\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: wsgateway.v1\r\n{headers}\r\n"
        );
        socket.send(request.as_bytes()).await?;
        match socket.head().await? {
            101 => {
                shared.upgraded.fetch_add(1, Ordering::Relaxed);
                Ok(socket)
            }
            _ => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Reads the head of an answer, byte by byte so that nothing behind it is taken; returns the status.
    pub(super) async fn head(&mut self) -> io::Result<u16> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD {
                return Err(ErrorKind::InvalidData.into());
            }
            head.push(self.stream.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&head);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if !matches!(status, 101 | 200) {
            Shared::count(&self.shared.refused, status);
        }
        Ok(status)
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Reads everything and throws it away, to the end; counts how that came.
    pub(super) async fn drain(self) -> io::Result<()> {
        let (reader, _writer) = self.stream.into_split();
        drain(reader, self.shared).await
    }

    /// A half to write to, while everything that comes is thrown away.
    pub(super) fn split(self) -> Writer {
        let (reader, writer) = self.stream.into_split();
        let shared = self.shared.clone();
        let reading = tokio::spawn(async move { drain(reader, shared).await });
        Writer { writer, reading, shared: self.shared }
    }
}

/// The writing half.
pub(super) struct Writer {
    writer: OwnedWriteHalf,
    reading: JoinHandle<io::Result<()>>,
    shared: Arc<Shared>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Writer {
    /// Sends bytes as they are. On an error what the gateway said last is still read.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.reading.is_finished() {
            true => Err(ErrorKind::ConnectionReset.into()),
            false => self.writer.write_all(bytes).await,
        };
        if sent.is_err() {
            // An error says that it has been read to the end already.
            drop((&mut self.reading).await);
        }
        self.shared.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        sent
    }

    /// Waits until the gateway ends the connection.
    pub(super) async fn ended(&mut self) {
        if !self.reading.is_finished() {
            drop((&mut self.reading).await);
        }
    }
}

async fn drain(mut reader: OwnedReadHalf, shared: Arc<Shared>) -> io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    let mut last = Vec::new();
    loop {
        match reader.read(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                last.extend_from_slice(bytes.get(..count).unwrap_or_default());
                let surplus = last.len().saturating_sub(LONGEST_CLOSE);
                last.drain(..surplus);
            }
        }
    }
    Shared::count(&shared.closed, close_code(&last));
    Ok(())
}

/// A close frame with the longest reason.
const LONGEST_CLOSE: usize = 127;

/// The code of a close frame at the end of what came; 1006 without one.
fn close_code(last: &[u8]) -> u16 {
    let at_end = |at: &usize| match last.get(*at..) {
        Some([0x88, length, rest @ ..]) => *length >= 2 && usize::from(*length) == rest.len(),
        _ => false,
    };
    let found = (0..last.len()).find(at_end).and_then(|at| last.get(at + 2..at + 4));
    found.and_then(|code| code.first_chunk()).map_or(1006, |code| u16::from_be_bytes(*code))
}

#[cfg(test)]
mod tests {
    use super::close_code;

    #[test]
    fn the_close_code_is_that_of_a_close_frame_at_the_end() {
        assert_eq!(close_code(b"\x81\x02{}\x88\x02\x03\xf1"), 1009);
        assert_eq!(close_code(b"\x88\x04\x0f\xa8ab"), 4008);
        assert_eq!(close_code(b"\x81\x02{}"), 1006);
        assert_eq!(close_code(b""), 1006);
    }
}
