//! Messages that clients have begun and not ended: what they hold together is bounded for each shard, however many
//! clients there are.
//!
//! A decoder's bytes count while it lies in its connection: it is entered when it is put there and taken out when it
//! leaves, whichever way.

use std::cmp::Reverse;
use std::num::NonZeroU32;

use wsgateway_proto::decoder::Decoder;
use wsgateway_proto::frame::Role;

use super::{Clients, active};

/// Bytes that the decoders of one shard hold.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    bytes: usize,
}

impl Unfinished {
    /// Bytes held now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A decoder is put into its connection.
    pub(super) fn enter(&mut self, decoder: &Decoder) {
        self.bytes += decoder.buffered();
    }

    /// The beginning of a record was so long, and is so long now.
    pub(super) fn replace(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes.saturating_sub(before) + after;
    }

    /// A decoder is taken from its connection.
    pub(super) fn take_out(&mut self, decoder: &Decoder) {
        self.bytes = self.bytes.saturating_sub(decoder.buffered());
    }
}

/// A connection with an unfinished message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    conn: u32,
    bytes: usize,
    /// Tick at which its message began.
    since: u32,
}

/// Sorts by who is closed first: the largest message, then the oldest.
fn sort(holders: &mut [Holder]) {
    holders.sort_unstable_by_key(|one| (Reverse(one.bytes), one.since));
}

impl Clients {
    /// Takes a connection's decoder, to feed it, then [`Clients::put_decoder`] puts it back; or for good.
    pub(crate) fn take_decoder(&mut self, conn: u32) -> Option<Decoder> {
        let connection = active(&mut self.connections, conn)?;
        self.unfinished.take_out(&connection.decoder);
        Some(std::mem::replace(&mut connection.decoder, Decoder::new(Role::Server)))
    }

    /// Puts a decoder back into its connection. If unfinished messages hold too much together, closes those with the
    /// largest until an eighth of the bound is free, so that the search for them is rare.
    pub(crate) fn put_decoder(&mut self, conn: u32, decoder: Decoder) {
        let Some(connection) = active(&mut self.connections, conn) else { return };
        self.unfinished.enter(&decoder);
        connection.decoder = decoder;
        self.bound_unfinished();
    }

    /// If unfinished messages hold too much together, closes those with the largest.
    pub(super) fn bound_unfinished(&mut self) {
        if self.unfinished.bytes() <= self.room.unfinished {
            return;
        }
        let enough = self.room.unfinished / 8 * 7;
        let holds = self.open().filter(|(_, connection)| connection.unfinished() > 0);
        let mut holders: Vec<Holder> = holds
            .map(|(conn, connection)| Holder {
                conn,
                bytes: connection.unfinished(),
                since: connection.unfinished_since.map_or(u32::MAX, NonZeroU32::get),
            })
            .collect();
        sort(&mut holders);
        for Holder { conn, .. } in holders {
            if self.unfinished.bytes() <= enough {
                return;
            }
            self.close(conn, 1013, "too many unfinished messages on this pod: reconnect");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_closed_first_and_among_equals_the_oldest() {
        let holder = |conn, bytes, since| Holder { conn, bytes, since };
        let mut all = [holder(1, 10, 5), holder(2, 99, 7), holder(3, 99, 6), holder(4, 11, 1)];
        sort(&mut all);
        assert_eq!(all.map(|one| one.conn), [3, 2, 4, 1]);
    }
}
