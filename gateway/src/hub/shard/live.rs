//! Live: who is subscribed to what, and where in the stream this shard is.
//!
//! In: messages of the stream in order, and subscriptions. Out: each message on the lists of its subscribers. Owns the
//! index and the clients; the back-index in each connection is kept in step with it here and nowhere else. Knows neither
//! commands nor the past.

use std::collections::BTreeMap;
use std::sync::Arc;

use wsgateway_proto::channel::Kind;

use super::paced::{Emission, Paced};
use crate::clients::Clients;
use crate::encode::{Delivery, Skipped};
use crate::hub::few::Few;
use crate::index::{Index, Moved, Subscriber, Subscription};

/// The clients of a shard with their live subscriptions.
#[derive(Debug)]
pub(crate) struct Live {
    pub clients: Clients,
    pub index: Index,
    /// Offset of the last message marked for its receivers.
    pub position: u64,
    /// Channels with `maxRate` whose interval is under way.
    pub(super) paced: Paced,
    /// Whether some channel has such a rule.
    pub(super) paces: bool,
}

impl Live {
    /// Nobody is subscribed to anything; names may cost so many bytes.
    pub(super) fn new(clients: Clients, name_bytes: usize) -> Self {
        Self {
            clients,
            index: Index::new(name_bytes),
            position: 0,
            paced: Paced::default(),
            paces: false,
        }
    }

    /// Identity of the stream.
    pub(super) fn epoch(&self) -> &Arc<str> {
        self.clients.epoch()
    }

    /// Puts a message on the list of everybody who is subscribed to its channel.
    pub(super) fn mark(&mut self, delivery: Arc<Delivery>) {
        self.position = delivery.offset;
        self.clients.totals.messages += 1;
        self.index.resolve(&delivery.channel);
        // The one branch that costs those who have no such rule.
        if delivery.treatment.max_rate > 0 || !self.paced.is_empty() {
            return self.pace(delivery);
        }
        if self.clients.mark(&delivery, self.index.receivers(&delivery.channel)) > 0 {
            self.clients.keep(delivery);
        }
    }

    /// The same for a message that its channel's rule may let wait.
    fn pace(&mut self, delivery: Arc<Delivery>) {
        if self.index.receivers(&delivery.channel).next().is_none() {
            return self.paced.forget(&delivery.channel);
        }
        if let Some(emission) = self.paced.arrive(delivery, self.clients.clock.now_us) {
            self.emit(&emission);
        }
    }

    /// Puts the next message whose interval has ended on the lists of its subscribers; false when there is none.
    pub(super) fn emit_due(&mut self) -> bool {
        let Some(emission) = self.paced.due(self.clients.clock.now_us) else { return false };
        // Patterns may have come or gone since it arrived.
        self.index.resolve(&emission.delivery.channel);
        self.emit(&emission);
        true
    }

    fn emit(&mut self, emission: &Emission) {
        let Self { clients, index, paced, .. } = self;
        let channel = &emission.delivery.channel;
        if paced.has_no_joins() {
            let all = index.receivers(channel);
            return give(clients, emission, emission.skipped, all);
        }
        for (share, receivers) in shares(paced, index, emission) {
            let skipped = share.map(|(from, to)| Skipped { from, to });
            give(clients, emission, skipped, std::iter::once(&receivers[..]));
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
        let subscription = index.subscribe(text, kind == Kind::Wildcard, conn, place);
        subscriptions.push(subscription);
        clients.totals.subscriptions += 1;
        let now_us = clients.clock.now_us;
        self.paced.joined(conn, subscription.pattern, self.position, now_us);
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

/// Puts a message on lists, after a report of what it replaces.
fn give<'a>(
    clients: &mut Clients,
    emission: &Emission,
    skipped: Option<Skipped>,
    receivers: impl Iterator<Item = &'a [Subscriber]>,
) {
    let delivery = match skipped {
        Some(skipped) => emission.delivery.after(skipped),
        None => Arc::clone(&emission.delivery),
    };
    let count = clients.mark(&delivery, receivers);
    if count > 0 {
        clients.keep(delivery);
    }
    if skipped.is_some() {
        clients.totals.rate_conflated += emission.count * count as u64;
    }
}

/// Who gets a message while some subscriptions are younger than what it replaces, by what is to be reported to them.
fn shares(
    paced: &Paced,
    index: &Index,
    emission: &Emission,
) -> BTreeMap<Option<(u64, u64)>, Vec<Subscriber>> {
    let mut all: Vec<(u32, u64, Subscriber)> = Vec::new();
    for (pattern, subscribers) in index.receivers_by_pattern(&emission.delivery.channel) {
        all.extend(
            subscribers.iter().map(|who| (who.conn, paced.joined_at(who.conn, pattern), *who)),
        );
    }
    // Of the patterns of one client the oldest decides.
    all.sort_unstable_by_key(|(conn, joined, _)| (*conn, *joined));
    all.dedup_by_key(|(conn, ..)| *conn);
    let mut shares = BTreeMap::<_, Vec<Subscriber>>::new();
    for (_, joined, who) in all {
        if let Some(skipped) = emission.share(joined) {
            let share = skipped.map(|range| (range.from, range.to));
            shares.entry(share).or_default().push(who);
        }
    }
    shares
}
