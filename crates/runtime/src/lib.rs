//! The process shell that operator and gateway share: logs, signals, readiness, and the admin HTTP server.
//!
//! Nothing here knows what the program does. State is owned by the values returned ([`readiness::Readiness`],
//! [`admin::AdminServer`]); there are no globals but the log subscriber.

pub mod admin;
pub mod build_info;
pub mod descriptors;
pub mod families;
pub mod listen;
pub mod logs;
pub mod process;
pub mod raw;
pub mod readiness;
pub mod shutdown;
