//! The `odin.v1` session: the commands of earlier clients, in each of their spellings.

use std::borrow::Cow;

use wsgateway_proto::odin::{self, Command, Name};

use super::Sessions;
use super::subscribe::Wanted;
use crate::hub::shard::live::Live;
use crate::hub::shard::replay::Start;
use crate::time::unix_ms;

impl Sessions {
    /// Acts on one command.
    pub(super) fn odin_command(&mut self, live: &mut Live, conn: u32, text: &str) {
        match odin::parse(text) {
            Ok(Command::Subscribe { id, names, resume, snapshot }) => {
                let from = Start::of(resume.as_ref(), live.epoch());
                let channels = self.channels(&names);
                self.subscribe(live, conn, id, wanted(&names, &channels), (from, snapshot));
            }
            Ok(Command::Unsubscribe { id, names }) => {
                let channels = self.channels(&names);
                self.unsubscribe(live, conn, id, wanted(&names, &channels));
            }
            Ok(Command::Replay { id, from, to }) => {
                if self.replays.may_look_back(conn) {
                    self.replays.send_numbers(live, conn, id.map(|id| id.keep()), from, to);
                } else {
                    self.too_many_replays(live, conn, id);
                }
            }
            Ok(Command::Auth { id, token }) => self.refresh(live, conn, id, &token),
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                live.clients.send(conn, |out| odin::pong(out, timestamp, unix_ms()));
            }
            Err(error) => self.refuse(live, conn, error.id, error.code, &error.message),
        }
    }

    /// What the gateway calls the channels that a client names.
    fn channels<'a>(&self, names: &'a [Name<'_>]) -> Vec<Result<Cow<'a, str>, &'static str>> {
        let settings = &self.settings.names;
        names.iter().map(|name| name.channel(&settings.strip_prefix, &settings.tokens)).collect()
    }

    /// Gives a new connection what clients of this protocol have from the start.
    pub(super) fn subscribe_initially(&mut self, live: &mut Live, conn: u32) {
        for (channel, kind) in self.settings.names.initial.iter().take(self.settings.subscriptions)
        {
            if live.clients.may_hear(conn, channel) {
                live.hold(conn, channel, *kind);
            }
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
