//! A simulated market, and what its publisher may be asked to do. Pure: no clock, no sockets.
//!
//! In: a seed, settings and the time. Out: messages ready to publish ([`Market`]), and the answers of the control API
//! ([`control`]). `wsgw dev` and `wsgw market` publish them, the benchmark measures them.

pub mod control;
mod market;
mod settings;

pub use market::{Market, Message};
pub use settings::{MOST_RATE, MOST_TOKENS, NATURAL_RATE, Settings, SettingsError, Shape};
