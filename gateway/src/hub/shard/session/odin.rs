//! The `odin.v1` session: the commands of earlier clients, in each of their spellings.

use std::borrow::Cow;
use std::sync::Arc;

use wsgateway_proto::odin::{self, Command, Name};

use super::{From, Wanted};
use crate::hub::shard::Shard;

impl Shard {
    /// Acts on one command.
    pub(super) fn odin_command(&mut self, conn: u32, text: &str) {
        match odin::parse(text) {
            Ok(Command::Subscribe { id, names, resume, snapshot }) => {
                let from = From::of(resume.as_ref(), &self.epoch);
                let channels = self.channels(&names);
                self.subscribe(conn, id, wanted(&names, &channels), (from, snapshot));
            }
            Ok(Command::Unsubscribe { id, names }) => {
                let channels = self.channels(&names);
                self.unsubscribe(conn, id, wanted(&names, &channels));
            }
            Ok(Command::Replay { id, from, to }) => {
                if self.may_look_back(conn) {
                    self.send_numbers(conn, id.map(|id| id.keep()), from, to);
                } else {
                    self.too_many_replays(conn, id);
                }
            }
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                self.send(conn, |out| odin::pong(out, timestamp, crate::source::unix_ms()));
            }
            Err(error) => self.refuse(conn, error.id, error.code, &error.message),
        }
    }

    /// What the gateway calls the channels that a client names.
    fn channels<'a>(&self, names: &'a [Name<'_>]) -> Vec<Result<Cow<'a, str>, &'static str>> {
        let settings = &self.settings.names;
        names.iter().map(|name| name.channel(&settings.strip_prefix, &settings.tokens)).collect()
    }

    /// Gives a new connection what clients of this protocol have from the start.
    pub(in crate::hub::shard) fn subscribe_initially(&mut self, conn: u32) {
        let names = Arc::clone(&self.settings.names);
        for (channel, kind) in names.initial.iter().take(self.settings.subscriptions) {
            self.hold(conn, channel, *kind);
        }
    }
}

fn wanted<'a>(
    names: &'a [Name<'_>],
    channels: &'a [Result<Cow<'a, str>, &'static str>],
) -> impl Iterator<Item = Wanted<'a>> {
    names.iter().zip(channels).map(|(name, channel)| Wanted {
        asked: name.asked(),
        channel: channel.as_deref().map_err(|code| *code),
    })
}
