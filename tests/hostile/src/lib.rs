//! What honest clients notice while others do their worst.
//!
//! A real gateway reads from a real nats-server and serves honest clients, whose every message is accounted for. After
//! a quiet baseline, hostile clients attack it in one way, each way for some time, from a process of their own. What
//! counts: honest clients are not closed and lose nothing, memory stays within the pod's request, and the places of the
//! hostile ones are free again afterwards. Latency is reported beside the baseline and judged by nobody.
//!
//! - [`kind`]: the ways to attack; [`attack`]: how each is done, in the attacking process
//! - [`environment`]: servers; [`publisher`], [`honest`], [`newcomers`]: the good side; [`process`]: memory and CPU
//! - [`run`]: one kind after the other, each in an environment of its own; [`report`]: tables and JSON

pub mod attack;
pub mod environment;
pub mod honest;
pub mod kind;
pub mod newcomers;
pub mod process;
pub mod publisher;
pub mod report;
pub mod run;
