//! Handler: what acts on the messages of clients.

use std::fmt::Debug;

use super::input::Message;
use super::live::Live;
use super::session::Sessions;

/// Acts on what clients send. It has no state: that of a connection is with the live clients and the sessions.
pub(crate) trait Handler: Debug + Sync {
    /// A connection has been taken over. `response`: the answer to its request, which nobody has sent yet, or nothing.
    fn opened(&self, sessions: &mut Sessions, live: &mut Live, conn: u32, response: &[u8]);

    /// A client has sent a message.
    fn message(&self, sessions: &mut Sessions, live: &mut Live, conn: u32, message: Message<'_>);
}
