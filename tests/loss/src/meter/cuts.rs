//! Connections that end under their clients: how often for each, how fast, and whether the server said so before.
//!
//! Time is a parameter.

use std::time::{Duration, Instant};

/// The close code of a server that tells its clients to come back.
const ADVICE: u16 = 1012;
/// Ends whose times are kept between two settlements.
const MOST: usize = 200_000;
/// The pace is that of the busiest stretch of this length: long enough to hold the jitter of single ends.
const STRETCH: Duration = Duration::from_secs(10);

/// The ends of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cuts {
    /// Connections that ended.
    pub count: u64,
    /// Those of the client that had most.
    pub most_of_one: u32,
    /// Those of which no close frame with code 1012 told.
    pub without_advice: u64,
    /// Ends in the busiest ten seconds, as a number a minute.
    pub fastest_per_minute: f64,
}

/// Who is connected, and whose connection ended when.
#[derive(Debug)]
pub(super) struct Ends {
    connected: Vec<bool>,
    of_each: Vec<u32>,
    times: Vec<Instant>,
    without_advice: u64,
}

impl Ends {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            connected: vec![false; clients],
            of_each: vec![0; clients],
            times: Vec::new(),
            without_advice: 0,
        }
    }

    /// The client is served.
    pub(super) fn acknowledged(&mut self, client: usize) {
        if let Some(connected) = self.connected.get_mut(client) {
            *connected = true;
        }
    }

    /// A connection, or an attempt at one, is over; the latter is no cut.
    pub(super) fn ended(&mut self, client: usize, close_code: Option<u16>, at: Instant) {
        let was_served = self.connected.get_mut(client).is_some_and(std::mem::take);
        if !was_served || self.times.len() >= MOST {
            return;
        }
        self.times.push(at);
        self.without_advice += u64::from(close_code != Some(ADVICE));
        if let Some(count) = self.of_each.get_mut(client) {
            *count += 1;
        }
    }

    /// The client has left by itself.
    pub(super) fn left(&mut self, client: usize) {
        if let Some(connected) = self.connected.get_mut(client) {
            *connected = false;
        }
    }

    /// Ends since the last settlement.
    pub(super) fn count(&self) -> u64 {
        self.times.len() as u64
    }

    /// What happened since the last time.
    pub(super) fn settle(&mut self) -> Cuts {
        self.times.sort_unstable();
        let cuts = Cuts {
            count: self.times.len() as u64,
            most_of_one: self.of_each.iter().copied().max().unwrap_or_default(),
            without_advice: std::mem::take(&mut self.without_advice),
            fastest_per_minute: busiest(&self.times) as f64 * 60.0 / STRETCH.as_secs_f64(),
        };
        self.times.clear();
        self.of_each.fill(0);
        cuts
    }
}

/// The most times within one stretch; they rise.
fn busiest(times: &[Instant]) -> usize {
    let within = |(index, begin): (usize, &Instant)| {
        let later = times.get(index..).unwrap_or_default();
        later.partition_point(|at| at.duration_since(*begin) < STRETCH)
    };
    times.iter().enumerate().map(within).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_was_served_is_cut_and_the_busiest_ten_seconds_are_the_pace() {
        let start = Instant::now();
        let at = |tenth: u32| start + Duration::from_millis(100) * tenth;
        let mut ends = Ends::new(300);
        ends.ended(0, Some(1012), at(0));
        assert_eq!(ends.settle(), Cuts::default(), "an attempt");
        (0..300).for_each(|client| ends.acknowledged(client));
        // One each tenth of a second, after a slow beginning.
        (0..200).for_each(|client| ends.ended(client, Some(1012), at(1_000 + client as u32)));
        ends.ended(200, None, at(0));
        // Its second attempt failed.
        ends.ended(200, None, at(5));
        ends.acknowledged(0);
        ends.ended(0, Some(1000), at(2_000));
        ends.left(250);
        ends.ended(250, None, at(2_001));
        let cuts = ends.settle();
        assert_eq!((cuts.count, cuts.most_of_one, cuts.without_advice), (202, 2, 2));
        assert!((cuts.fastest_per_minute - 600.0).abs() < 1.0, "{cuts:?}");
        assert_eq!(ends.settle(), Cuts::default());
    }
}
