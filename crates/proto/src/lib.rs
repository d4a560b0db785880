//! The wire, without sockets, clocks or threads.
//!
//! In: bytes that a socket produced, commands of a client, messages of a stream. Out: events,
//! and bytes for a socket to send. Callers own every buffer that outlives a call; the only state
//! held here is a [`decoder::Decoder`] per connection, 16 bytes while no message is unfinished,
//! and a deflater and an inflater per thread.
//!
//! What must hold: whatever a peer sends, nothing here panics, blocks, recurses without bound or
//! holds more than the limits it was given; and any way to cut a byte stream into reads yields
//! the same events.
//!
//! | room | what |
//! |---|---|
//! | [`frame`] | frames out: headers, masking, close frames (RFC 6455 section 5) |
//! | [`decoder`] | frames in, either role |
//! | [`deflate`] | compressed messages, both directions (RFC 7692) |
//! | [`handshake`] | the upgrade, both sides (RFC 6455 section 4) |
//! | [`proxy`] | where a connection comes from, told by a proxy |
//! | [`channel`] | channel names and patterns |
//! | [`Deleted`] | messages that say that a channel has no value any more |
//! | [`v1`] | commands and pushes of the protocol `wsgateway.v1` |
//! | [`odin`], [`symbols`] | the same of the protocols of earlier systems |
//! | [`template`] | channels of what those call tokens and symbols |
#![forbid(unsafe_code)]

pub mod channel;
pub mod decoder;
pub mod deflate;
mod deleted;
mod escape;
pub mod frame;
pub mod handshake;
pub mod odin;
pub mod proxy;
mod read;
pub mod symbols;
pub mod template;
pub mod v1;

pub use deleted::Deleted;
