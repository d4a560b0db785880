//! Who a client is while it is connected: what it is subscribed to without asking, and tokens that it shows later.

use wsgateway_proto::channel;
use wsgateway_proto::handshake::Token;
use wsgateway_proto::v1::Id;

use super::Sessions;
use crate::hub::shard::live::Live;

impl Sessions {
    /// Subscribes a new connection to what its grant sets.
    pub(super) fn subscribe_unasked(&self, live: &mut Live, conn: u32) {
        let Some(grant) = live.clients.grant(conn).cloned() else { return };
        for pattern in grant.set.iter().take(self.settings.subscriptions) {
            // A grant holds valid patterns only.
            if let Ok(kind) = channel::validate(pattern) {
                live.hold(conn, pattern, kind);
            }
        }
    }

    /// Acts on another token of a client that is connected.
    pub(super) fn refresh(
        &mut self,
        live: &mut Live,
        conn: u32,
        id: Option<Id<'_>>,
        _token: &Token,
    ) {
        let message = "auth is not supported by this gateway";
        self.refuse(live, conn, id, "not_supported", message);
    }
}
