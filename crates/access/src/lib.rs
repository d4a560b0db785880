//! Who a client is and what it may hear, as values: no socket, no clock, no file.
//!
//! In: the text of key files and of tokens, the rules of a configuration, and the time. Out: a [`Grant`], or why there is
//! none. What must hold: nothing of a token or a key is in an error, what a token costs before its signature is verified is
//! bounded, and a token never chooses how it is verified.

mod cache;
mod claims;
mod grant;
mod keys;
mod patterns;
mod permits;
mod refusal;
mod rules;
mod token;
mod verifier;

pub use grant::Grant;
pub use keys::{KeyError, Keys, Origin};
pub use permits::Permits;
pub use refusal::RefusedToken;
pub use token::MAX_TOKEN_BYTES;
pub use verifier::{Channels, Verified, Verifier};
