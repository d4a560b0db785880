//! Live data from a wsgateway: every message once, in order, also across reconnects.
//!
//! A [`Client`] holds one connection, in a task of the Tokio runtime. When it ends, for whatever reason, the client reconnects
//! to any pod and resumes from its cursor. Each [`Subscription`] is a stream of [`Event`]s: messages, and whatever a program
//! may want to know of them. Messages that are no longer available are an [`Event::Gap`], never skipped in silence.
//!
//! ```no_run
//! use wsgateway::{Client, Event};
//!
//! # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("wss://push.example.com/ws").token(fetch_token).connect()?;
//! let mut events = client.subscribe(["BTC.price", "*.trade"]);
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Message(message) => println!("{} {:?}", message.channel, message.data),
//!         Event::Gap(gap) => println!("missing: {gap:?}"),
//!         _ => {}
//!     }
//! }
//! client.closed().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The protocol (`session`, `answers`, `commands`, `subscriptions`, `ledger`, `wire`) has no socket, no clock and no runtime:
//! frames and the time come in, events and commands go out; nor has `deflate`. `queue` divides events among subscriptions;
//! `line` and `run` are the socket and its task.
#![forbid(unsafe_code)]

mod answers;
mod backoff;
mod builder;
mod channels;
mod client;
mod commands;
mod deflate;
mod event;
mod inflated;
mod ledger;
mod line;
mod queue;
mod run;
mod session;
mod subscriptions;
mod tls;
mod upgrade;
mod wire;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use builder::{BuildError, Builder};
pub use client::{Client, Subscription};
pub use event::{
    Closed, Cursor, Error, Event, Gap, Message, Opened, Reconnect, Refused, Rejected, Subscribed,
    TokenExpiring,
};
pub use queue::Overflow;
