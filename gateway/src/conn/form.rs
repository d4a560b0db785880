//! Form: what a connection's data frames look like. Clients of the same form can share frames.

use wsgateway_config::Protocol;

use super::events::EventStream;

/// How a session's frames travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    #[default]
    WebSocket,
    /// One way, as server-sent events; what the client asks for stands in its request.
    Events(EventStream),
    /// As one answer to a long-poll.
    Poll,
}

/// What a connection's data frames look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// permessage-deflate was agreed.
    pub deflate: bool,
    /// Several messages may share a frame: the client asked for it.
    pub batch: bool,
    /// What is spoken.
    pub protocol: Protocol,
    pub transport: Transport,
}

impl Form {
    /// Whether a message is put together for each client, in the buffer that it is sent from; otherwise all clients of
    /// this form share its frame.
    pub(crate) fn is_private(self) -> bool {
        self.protocol != Protocol::WsGateway
    }

    /// Whether it is an event stream.
    pub(crate) fn is_events(self) -> bool {
        matches!(self.transport, Transport::Events(_))
    }

    /// Whether it is a long-poll.
    pub(crate) fn is_poll(self) -> bool {
        self.transport == Transport::Poll
    }

    /// Whether a client can tell a deletion from a value. For one of symbols.v1 everything is a trade.
    pub(crate) fn knows_deletions(self) -> bool {
        self.protocol != Protocol::Symbols
    }
}
