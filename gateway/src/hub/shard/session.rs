//! Sessions: what each command does. Here: `wsgateway.v1`, and what the other protocols do the same way.

mod odin;
mod symbols;

use wsgateway_config::Protocol;
use wsgateway_proto::channel::{self, ChannelError, Kind};
use wsgateway_proto::v1::{self, Command, Id};

use super::Shard;
use super::replay::{From, Opening};
use crate::conn::Phase;
use crate::history::Interest;

/// A channel that a client asks for.
struct Wanted<'a> {
    /// As the client calls it, for the answer.
    asked: &'a str,
    /// As the gateway calls it, or the code to reject it with.
    channel: Result<&'a str, &'static str>,
}

impl<'a> Wanted<'a> {
    /// Channels that both call the same.
    fn all(channels: &'a [impl AsRef<str>]) -> impl Iterator<Item = Self> {
        channels.iter().map(AsRef::as_ref).map(|asked| Self { asked, channel: Ok(asked) })
    }
}

impl Shard {
    /// Acts on one command, in the protocol of the connection.
    pub(super) fn command(&mut self, conn: u32, text: &str) {
        match self.protocol(conn) {
            Protocol::WsGateway => self.v1_command(conn, text),
            Protocol::Odin => self.odin_command(conn, text),
            Protocol::Symbols => self.symbols_command(conn, text),
        }
    }

    /// What is spoken with a connection.
    pub(super) fn protocol(&self, conn: u32) -> Protocol {
        let connection = self.connections.get(conn as usize);
        connection.map_or(Protocol::default(), |connection| connection.form.protocol)
    }

    fn v1_command(&mut self, conn: u32, text: &str) {
        match v1::parse(text) {
            Ok(Command::Subscribe { id, channels, batch, resume, snapshot }) => {
                if let (Some(batch), Some(connection)) =
                    (batch, self.connections.get_mut(conn as usize))
                {
                    connection.form.batch = batch;
                }
                let from = From::of(resume.as_ref(), &self.epoch);
                self.subscribe(conn, id, Wanted::all(&channels), (from, snapshot));
            }
            Ok(Command::Replay { id, channels, from, to }) => {
                self.replay_range(conn, id, &channels, (from, to));
            }
            Ok(Command::Unsubscribe { id, channels }) => {
                self.unsubscribe(conn, id, Wanted::all(&channels))
            }
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                let offset = self.sent_up_to(conn, &[]);
                self.send(conn, |out| v1::pong(out, timestamp, crate::source::unix_ms(), offset));
            }
            Err(error) => self.refuse(conn, error.id, error.code, &error.message),
        }
    }

    fn subscribe<'a>(
        &mut self,
        conn: u32,
        id: Option<Id<'_>>,
        wanted: impl Iterator<Item = Wanted<'a>>,
        (from, snapshot): (From, bool),
    ) {
        let wanted: Vec<Wanted<'a>> = wanted.collect();
        let looks_back = from != From::Now || snapshot;
        // What a replay of this connection is still to bring may not be overtaken, nor come a second time.
        let waits =
            wanted.iter().any(|wanted| wanted.channel.is_ok_and(|c| self.replays.overlap(conn, c)));
        if looks_back && !self.may_look_back(conn) || waits && !self.may_wait(conn) {
            return self.too_many_replays(conn, id);
        }
        let (mut subscribed, mut rejected) = (Vec::new(), Vec::new());
        let (mut interest, mut live) = (Interest::default(), false);
        let mut count = self.subscription_count(conn);
        for Wanted { asked, channel } in wanted {
            let one = channel.and_then(|text| {
                let kind = channel::validate(text).map_err(ChannelError::code)?;
                let fresh = self.admit(conn, text, &mut count)?;
                match (fresh, looks_back || waits) {
                    (true, true) => interest.add(text, kind),
                    (true, false) => {
                        self.hold(conn, text, kind);
                        live = true;
                    }
                    (false, _) => {}
                }
                Ok(fresh && (looks_back || waits))
            });
            match one {
                Ok(true) => {}
                Ok(false) => subscribed.push(asked),
                Err(code) => rejected.push((asked, code)),
            }
        }
        let values_again = snapshot && from == From::Now && !subscribed.is_empty();
        if !interest.is_empty() || values_again {
            let kept = |(text, code): (&str, _)| (text.into(), code);
            let opening = Opening {
                id: id.map(|id| id.keep()),
                held: subscribed.into_iter().map(Box::from).collect(),
                rejected: (
                    rejected.iter().copied().take(v1::MAX_REJECTIONS).map(kept).collect(),
                    rejected.len(),
                ),
                from,
                snapshot,
            };
            return self.open(conn, opening, interest);
        }
        // No channel is a question: up to where does this connection have everything?
        let offset = if live { self.position } else { self.sent_up_to(conn, &subscribed) };
        let ack = v1::Ack {
            id,
            subscribed: &subscribed,
            rejected: &rejected,
            rejected_count: rejected.len(),
            count,
            // Nothing new to resume: nothing is missing.
            recovered: (from != From::Now).then_some(true),
            offset,
        };
        self.send(conn, |out| v1::subscription_ack(out, &ack));
    }

    /// Up to where a connection has been sent everything that is due to it on these channels, or on all of its channels
    /// when none is named. Those that catch up may be behind the others.
    fn sent_up_to(&self, conn: u32, names: &[&str]) -> u64 {
        self.replays.cursor(conn, names).map_or(self.position, |cursor| cursor.min(self.position))
    }

    /// Whether the connection may have this subscription: false if it has it already, or is about to. `count` are those
    /// that it has with it.
    fn admit(&self, conn: u32, text: &str, count: &mut usize) -> Result<bool, &'static str> {
        match self.replays.opens(conn, text) {
            // One that has no answer yet makes this one wait as well.
            Some(acknowledged) => return Ok(!acknowledged),
            None if self.holds(conn, text) => return Ok(false),
            None => {}
        }
        if *count >= self.settings.subscriptions {
            return Err("too_many_subscriptions");
        }
        *count += 1;
        Ok(true)
    }

    /// Whether the connection has a subscription.
    pub(super) fn holds(&self, conn: u32, text: &str) -> bool {
        let known = self.index.find(text);
        let connection = self.connections.get(conn as usize);
        let subscriptions = connection.map_or(&[][..], |c| c.subscriptions.as_slice());
        known.is_some_and(|number| subscriptions.iter().any(|held| held.pattern == number))
    }

    /// Makes a subscription; having it already is fine.
    pub(super) fn hold(&mut self, conn: u32, text: &str, kind: Kind) {
        if self.holds(conn, text) {
            return;
        }
        let connection = self.connections.get_mut(conn as usize);
        let Some(connection) = connection.filter(|connection| connection.phase == Phase::Open)
        else {
            return;
        };
        let subscriptions = &mut connection.subscriptions;
        let place = subscriptions.len() as u32;
        if subscriptions.len() == subscriptions.capacity() {
            // Few clients have many subscriptions: grow by what most of them need, not by doubling.
            subscriptions.reserve_exact((subscriptions.len() / 2).max(3));
        }
        subscriptions.push(self.index.subscribe(text, kind == Kind::Wildcard, conn, place));
        self.totals.subscriptions += 1;
    }

    fn replay_range(
        &mut self,
        conn: u32,
        id: Option<Id<'_>>,
        channels: &[impl AsRef<str>],
        (from, to): (u64, Option<u64>),
    ) {
        if !self.may_look_back(conn) {
            return self.too_many_replays(conn, id);
        }
        let mut interest = Interest::default();
        for text in channels.iter().map(AsRef::as_ref) {
            match channel::validate(text) {
                Ok(kind) if interest.len() < self.settings.subscriptions => {
                    interest.add(text, kind);
                }
                Ok(_) => return self.refuse(conn, id, "too_many_channels", "too many channels"),
                Err(error) => return self.refuse(conn, id, error.code(), &error.to_string()),
            }
        }
        self.send_again(conn, id.map(|id| id.keep()), interest, (from, to.unwrap_or(u64::MAX)));
    }

    fn too_many_replays(&mut self, conn: u32, id: Option<Id<'_>>) {
        let message = "replays of this connection are under way: wait for one to end";
        self.refuse(conn, id, "too_many_replays", message);
    }

    fn refuse(&mut self, conn: u32, id: Option<Id<'_>>, code: &str, message: &str) {
        self.totals.command_errors += 1;
        self.send(conn, |out| v1::error(out, id, code, message));
    }

    fn unsubscribe<'a>(
        &mut self,
        conn: u32,
        id: Option<Id<'_>>,
        wanted: impl Iterator<Item = Wanted<'a>>,
    ) {
        let mut unsubscribed = Vec::new();
        for Wanted { asked, channel } in wanted {
            if channel.is_ok_and(|text| self.let_go(conn, text)) {
                unsubscribed.push(asked);
            }
        }
        let count = self.subscription_count(conn);
        self.send(conn, |out| v1::unsubscription_ack(out, id, &unsubscribed, count));
    }

    /// Ends a subscription; false when there is none.
    fn let_go(&mut self, conn: u32, text: &str) -> bool {
        let held = self.index.find(text).and_then(|number| {
            let connection = self.connections.get(conn as usize)?;
            connection.subscriptions.iter().position(|held| held.pattern == number)
        });
        if let Some(place) = held {
            self.drop_subscription(conn, place);
            self.replays.let_go(conn, text, self.position);
        }
        held.is_some() || self.replays.withdraw(conn, text)
    }

    /// Subscriptions that the connection has, or is about to have.
    pub(super) fn subscription_count(&self, conn: u32) -> usize {
        let connection = self.connections.get(conn as usize);
        let held = connection.map_or(0, |connection| connection.subscriptions.len());
        held + self.replays.opening(conn).into_iter().filter(|text| !self.holds(conn, text)).count()
    }

    pub(super) fn unsubscribe_all(&mut self, conn: u32) {
        self.replays.remove_all(conn);
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
