//! The `symbols.v1` session: symbols in, trades out.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use wsgateway_proto::channel::Kind;
use wsgateway_proto::symbols::{self, Change, Changed, Command};

use super::Sessions;
use crate::hub::shard::live::Live;
use crate::hub::shard::settings::Names;
use crate::index::Index;
use crate::time::unix_ms;

/// Bytes of a client's own text in an error message.
const MAX_ECHO: usize = 64;

impl Sessions {
    /// Acts on one command.
    pub(super) fn symbols_command(&mut self, live: &mut Live, conn: u32, text: &str) {
        let done = match symbols::parse(text) {
            Ok(Command::Subscribe(symbols)) => self.add_symbols(live, conn, &symbols),
            Ok(Command::Unsubscribe(symbols)) => self.drop_symbols(live, conn, &symbols),
            Ok(Command::Auth(token)) => return self.refresh(live, conn, None, &token),
            Ok(Command::Ping) => {
                live.clients.send(conn, |out| symbols::pong(out, unix_ms()));
                Ok(())
            }
            Err(message) => Err(message),
        };
        if let Err(message) = done {
            live.clients.totals.command_errors += 1;
            live.clients.send(conn, |out| symbols::error(out, &message, unix_ms()));
        }
    }

    /// Subscribes to all of them, or to none.
    fn add_symbols(
        &mut self,
        live: &mut Live,
        conn: u32,
        symbols: &[Cow<'_, str>],
    ) -> Result<(), String> {
        let settings = Arc::clone(&self.settings);
        let names = &settings.names;
        let wanted = filled(names, symbols)?;
        if let Some((symbol, _)) =
            wanted.iter().find(|(_, text)| !live.clients.may_hear(conn, text))
        {
            return Err(format!("Cannot subscribe: not allowed to receive {symbol:?}"));
        }
        let held = live.held_patterns(conn);
        let fresh = |channel: &&(&str, String)| !live.is_among(&held, &channel.1);
        let more = wanted.iter().filter(fresh).count();
        if self.replays.subscription_count(live, conn) + more > names.max_symbols {
            let most = names.max_symbols;
            return Err(format!("Cannot subscribe: would exceed maximum of {most} symbols"));
        }
        let mut ahead = 0;
        for (_, channel) in wanted.iter().filter(fresh) {
            if !live.index.has_room(channel, ahead) {
                return Err("Cannot subscribe: the server has no room for more names".to_owned());
            }
            ahead += Index::most_bytes(channel);
        }
        for (_, channel) in &wanted {
            live.hold(conn, channel, Kind::Exact);
        }
        confirm(live, conn, names, Change::Subscribed, &wanted);
        Ok(())
    }

    fn drop_symbols(
        &mut self,
        live: &mut Live,
        conn: u32,
        symbols: &[Cow<'_, str>],
    ) -> Result<(), String> {
        let settings = Arc::clone(&self.settings);
        let names = &settings.names;
        let wanted = filled(names, symbols)?;
        let mut wanted = self.only_known(live, conn, wanted, |(_, channel)| channel);
        wanted.retain(|(_, channel)| self.release(live, conn, channel));
        confirm(live, conn, names, Change::Unsubscribed, &wanted);
        Ok(())
    }
}

/// Symbols with their channels, each once.
fn filled<'a>(
    names: &Names,
    symbols: &'a [Cow<'_, str>],
) -> Result<Vec<(&'a str, String)>, String> {
    let mut seen = HashSet::new();
    let mut filled = Vec::new();
    for symbol in symbols.iter().map(AsRef::as_ref).filter(|symbol| seen.insert(*symbol)) {
        match names.symbols.fill(symbol) {
            Some(channel) => filled.push((symbol, channel)),
            None => {
                let symbol = &symbol[..symbol.floor_char_boundary(MAX_ECHO)];
                return Err(format!(
                    "Invalid symbol {symbol:?}: use up to 64 characters without dots, wildcards and spaces"
                ));
            }
        }
    }
    Ok(filled)
}

/// Confirms a change to a client, with the symbols that it has now.
pub(super) fn confirm(
    live: &mut Live,
    conn: u32,
    names: &Names,
    change: Change,
    done: &[(&str, String)],
) {
    let held = live.held(conn);
    let current: Vec<Box<str>> =
        held.filter_map(|channel| names.symbols.name(channel)).map(Box::from).collect();
    let current: Vec<&str> = current.iter().map(|symbol| &**symbol).collect();
    let done: Vec<&str> = done.iter().map(|(symbol, _)| *symbol).collect();
    let changed = Changed { change, symbols: &done, current: &current };
    live.clients.send(conn, |out| symbols::success(out, &changed, unix_ms()));
}
