//! The wall clock: for times that are told to others. What is measured here uses a monotonic clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The same, for what is never before 1970.
pub(crate) fn unix_ms_u64() -> u64 {
    u64::try_from(unix_ms()).unwrap_or_default()
}
