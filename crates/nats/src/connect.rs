//! One way to connect: returns at once, retries for ever, with a bounded and jittered delay.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};

/// Longest pause between two attempts: a restarted server is found again within about this time.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// First pause; it doubles with each failed attempt.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// A dead connection without a TCP reset is noticed after two unanswered pings.
const PING: Duration = Duration::from_secs(10);
/// Longest wait for the answer to a request, such as stream info.
const REQUEST: Duration = Duration::from_secs(5);

/// The servers cannot be connected to, whatever their state: the list itself is wrong.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the NATS servers {servers:?}: {source}; write them as nats://host:port")]
pub struct ConnectError {
    servers: Vec<String>,
    source: async_nats::ConnectError,
}

impl ConnectError {
    /// Static reason, for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        "ServersInvalid"
    }
}

/// Starts connecting and returns at once; requests wait for the connection, up to their own time-out.
///
/// `name` shows up in the server's connection list. `on_event` is told about connects, disconnects and errors; it must
/// not block.
///
/// # Errors
/// Only when a server address cannot be parsed. A server that is down is retried for ever.
pub async fn connect(
    servers: &[String],
    name: &str,
    on_event: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Client, ConnectError> {
    // Another provider may be there already: then that one serves.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .connection_timeout(REQUEST)
        .request_timeout(Some(REQUEST))
        .ping_interval(PING)
        .reconnect_delay_callback(|attempts| delay(attempts, fastrand::f64()))
        .event_callback(move |event| {
            on_event(event);
            std::future::ready(())
        })
        .connect(servers)
        .await
        .map_err(|source| ConnectError { servers: servers.to_vec(), source })
}

/// The pause before an attempt (1 = the first): doubling, bounded, and spread over its upper half by `jitter` (0 to 1),
/// so that the pods of a fleet do not knock at once.
fn delay(attempts: usize, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    if attempts <= 1 {
        return FIRST_DELAY.mul_f64(jitter);
    }
    let full = FIRST_DELAY.saturating_mul(1 << doublings).min(LONGEST_DELAY);
    full.mul_f64(0.5 + 0.5 * jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_bounded() {
        assert_eq!(delay(1, 0.0), Duration::ZERO);
        assert_eq!(delay(2, 1.0), Duration::from_millis(100));
        assert_eq!(delay(3, 0.0), Duration::from_millis(100));
        for attempts in [10, 64, usize::MAX] {
            assert_eq!(delay(attempts, 1.0), LONGEST_DELAY);
            assert_eq!(delay(attempts, 0.0), LONGEST_DELAY / 2);
        }
    }
}
