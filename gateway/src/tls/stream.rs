//! A session over a socket of the HTTP server.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::{Link, Session};

/// Bytes read at once: a request's head.
const BUFFER: usize = 4 << 10;

/// A connection with TLS.
#[derive(Debug)]
pub(crate) struct TlsStream {
    stream: TcpStream,
    session: Box<Session>,
    /// What was decrypted and not read.
    plain: Vec<u8>,
}

impl TlsStream {
    /// A session over its socket.
    pub(crate) fn new(stream: TcpStream, session: Box<Session>) -> Self {
        Self { stream, session, plain: Vec::new() }
    }

    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.session.receive(bytes, &mut self.plain).map_err(|broken| {
            // The alert, if the socket has room for it.
            if let Ok(count) = self.stream.try_write(self.session.unsent()) {
                self.session.sent(count);
            }
            io::Error::new(io::ErrorKind::InvalidData, broken)
        })
    }

    /// Waits until both sides have keys; some bytes were `read` of the socket.
    ///
    /// # Errors
    /// The client has gone, or has nothing in common with us, which it is told.
    pub(crate) async fn shake_hands(&mut self, read: &mut [u8]) -> io::Result<()> {
        let shaken = match self.receive(read) {
            Ok(()) => poll_fn(|context| self.poll_hands(context)).await,
            Err(error) => Err(error),
        };
        if shaken.is_err() {
            let _alerted = poll_fn(|context| self.poll_send(context)).await;
        }
        shaken
    }

    fn poll_hands(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = self.poll_send(context)?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            // A client that does not take our part of it says nothing more either.
            ready!(sent);
            if ready!(self.poll_fill(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads once from the socket; returns how many bytes came.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut bytes = [0; BUFFER];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        let filled = read.filled_mut();
        self.receive(filled)?;
        Poll::Ready(Ok(filled.len()))
    }

    /// Writes what waits, encrypted.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.waiting() > 0 {
            let unsent = self.session.unsent();
            match ready!(Pin::new(&mut self.stream).poll_write(context, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.session.sent(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.session.has_ended() {
            if ready!(self.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
            // Keys that change, for example: who reads may have nothing to write.
            if let Poll::Ready(Err(error)) = self.poll_send(context) {
                return Poll::Ready(Err(error));
            }
        }
        let count = self.plain.len().min(buffer.remaining());
        buffer.put_slice(self.plain.get(..count).unwrap_or_default());
        drop(self.plain.drain(..count));
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // One record waits at most.
        ready!(self.poll_send(context))?;
        let count = self.session.encrypt(bytes).map_err(io::Error::other)?;
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.close();
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection of the HTTP server, without or with TLS.
pub(crate) type Wire = Either<TcpStream, Box<TlsStream>>;

/// A connection that comes back from a shard.
///
/// # Errors
/// It cannot be watched.
pub(crate) fn wire_of(link: Link) -> io::Result<Wire> {
    let stream = TcpStream::from_std(link.stream)?;
    Ok(match link.session {
        None => Either::Left(stream),
        Some(session) => Either::Right(Box::new(TlsStream::new(stream, session))),
    })
}

/// A connection without the HTTP server, and what was decrypted and not read.
///
/// # Errors
/// It cannot be taken from the runtime.
pub(crate) fn into_link(wire: Wire) -> io::Result<(Link, Bytes)> {
    match wire {
        Either::Left(stream) => Ok((Link::from(stream.into_std()?), Bytes::new())),
        Either::Right(tls) => {
            let TlsStream { stream, session, plain } = *tls;
            let link = Link { stream: stream.into_std()?, session: Some(session) };
            Ok((link, plain.into()))
        }
    }
}
