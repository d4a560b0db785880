//! A socket of which compressed frames are read as plain ones.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::deflate::{Fault, Inflating};

/// Bytes that one read takes at most. They stand on the stack: an idle connection holds none.
const READ: usize = 8 << 10;
/// What is read from is kept up to here.
const KEEP: usize = 64 << 10;

pub(crate) struct Inflated<S> {
    socket: S,
    inflating: Inflating,
    plain: Vec<u8>,
    position: usize,
}

impl<S> Inflated<S> {
    /// `rest` is what came behind the answer to the upgrade.
    pub(crate) fn new(socket: S, limit: usize, rest: &[u8]) -> Result<Self, Fault> {
        let (mut inflating, mut plain) = (Inflating::new(limit), Vec::new());
        inflating.take(rest, &mut plain)?;
        Ok(Self { socket, inflating, plain, position: 0 })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inflated<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.position == this.plain.len() {
            this.plain.clear();
            this.plain.shrink_to(KEEP);
            this.position = 0;
            let mut bytes = [0; READ];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.socket).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let taken = this.inflating.take(read.filled(), &mut this.plain);
            taken.map_err(io::Error::other)?;
        }
        let waiting = &this.plain[this.position..];
        let count = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..count]);
        this.position += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inflated<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
