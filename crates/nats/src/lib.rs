//! NATS as gateway, operator and `wsgw` use it: connecting, and planning and applying a stream.
//!
//! In: server addresses and where to read who we are ([`Access`]), a [`wsgateway_config::StreamConfig`]. Out: a client
//! that reconnects by itself and says why it cannot ([`Notice`]), a stream that is as declared, or an error that knows
//! its static reason and whether a retry can help. Judgement
//! ([`plan`]) is pure; [`Streams`] does the talking. State lives in NATS alone.

mod access;
mod config;
mod connect;
mod epoch;
mod error;
pub mod jetstream;
pub mod link;
mod owner;
mod plan;
mod refusal;
mod settings;
mod shell;
mod unsuitable;
pub use wsgateway_nats_wire as wire;

pub use access::{Access, Auth, Material, MaterialError, Tls};
pub use connect::{
    ConnectError, Connection, EXPIRED, Failure, FailureKind, Notice, Renewal, connect,
    connect_while,
};
pub use epoch::{EPOCH_KEY, epoch, epoch_of_created, fresh_epoch};
pub use error::StreamError;
pub use owner::{OWNER_KEY, Owner, Ownership, RELEASED_BY_KEY, UNNAMED_CLUSTER};
pub use plan::{Adoption, Change, Claim, Observed, Plan, Rival, plan};
pub use refusal::Refusal;
pub use settings::Settings;
pub use shell::{Ending, Streams};
