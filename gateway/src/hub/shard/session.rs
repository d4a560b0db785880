//! Sessions: what each command does. Here: `wsgateway.v1`, and what the other protocols do the same way.

mod odin;
mod symbols;

use std::collections::HashMap;

use wsgateway_config::Protocol;
use wsgateway_proto::channel::{self, ChannelError, Kind};
use wsgateway_proto::v1::{self, Command, Id};

use super::Shard;
use super::replay::{From, Opening};
use crate::conn::Phase;
use crate::history::Interest;
use crate::hub::few::Few;
use crate::hub::index::Index;

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

/// The channels of a subscribe command, each once, as far as they are not refused.
struct Asked<'a> {
    /// As the client calls it, as the gateway does, and its kind if the connection does not have it yet.
    channels: Vec<(&'a str, &'a str, Option<Kind>)>,
    /// With their codes.
    rejected: Vec<(&'a str, &'static str)>,
    /// Subscriptions of the connection with these.
    count: usize,
    /// Most bytes that keeping all of these names can cost.
    bytes: usize,
}

impl<'a> Asked<'a> {
    fn valid(&self) -> impl Iterator<Item = &'a str> {
        self.channels.iter().map(|(_, channel, _)| *channel)
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
        let asked = self.sort_out(conn, wanted);
        let looks_back = from != From::Now || snapshot;
        // What a replay of this connection is still to bring may not be overtaken, nor come a second time.
        let waits = asked.valid().any(|channel| self.replays.overlap(conn, channel));
        if looks_back && !self.may_look_back(conn)
            || waits && !self.may_wait(conn)
            || (looks_back || waits) && self.replays.has(conn) && !self.index.fits(asked.bytes)
        {
            return self.too_many_replays(conn, id);
        }
        let Asked { channels, rejected, count, .. } = asked;
        let (mut subscribed, mut interest, mut live) = (Vec::new(), Interest::default(), false);
        for (asked, channel, fresh) in channels {
            match fresh {
                Some(kind) if looks_back || waits => interest.add_new(channel, kind),
                Some(kind) => {
                    self.hold_fresh(conn, channel, kind);
                    live = true;
                    subscribed.push(asked);
                }
                None => subscribed.push(asked),
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

    /// Decides on every channel of a subscribe command, each once. The cost is linear in the command: a name is looked
    /// up in tables, never in lists.
    fn sort_out<'a>(&self, conn: u32, wanted: impl Iterator<Item = Wanted<'a>>) -> Asked<'a> {
        let (held, opening) = (self.held_patterns(conn), self.replays.openings(conn));
        let mut count = self.count_of(&held, &opening);
        let (mut seen, mut fresh_ones) = (Few::new(), Few::new());
        let (mut channels, mut rejected, mut bytes, mut ahead) = (Vec::new(), Vec::new(), 0, 0);
        for Wanted { asked, channel } in wanted.filter(|wanted| seen.insert(wanted.asked)) {
            bytes += Index::most_bytes(asked);
            let one = channel.and_then(|text| {
                let kind = channel::validate(text).map_err(ChannelError::code)?;
                match opening.get(text) {
                    // One that has no answer yet makes this one wait as well.
                    Some(acknowledged) => return Ok((text, (!acknowledged).then_some(kind))),
                    None if self.is_among(&held, text) => return Ok((text, None)),
                    None if fresh_ones.contains(text) => return Ok((text, None)),
                    None => {}
                }
                if count >= self.settings.subscriptions {
                    return Err("too_many_subscriptions");
                }
                if !self.index.has_room(text, ahead) {
                    return Err("index_full");
                }
                count += 1;
                ahead += Index::most_bytes(text);
                fresh_ones.insert(text);
                Ok((text, Some(kind)))
            });
            match one {
                Ok((text, fresh)) => channels.push((asked, text, fresh)),
                Err(code) => rejected.push((asked, code)),
            }
        }
        Asked { channels, rejected, count, bytes }
    }

    /// The patterns that a connection is subscribed to.
    fn held_patterns(&self, conn: u32) -> Few<u32> {
        let connection = self.connections.get(conn as usize);
        let held = connection.map_or(&[][..], |connection| connection.subscriptions.as_slice());
        held.iter().map(|held| held.pattern).collect()
    }

    fn is_among(&self, held: &Few<u32>, text: &str) -> bool {
        !held.is_empty() && self.index.find(text).is_some_and(|number| held.contains(number))
    }

    fn count_of(&self, held: &Few<u32>, opening: &HashMap<&str, bool>) -> usize {
        held.len() + opening.keys().filter(|text| !self.is_among(held, text)).count()
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
        if !self.holds(conn, text) {
            self.hold_fresh(conn, text, kind);
        }
    }

    /// The same when it is known that the connection does not have it.
    fn hold_fresh(&mut self, conn: u32, text: &str, kind: Kind) {
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
        let (mut interest, mut seen, mut bytes) = (Interest::default(), Few::new(), 0);
        for text in channels.iter().map(AsRef::as_ref).filter(|text| seen.insert(*text)) {
            bytes += Index::most_bytes(text);
            match channel::validate(text) {
                Ok(kind) if interest.len() < self.settings.subscriptions => {
                    interest.add_new(text, kind);
                }
                Ok(_) => return self.refuse(conn, id, "too_many_channels", "too many channels"),
                Err(error) => return self.refuse(conn, id, error.code(), &error.to_string()),
            }
        }
        if self.replays.has(conn) && !self.index.fits(bytes) {
            return self.too_many_replays(conn, id);
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
        let mut seen = Few::new();
        let wanted = wanted.filter_map(|wanted| Some((wanted.asked, wanted.channel.ok()?)));
        let wanted: Vec<_> = wanted.filter(|(asked, _)| seen.insert(*asked)).collect();
        let mut unsubscribed = Vec::new();
        for (asked, channel) in self.only_known(conn, wanted, |(_, channel)| channel) {
            if self.let_go(conn, channel) {
                unsubscribed.push(asked);
            }
        }
        let count = self.subscription_count(conn);
        self.send(conn, |out| v1::unsubscription_ack(out, id, &unsubscribed, count));
    }

    /// Leaves out what the connection is not subscribed to, and is not about to be.
    fn only_known<T>(&self, conn: u32, mut all: Vec<T>, channel: impl Fn(&T) -> &str) -> Vec<T> {
        let (held, opening) = (self.held_patterns(conn), self.replays.openings(conn));
        all.retain(|one| {
            let text = channel(one);
            self.is_among(&held, text) || opening.contains_key(text)
        });
        all
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
        self.count_of(&self.held_patterns(conn), &self.replays.openings(conn))
    }

    pub(super) fn unsubscribe_all(&mut self, conn: u32) {
        self.replays.remove_all(conn);
        let connection = self.connections.get(conn as usize);
        let held = connection.map_or(0, |connection| connection.subscriptions.len());
        for place in (0..held).rev() {
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
