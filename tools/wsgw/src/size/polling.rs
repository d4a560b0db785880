//! The same clients, if they polled (pure).

use std::time::Duration;

use serde::Serialize;

use super::estimate::{Traffic, rounded};
use super::load::Load;

/// Headers of an answer and of its packets. Assumed; --polling-response says better.
const ANSWER_HEADERS: u64 = 500;

/// Polling next to push.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Polling {
    pub(crate) interval_ms: u64,
    pub(crate) requests_per_minute: f64,
    pub(crate) push_requests_per_minute: f64,
    /// One answer, with its headers.
    pub(crate) response_bytes: u64,
    pub(crate) egress_bytes_per_second: f64,
    /// Half an interval: how old a price is on average when it is seen.
    pub(crate) average_delay_ms: u64,
}

impl Polling {
    pub(crate) fn new(
        load: &Load,
        traffic: &Traffic,
        interval: Duration,
        response: Option<u32>,
    ) -> Self {
        let whole = u64::from(load.channels_per_client) * u64::from(load.payload_bytes);
        let response_bytes = response.map_or(whole + ANSWER_HEADERS, u64::from);
        let per_second = load.clients() / interval.as_secs_f64();
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self {
            interval_ms,
            requests_per_minute: rounded(per_second * 60.0),
            push_requests_per_minute: rounded(traffic.new_connections_per_second * 60.0),
            response_bytes,
            egress_bytes_per_second: rounded(per_second * response_bytes as f64),
            average_delay_ms: interval_ms / 2,
        }
    }
}
