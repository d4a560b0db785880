//! Commands: the messages of a gateway's clients are commands, in the protocol of each connection.

use super::handler::Handler;
use super::input::Message;
use super::live::Live;
use super::session::Sessions;

/// Acts on commands.
#[derive(Debug)]
pub(crate) struct Commands;

impl Handler for Commands {
    fn opened(&self, sessions: &mut Sessions, live: &mut Live, conn: u32, response: &[u8]) {
        sessions.open(live, conn, response);
    }

    fn message(&self, sessions: &mut Sessions, live: &mut Live, conn: u32, message: Message<'_>) {
        match message {
            Message::Text(text) => sessions.command(live, conn, text),
            Message::Binary(_) => live.clients.close(conn, 1003, "commands are JSON text"),
        }
    }
}
