//! The `wsgateway.v1` session: what each command does.

use wsgateway_proto::channel::{self, Kind};
use wsgateway_proto::v1::{self, Command, Id};

use super::Shard;

impl Shard {
    /// Acts on one command.
    pub(super) fn command(&mut self, conn: u32, text: &str) {
        match v1::parse(text) {
            Ok(Command::Subscribe { id, channels, batch }) => {
                if let (Some(batch), Some(connection)) =
                    (batch, self.connections.get_mut(conn as usize))
                {
                    connection.form.batch = batch;
                }
                self.subscribe(conn, id, &channels);
            }
            Ok(Command::Unsubscribe { id, channels }) => self.unsubscribe(conn, id, &channels),
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                self.send(conn, |out| v1::pong(out, timestamp, crate::source::unix_ms()));
            }
            Err(error) => {
                self.totals.command_errors += 1;
                self.send(conn, |out| v1::error(out, error.id, error.code, &error.message));
            }
        }
    }

    fn subscribe(&mut self, conn: u32, id: Option<Id<'_>>, channels: &[impl AsRef<str>]) {
        let (mut subscribed, mut rejected) = (Vec::new(), Vec::new());
        for text in channels.iter().map(AsRef::as_ref) {
            match channel::validate(text) {
                Err(error) => rejected.push((text, error.code())),
                Ok(kind) => match self.subscribe_one(conn, text, kind) {
                    Ok(()) => subscribed.push(text),
                    Err(code) => rejected.push((text, code)),
                },
            }
        }
        let (count, offset) = (self.subscription_count(conn), self.position);
        self.send(conn, |out| v1::subscription_ack(out, id, &subscribed, &rejected, count, offset));
    }

    /// Subscribing twice is one subscription.
    fn subscribe_one(&mut self, conn: u32, text: &str, kind: Kind) -> Result<(), &'static str> {
        let known = self.index.find(text);
        let Some(connection) = self.connections.get_mut(conn as usize) else { return Ok(()) };
        let subscriptions = &mut connection.subscriptions;
        if known.is_some_and(|number| subscriptions.iter().any(|held| held.pattern == number)) {
            return Ok(());
        }
        if subscriptions.len() >= self.settings.subscriptions {
            return Err("too_many_subscriptions");
        }
        let place = subscriptions.len() as u32;
        if subscriptions.len() == subscriptions.capacity() {
            // Few clients have many subscriptions: grow by what most of them need, not by doubling.
            subscriptions.reserve_exact((subscriptions.len() / 2).max(3));
        }
        subscriptions.push(self.index.subscribe(text, kind == Kind::Wildcard, conn, place));
        self.totals.subscriptions += 1;
        Ok(())
    }

    fn unsubscribe(&mut self, conn: u32, id: Option<Id<'_>>, channels: &[impl AsRef<str>]) {
        let mut unsubscribed = Vec::new();
        for text in channels.iter().map(AsRef::as_ref) {
            let held = self.index.find(text).and_then(|number| {
                let connection = self.connections.get(conn as usize)?;
                connection.subscriptions.iter().position(|held| held.pattern == number)
            });
            if let Some(place) = held {
                self.drop_subscription(conn, place);
                unsubscribed.push(text);
            }
        }
        let count = self.subscription_count(conn);
        self.send(conn, |out| v1::unsubscription_ack(out, id, &unsubscribed, count));
    }

    fn subscription_count(&self, conn: u32) -> usize {
        self.connections.get(conn as usize).map_or(0, |connection| connection.subscriptions.len())
    }

    pub(super) fn unsubscribe_all(&mut self, conn: u32) {
        for place in (0..self.subscription_count(conn)).rev() {
            self.drop_subscription(conn, place);
        }
    }

    /// Ends one subscription and sets right the two back-indices that its end moves.
    fn drop_subscription(&mut self, conn: u32, place: usize) {
        let Some(connection) = self.connections.get_mut(conn as usize) else { return };
        let ended = connection.subscriptions.swap_remove(place);
        if let Some(moved_here) = connection.subscriptions.get(place) {
            self.index.renumber(*moved_here, place as u32);
        }
        if let Some(moved) = self.index.unsubscribe(ended) {
            let other = self.connections.get_mut(moved.who.conn as usize);
            if let Some(subscription) =
                other.and_then(|c| c.subscriptions.get_mut(moved.who.place as usize))
            {
                subscription.place = moved.to;
            }
        }
        self.totals.subscriptions -= 1;
    }
}
