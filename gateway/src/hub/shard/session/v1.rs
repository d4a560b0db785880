//! The `wsgateway.v1` session.

use wsgateway_proto::channel;
use wsgateway_proto::v1::{self, Command, Id};

use super::Sessions;
use super::subscribe::{NOT_ALLOWED, Wanted};
use crate::history::Interest;
use crate::hub::few::Few;
use crate::hub::shard::live::Live;
use crate::hub::shard::replay::Start;
use crate::index::Index;
use crate::time::unix_ms;

impl Sessions {
    /// Acts on one command.
    pub(super) fn v1_command(&mut self, live: &mut Live, conn: u32, text: &str) {
        match v1::parse(text) {
            Ok(Command::Subscribe { id, channels, batch, resume, snapshot }) => {
                if let (Some(batch), Some(connection)) = (batch, live.clients.get_mut(conn)) {
                    connection.form.batch = batch;
                }
                let from = Start::of(resume.as_ref(), live.epoch());
                self.subscribe(live, conn, id, Wanted::all(&channels), (from, snapshot));
            }
            Ok(Command::Replay { id, channels, from, to }) => {
                self.replay_range(live, conn, id, &channels, (from, to));
            }
            Ok(Command::Unsubscribe { id, channels }) => {
                self.unsubscribe(live, conn, id, Wanted::all(&channels))
            }
            Ok(Command::Ping { timestamp } | Command::Heartbeat { timestamp }) => {
                let offset = self.sent_up_to(live, conn, &[]);
                live.clients.send(conn, |out| v1::pong(out, timestamp, unix_ms(), offset));
            }
            Ok(Command::Auth { id, token }) => self.refresh(live, conn, id, &token),
            Err(error) => self.refuse(live, conn, error.id, error.code, &error.message),
        }
    }

    fn replay_range(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        channels: &[impl AsRef<str>],
        (from, to): (u64, Option<u64>),
    ) {
        if !self.replays.may_look_back(conn) {
            return self.too_many_replays(live, conn, id);
        }
        let (mut interest, mut seen, mut bytes) = (Interest::default(), Few::new(), 0);
        for text in channels.iter().map(AsRef::as_ref).filter(|text| seen.insert(*text)) {
            bytes += Index::most_bytes(text);
            match channel::validate(text) {
                Ok(_) if !live.clients.may_hear(conn, text) => {
                    let message = "the token does not allow this channel";
                    return self.refuse(live, conn, id, NOT_ALLOWED, message);
                }
                Ok(kind) if interest.len() < self.settings.subscriptions => {
                    interest.add_new(text, kind);
                }
                Ok(_) => {
                    return self.refuse(live, conn, id, "too_many_channels", "too many channels");
                }
                Err(error) => return self.refuse(live, conn, id, error.code(), &error.to_string()),
            }
        }
        if self.replays.has(conn) && !live.index.fits(bytes) {
            return self.too_many_replays(live, conn, id);
        }
        self.replays.send_again(
            live,
            conn,
            id.map(|id| id.keep()),
            interest,
            (from, to.unwrap_or(u64::MAX)),
        );
    }
}
