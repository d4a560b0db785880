//! Profiles: sizes of a run that have a name.

use std::time::Duration;

use super::Ramp;

/// Steps of the profile `progressive`.
const STEPS: u32 = 10;

/// A size with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// 100 clients for 10 s.
    Quick,
    /// 1,000 clients for a minute.
    Light,
    /// 5,000 clients for two minutes.
    Medium,
    /// 20,000 clients for five minutes.
    Heavy,
    /// 50,000 clients for five minutes, connected as fast as a crowd that comes back.
    Stress,
    /// Up to 10,000 clients in ten steps: where the curve bends is what a server can do.
    Progressive,
    /// What the flags say.
    Custom,
}

/// How large and how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Clients.
    pub clients: u32,
    /// When they connect.
    pub ramp: Ramp,
    /// How long they stay once all are there.
    pub hold: Duration,
    /// Messages a second of an own publisher.
    pub rate: f64,
}

/// What flags say against a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Clients.
    pub clients: Option<u32>,
    /// How long it takes to connect them.
    pub ramp: Option<Duration>,
    /// How long they stay then.
    pub hold: Option<Duration>,
    /// Messages a second.
    pub rate: Option<f64>,
}

impl Profile {
    /// The shape of a run; `None`: a custom one needs the number of clients.
    #[must_use]
    pub fn shape(self, changes: Changes) -> Option<Shape> {
        let seconds = Duration::from_secs;
        let (clients, ramp, hold, rate) = match self {
            Self::Quick => (100, 2, 10, 100.0),
            Self::Light => (1_000, 10, 60, 100.0),
            Self::Medium => (5_000, 30, 120, 200.0),
            Self::Heavy => (20_000, 60, 300, 500.0),
            Self::Stress => (50_000, 30, 300, 1_000.0),
            Self::Progressive => (10_000, 0, 300, 100.0),
            Self::Custom => (changes.clients?, 5, 30, 100.0),
        };
        let clients = changes.clients.unwrap_or(clients);
        let rate = changes.rate.unwrap_or(rate);
        let hold = changes.hold.unwrap_or(seconds(hold));
        let over = changes.ramp.unwrap_or(seconds(ramp));
        if self == Self::Progressive && changes.ramp.is_none() {
            let steps = STEPS.min(clients.max(1));
            let ramp = Ramp::Steps { steps, each: hold / steps };
            // The last step is the time that everybody stays.
            return Some(Shape { clients, ramp, hold: hold / steps, rate });
        }
        Some(Shape { clients, ramp: Ramp::Even { over }, hold, rate })
    }
}

impl Shape {
    /// From the first connection to the end.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.ramp.length().saturating_add(self.hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_change_a_profile_and_a_custom_one_needs_clients() {
        let quick = Profile::Quick.shape(Changes::default()).unwrap();
        assert_eq!((quick.clients, quick.length()), (100, Duration::from_secs(12)));
        let changes =
            Changes { clients: Some(7), hold: Some(Duration::ZERO), ..Changes::default() };
        let changed = Profile::Quick.shape(changes).unwrap();
        assert_eq!((changed.clients, changed.length()), (7, Duration::from_secs(2)));
        assert_eq!(Profile::Custom.shape(Changes::default()), None);
        assert_eq!(Profile::Custom.shape(changes).unwrap().clients, 7);
    }

    #[test]
    fn a_progressive_run_has_steps_as_long_as_one_another() {
        let shape = Profile::Progressive.shape(Changes::default()).unwrap();
        assert_eq!(shape.length(), Duration::from_secs(300));
        assert_eq!(shape.ramp, Ramp::Steps { steps: 10, each: Duration::from_secs(30) });
        let few = Changes { clients: Some(3), ..Changes::default() };
        assert_eq!(Profile::Progressive.shape(few).unwrap().length(), Duration::from_secs(300));
    }
}
