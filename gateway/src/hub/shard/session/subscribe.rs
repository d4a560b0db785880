//! Subscribing and unsubscribing, the same for the protocols that know channels.

use wsgateway_proto::channel::{self, ChannelError, Kind};
use wsgateway_proto::v1::{self, Id};

use super::Sessions;
use crate::history::Interest;
use crate::hub::few::Few;
use crate::hub::shard::live::Live;
use crate::hub::shard::replay::{Opening, Start, count};
use crate::index::Index;

/// The code for channels that a client may not hear, whether they exist or not.
pub(super) const NOT_ALLOWED: &str = "not_allowed";

/// A channel that a client asks for.
pub(super) struct Wanted<'a> {
    /// As the client calls it, for the answer.
    pub(super) asked: &'a str,
    /// As the gateway calls it, or the code to reject it with.
    pub(super) channel: Result<&'a str, &'static str>,
}

impl<'a> Wanted<'a> {
    /// Channels that both call the same.
    pub(super) fn all(channels: &'a [impl AsRef<str>]) -> impl Iterator<Item = Self> {
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

impl Sessions {
    pub(super) fn subscribe<'a>(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        wanted: impl Iterator<Item = Wanted<'a>>,
        (from, snapshot): (Start, bool),
    ) {
        let wanted: Vec<Wanted<'a>> = wanted.collect();
        if from != Start::Now {
            release_unasked(live, conn, &wanted);
        }
        let asked = self.sort_out(live, conn, wanted.into_iter());
        let looks_back = from != Start::Now || snapshot;
        // What a replay of this connection is still to bring may not be overtaken, nor come a second time.
        let waits = asked.valid().any(|channel| self.replays.overlap(conn, channel));
        if looks_back && !self.replays.may_look_back(conn)
            || waits && !self.replays.may_wait(conn)
            || (looks_back || waits) && self.replays.has(conn) && !live.index.fits(asked.bytes)
        {
            return self.too_many_replays(live, conn, id);
        }
        live.clients.note_asked(conn, asked.valid());
        let Asked { channels, rejected, count, .. } = asked;
        let (mut subscribed, mut interest) = (Vec::new(), Interest::default());
        let mut comes_live = false;
        for (asked, channel, fresh) in channels {
            match fresh {
                Some(kind) if looks_back || waits => interest.add_new(channel, kind),
                Some(kind) => {
                    live.hold_fresh(conn, channel, kind);
                    comes_live = true;
                    subscribed.push(asked);
                }
                None => subscribed.push(asked),
            }
        }
        let values_again = snapshot && from == Start::Now && !subscribed.is_empty();
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
            return self.replays.open(live, conn, opening, interest);
        }
        // No channel is a question: up to where does this connection have everything?
        let offset =
            if comes_live { live.position } else { self.sent_up_to(live, conn, &subscribed) };
        let ack = v1::Ack {
            id,
            subscribed: &subscribed,
            rejected: &rejected,
            rejected_count: rejected.len(),
            count,
            // Nothing new to resume: nothing is missing.
            recovered: (from != Start::Now).then_some(true),
            offset,
        };
        live.clients.send(conn, |out| v1::subscription_ack(out, &ack));
    }

    /// Up to where a connection has been sent everything that is due to it on these channels, or on all of its channels
    /// when none is named. Those that catch up may be behind the others.
    pub(super) fn sent_up_to(&self, live: &Live, conn: u32, names: &[&str]) -> u64 {
        self.replays.cursor(conn, names).map_or(live.position, |cursor| cursor.min(live.position))
    }

    /// Decides on every channel of a subscribe command, each once. The cost is linear in the command: a name is looked
    /// up in tables, never in lists.
    fn sort_out<'a>(
        &self,
        live: &Live,
        conn: u32,
        wanted: impl Iterator<Item = Wanted<'a>>,
    ) -> Asked<'a> {
        let (held, opening) = (live.held_patterns(conn), self.replays.openings(conn));
        let grant = live.clients.grant(conn);
        let mut count = count(live, &held, &opening);
        let (mut seen, mut fresh_ones) = (Few::new(), Few::new());
        let (mut channels, mut rejected, mut bytes, mut ahead) = (Vec::new(), Vec::new(), 0, 0);
        for Wanted { asked, channel } in wanted.filter(|wanted| seen.insert(wanted.asked)) {
            bytes += Index::most_bytes(asked);
            let one = channel.and_then(|text| {
                let kind = channel::validate(text).map_err(ChannelError::code)?;
                if !grant.is_none_or(|grant| grant.permits.allows(text)) {
                    return Err(NOT_ALLOWED);
                }
                match opening.get(text) {
                    // One that has no answer yet makes this one wait as well.
                    Some(acknowledged) => return Ok((text, (!acknowledged).then_some(kind))),
                    None if live.is_among(&held, text) => return Ok((text, None)),
                    None if fresh_ones.contains(text) => return Ok((text, None)),
                    None => {}
                }
                if count >= self.settings.subscriptions {
                    return Err("too_many_subscriptions");
                }
                if !live.index.has_room(text, ahead) {
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

    pub(super) fn unsubscribe<'a>(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        wanted: impl Iterator<Item = Wanted<'a>>,
    ) {
        let mut seen = Few::new();
        let wanted = wanted.filter_map(|wanted| Some((wanted.asked, wanted.channel.ok()?)));
        let wanted: Vec<_> = wanted.filter(|(asked, _)| seen.insert(*asked)).collect();
        let mut unsubscribed = Vec::new();
        for (asked, channel) in self.only_known(live, conn, wanted, |(_, channel)| channel) {
            if self.release(live, conn, channel) {
                unsubscribed.push(asked);
            }
        }
        let count = self.replays.subscription_count(live, conn);
        live.clients.send(conn, |out| v1::unsubscription_ack(out, id, &unsubscribed, count));
    }

    /// Leaves out what the connection is not subscribed to, and is not about to be.
    pub(super) fn only_known<T>(
        &self,
        live: &Live,
        conn: u32,
        mut all: Vec<T>,
        channel: impl Fn(&T) -> &str,
    ) -> Vec<T> {
        let (held, opening) = (live.held_patterns(conn), self.replays.openings(conn));
        all.retain(|one| {
            let text = channel(one);
            live.is_among(&held, text) || opening.contains_key(text)
        });
        all
    }

    /// Ends a subscription, live or on its way; false when there is none.
    pub(super) fn release(&mut self, live: &mut Live, conn: u32, text: &str) -> bool {
        if live.release(conn, text) {
            self.replays.leave_out(conn, text, live.position);
            return true;
        }
        self.replays.withdraw(conn, text)
    }
}

/// Ends subscriptions that a client has without asking and resumes now: they begin again where it was, since what it missed
/// is before its greeting.
fn release_unasked(live: &mut Live, conn: u32, wanted: &[Wanted<'_>]) {
    let Some(grant) = live.clients.grant(conn).cloned().filter(|grant| !grant.set.is_empty())
    else {
        return;
    };
    for pattern in &grant.set {
        if wanted.iter().any(|wanted| wanted.channel == Ok(pattern)) {
            live.release(conn, pattern);
        }
    }
}
