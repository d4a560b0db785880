//! What is tried with made-up input: frames, deflate, heads of requests, commands in every protocol, and what a NATS
//! server sends.
//!
//! In: any bytes. Out: nothing, or a panic where a promise of a protocol crate is broken. Each
//! function here is a target of `hack/fuzz`, which searches for such input; `tests/corpus.rs`
//! replays what was found before in every ordinary test run.

mod commands;
mod deflate;
mod dialects;
mod frames;
mod heads;
mod nats;

pub use commands::commands;
pub use deflate::deflate;
pub use dialects::dialects;
pub use frames::frames;
pub use heads::heads;
pub use nats::nats;

/// The first byte, which says how to treat the rest.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}
