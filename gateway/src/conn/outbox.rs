//! Outbox: what a client's socket did not take yet, as references to shared frames, bounded in bytes.
//!
//! The policy is [`admits`], a function of numbers: beyond the bound a client is closed with 4008 and can come back,
//! so that one stalled reader costs the pod a known amount and costs the others nothing.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::Bytes;

/// Slices handed to one vectored write; the kernel takes up to 1,024, a cache line holds four.
const SLICES: usize = 64;

/// What bounds the memory of waiting frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most bytes waiting for one connection.
    pub per_connection: usize,
    /// Most bytes waiting for all connections of the shard.
    pub per_shard: usize,
}

/// Whether `added` more bytes may wait. A single frame larger than the bound may wait alone, or nobody with a full
/// socket buffer could ever receive it.
pub(crate) fn admits(bounds: &Bounds, connection: usize, shard: usize, added: usize) -> bool {
    let fits_connection = connection == 0 || connection + added <= bounds.per_connection;
    fits_connection && shard + added <= bounds.per_shard.max(added)
}

/// Frames in order; the first may be half sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Bytes>,
    bytes: usize,
    started: bool,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a frame behind the others.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Adds the rest of a frame whose beginning the socket has taken. It must be the first.
    pub(crate) fn push_rest(&mut self, rest: Bytes) {
        debug_assert!(self.frames.is_empty(), "only the first frame can be half sent");
        self.started = true;
        self.push(rest);
    }

    /// Drops everything but a frame that was begun: cutting that one would break the stream of frames. Returns the
    /// bytes given back.
    pub(crate) fn keep_started(&mut self) -> usize {
        let before = self.bytes;
        self.frames.truncate(usize::from(self.started));
        self.bytes = self.frames.iter().map(Bytes::len).sum();
        before - self.bytes
    }

    /// Writes as much as the socket takes. Returns the bytes written; the outbox is empty when [`Outbox::bytes`]
    /// says 0.
    ///
    /// # Errors
    /// Any error of the socket but `WouldBlock`.
    pub(crate) fn write_to(&mut self, mut socket: impl Write) -> io::Result<usize> {
        let mut total = 0;
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(frame);
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    self.advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.frames.front_mut() {
            if written < first.len() {
                self.started |= written > 0;
                let _sent = first.split_to(written);
                return;
            }
            written -= first.len();
            self.started = false;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes `room` bytes and then blocks.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let n = buf.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= n;
            self.taken.extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn frames_leave_in_order_however_narrow_the_socket_is() {
        let mut outbox = Outbox::default();
        outbox.push_rest(Bytes::from_static(b"bc"));
        outbox.push(Bytes::from_static(b"defg"));
        outbox.push(Bytes::from_static(b"h"));
        let mut socket = Narrow { taken: Vec::new(), room: 0 };
        while outbox.bytes() > 0 {
            socket.room = 1;
            outbox.write_to(&mut socket).unwrap();
        }
        assert_eq!(socket.taken, b"bcdefgh");
    }

    #[test]
    fn a_frame_that_was_begun_is_kept_and_the_rest_given_back() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"abc"));
        outbox.push(Bytes::from_static(b"defg"));
        outbox.write_to(&mut Narrow { taken: Vec::new(), room: 1 }).unwrap();
        assert_eq!(outbox.keep_started(), 4);
        assert_eq!(outbox.bytes(), 2);
    }

    #[test]
    fn nothing_begun_means_nothing_kept() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from_static(b"abc"));
        outbox.write_to(&mut Narrow { taken: Vec::new(), room: 3 }).unwrap();
        outbox.push(Bytes::from_static(b"de"));
        assert_eq!(outbox.keep_started(), 2);
    }

    #[test]
    fn the_bound_counts_what_waits_already_and_the_pods_share() {
        let bounds = Bounds { per_connection: 100, per_shard: 250 };
        assert!(admits(&bounds, 60, 60, 40));
        assert!(!admits(&bounds, 60, 60, 41));
        assert!(!admits(&bounds, 60, 240, 40));
        assert!(admits(&bounds, 0, 0, 1_000), "a frame larger than the bound may wait alone");
    }
}
