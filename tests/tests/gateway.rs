//! The gateway as its clients see it: started in-process on a real nats-server, or as the real program.
//!
//! In: messages published to JetStream. Judged: what arrives at WebSocket clients of two implementations that are not
//! ours (tokio-tungstenite, and bytes written by hand) and at the raw client swarm of `crates/client`.

/// The files of the folder `gateway/`.
mod gateway {
    // What the suites share.
    mod client;
    mod deflate;
    mod events;
    mod http;
    mod link;
    mod poller;
    mod process;
    mod raw;
    mod redis_rig;
    mod rig;
    mod tokens;
    mod tunnel;
    mod users;
    mod watched;

    // The suites, by topic.
    mod access;
    mod alone;
    mod auth;
    mod auth_crowd;
    mod auth_jwks;
    mod auth_leaks;
    mod auth_refresh;
    mod auth_storm;
    mod batches;
    mod binary;
    mod busy;
    mod certificates;
    mod clusters;
    mod compression;
    mod conflation;
    mod consumers;
    mod cookies;
    mod deletions;
    mod delivery;
    mod disconnects;
    mod drain;
    mod echo;
    mod fallback;
    mod faults;
    mod front;
    mod guards;
    mod hostile;
    mod latecomers;
    mod limits;
    mod logs;
    mod longpoll;
    mod lookups;
    mod memory;
    mod metrics;
    mod odin;
    mod odin_counting;
    mod odin_replay;
    mod overlap;
    mod payloads;
    mod poison;
    mod polls;
    mod pressure;
    mod publishers;
    mod rates;
    mod redis;
    mod redis_faults;
    mod reload;
    mod repetitions;
    mod resume;
    mod retention;
    mod shed;
    mod source_faults;
    mod storm;
    mod strangers;
    mod stream_rates;
    mod swarm;
    mod symbols;
    mod tls;
    mod tls_drain;
    mod traces;
    mod web;
}
