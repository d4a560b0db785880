//! How much of everything: a full run and a quick one.

use serde::Serialize;

/// Sizes of a run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scale {
    /// Connections of the small and of the large case.
    pub small: usize,
    pub large: usize,
    /// Messages with one in flight, of the small and of the large case.
    pub messages: u64,
    pub messages_large: u64,
    /// Messages with [`Self::window`] in flight.
    pub messages_window: u64,
    pub window: u64,
    /// Seconds of a paced phase.
    pub paced_seconds: f64,
    /// Seconds with a stalled client.
    pub stalled_seconds: f64,
    /// Seconds over which idle CPU is measured.
    pub idle_seconds: u64,
    /// Most idle connections; the limit of open files bounds them as well.
    pub idle_connections: usize,
    /// Connections spread over several gateways, and how long they are held (s).
    pub crowd: usize,
    pub crowd_seconds: u64,
    /// Clients that come back at once, and messages that each has missed.
    pub resuming: usize,
    pub missed: u64,
    /// Rounds of P1 to P5, and of the others.
    pub rounds: usize,
    pub rounds_few: usize,
    /// Bytes of a payload.
    pub payload: usize,
    /// Deliveries of one point of the curves.
    pub curve_deliveries: usize,
    /// Most connections and subscriptions of the curves.
    pub most_connections: usize,
    pub most_subscriptions: u64,
}

impl Scale {
    pub(crate) fn new(quick: bool, rounds: Option<usize>) -> Self {
        let full = Self {
            small: 1_000,
            large: 10_000,
            messages: 600,
            messages_large: 80,
            messages_window: 3_200,
            window: 16,
            paced_seconds: 3.0,
            stalled_seconds: 6.0,
            // Two heartbeats and a bit.
            idle_seconds: 52,
            idle_connections: 18_000,
            crowd: 100_000,
            crowd_seconds: 600,
            resuming: 10_000,
            missed: 100,
            rounds: rounds.unwrap_or(4),
            rounds_few: rounds.unwrap_or(5).min(5),
            payload: 256,
            // A second or two each.
            curve_deliveries: 300_000,
            most_connections: 16_000,
            most_subscriptions: 1_000_000,
        };
        match quick {
            false => full,
            true => Self {
                small: 200,
                large: 1_000,
                messages: 150,
                messages_large: 50,
                messages_window: 320,
                paced_seconds: 1.0,
                stalled_seconds: 2.0,
                idle_seconds: 5,
                idle_connections: 1_000,
                crowd: 3_000,
                crowd_seconds: 5,
                resuming: 1_000,
                rounds: rounds.unwrap_or(1),
                rounds_few: 1,
                curve_deliveries: 50_000,
                most_connections: 1_000,
                most_subscriptions: 10_000,
                ..full
            },
        }
    }
}
