//! What is tried with made-up input: frames, deflate, heads of requests and commands in every
//! protocol.
//!
//! In: any bytes. Out: nothing, or a panic where a promise of `wsgateway-proto` is broken. Each
//! function here is a target of `hack/fuzz`, which searches for such input; `tests/corpus.rs`
//! replays what was found before in every ordinary test run.

mod commands;
mod deflate;
mod dialects;
mod frames;
mod heads;

pub use commands::commands;
pub use deflate::deflate;
pub use dialects::dialects;
pub use frames::frames;
pub use heads::heads;

/// The first byte, which says how to treat the rest.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}
