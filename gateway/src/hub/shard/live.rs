//! Live: who is subscribed to what, and where in the stream this shard is.
//!
//! In: messages of the stream in order, and subscriptions. Out: each message on the lists of its subscribers. Owns the
//! index and the clients; the back-index in each connection is kept in step with it here and nowhere else. Knows neither
//! commands nor the past.

use std::sync::Arc;

use wsgateway_proto::channel::Kind;

use crate::clients::Clients;
use crate::encode::Delivery;
use crate::hub::few::Few;
use crate::index::{Index, Moved, Subscription};

/// The clients of a shard with their live subscriptions.
#[derive(Debug)]
pub(crate) struct Live {
    pub clients: Clients,
    pub index: Index,
    /// Offset of the last message marked for its receivers.
    pub position: u64,
}

impl Live {
    /// Nobody is subscribed to anything; names may cost so many bytes.
    pub(super) fn new(clients: Clients, name_bytes: usize) -> Self {
        Self { clients, index: Index::new(name_bytes), position: 0 }
    }

    /// Identity of the stream.
    pub(super) fn epoch(&self) -> &Arc<str> {
        self.clients.epoch()
    }

    /// Puts a message on the list of everybody who is subscribed to its channel.
    pub(super) fn mark(&mut self, delivery: Arc<Delivery>) {
        self.position = delivery.offset;
        self.index.resolve(&delivery.channel);
        if self.clients.mark(&delivery, self.index.receivers(&delivery.channel)) {
            self.clients.keep(delivery);
        }
    }

    fn subscriptions(&self, conn: u32) -> &[Subscription] {
        self.clients.get(conn).map_or(&[], |connection| connection.subscriptions.as_slice())
    }

    /// Patterns that come live to a connection.
    pub(super) fn held(&self, conn: u32) -> impl Iterator<Item = &str> {
        self.subscriptions(conn).iter().filter_map(|held| self.index.text(held.pattern))
    }

    /// The numbers of the patterns that a connection is subscribed to.
    pub(super) fn held_patterns(&self, conn: u32) -> Few<u32> {
        self.subscriptions(conn).iter().map(|held| held.pattern).collect()
    }

    /// Whether a name is one of these patterns.
    pub(super) fn is_among(&self, held: &Few<u32>, text: &str) -> bool {
        !held.is_empty() && self.index.find(text).is_some_and(|number| held.contains(number))
    }

    /// Whether the connection has a subscription.
    pub(super) fn holds(&self, conn: u32, text: &str) -> bool {
        self.place_of(conn, text).is_some()
    }

    fn place_of(&self, conn: u32, text: &str) -> Option<usize> {
        let number = self.index.find(text)?;
        self.subscriptions(conn).iter().position(|held| held.pattern == number)
    }

    /// Subscribes; being subscribed already is fine.
    pub(super) fn hold(&mut self, conn: u32, text: &str, kind: Kind) {
        if !self.holds(conn, text) {
            self.hold_fresh(conn, text, kind);
        }
    }

    /// The same when it is known that the connection does not have it.
    pub(super) fn hold_fresh(&mut self, conn: u32, text: &str, kind: Kind) {
        let Self { clients, index, .. } = self;
        let Some(connection) = clients.get_mut(conn).filter(|connection| connection.is_open())
        else {
            return;
        };
        let subscriptions = &mut connection.subscriptions;
        let place = subscriptions.len() as u32;
        if subscriptions.len() == subscriptions.capacity() {
            // Few clients have many subscriptions: grow by what most of them need, not by doubling.
            subscriptions.reserve_exact((subscriptions.len() / 2).max(3));
        }
        subscriptions.push(index.subscribe(text, kind == Kind::Wildcard, conn, place));
        clients.totals.subscriptions += 1;
    }

    /// Ends a subscription; false when there is none.
    pub(super) fn release(&mut self, conn: u32, text: &str) -> bool {
        let place = self.place_of(conn, text);
        if let Some(place) = place {
            self.release_at(conn, place);
        }
        place.is_some()
    }

    /// Ends all subscriptions of a connection, which may have ended itself.
    pub(super) fn release_all(&mut self, conn: u32) {
        let connection = self.clients.slot_mut(conn);
        let held = connection.map_or(0, |connection| connection.subscriptions.len());
        for place in (0..held).rev() {
            self.release_at(conn, place);
        }
    }

    /// Ends one subscription and sets right the two back-indices that its end moves.
    fn release_at(&mut self, conn: u32, place: usize) {
        let Self { clients, index, .. } = self;
        let Some(connection) = clients.slot_mut(conn) else { return };
        let ended = connection.subscriptions.swap_remove(place);
        if let Some(moved_here) = connection.subscriptions.get(place) {
            index.renumber(*moved_here, place as u32);
        }
        if let Some(Moved { who, to }) = index.unsubscribe(ended) {
            let other = clients.slot_mut(who.conn);
            if let Some(moved) = other.and_then(|c| c.subscriptions.get_mut(who.place as usize)) {
                moved.place = to;
            }
        }
        clients.totals.subscriptions -= 1;
    }
}
