//! Traders of a market: who comes when, leaves when, and comes back how (pure, but for `visits`, which does it).
//!
//! In: a [`Market`] with its seed, the number of places, the market's time, and the [`pace`] that the target's health allows.
//! Out: [`Action`](crowd::Action)s for places, one connection each, and what the [`Crowd`](crowd::Crowd) did so far.
//!
//! What must hold: the same seed and the same times give the same crowd; there are never more traders than places; time is
//! the market's, which goes faster than a clock by its `speed`.

pub mod crowd;
pub mod health;
pub mod market;
pub mod pace;
pub mod traders;
pub(crate) mod visits;
