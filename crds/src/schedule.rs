//! Times at which another number of pods is the least: capacity before the crowd comes.

use std::str::FromStr as _;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Why something is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No expression of five fields.
    #[error(
        "is no cron expression: {0}; write minute, hour, day of month, month and day of week, such as '45 8 * * 1-5' for a \
         quarter to nine from Monday to Friday"
    )]
    Cron(String),
    /// No name of a time zone.
    #[error("is no time zone: use a name such as America/New_York or Etc/UTC")]
    Zone,
}

/// From these times on, so many pods are the least, until the time of another entry comes.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidSchedule {
    cron: Cron,
    zone: TimeZone,
    /// Fewest pods.
    pub min: i32,
}

impl ValidSchedule {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`ScheduleError`]
    pub fn new(cron: &str, zone: &str, min: i32) -> Result<Self, ScheduleError> {
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let refused = |error: String| ScheduleError::Cron(error);
        let cron = parser.parse(cron).map_err(|error| refused(error.to_string()))?;
        let zone = TimeZone::get(zone).map_err(|_unknown| ScheduleError::Zone)?;
        let entry = Self { cron, zone, min };
        // Such as the thirtieth of February.
        let now = Timestamp::from_str("2026-01-01T00:00:00Z").unwrap_or_default();
        match entry.last(now) {
            Some(_) => Ok(entry),
            None => Err(refused("that time never comes".to_owned())),
        }
    }

    /// When its time last came, this moment included.
    fn last(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(self.zone.clone());
        let last = self.cron.find_previous_occurrence(&now, true).ok()?;
        Some(last.timestamp())
    }
}

/// The least number of pods at a moment, by the entry whose time came last; of several at the same time the largest.
pub(crate) fn least(schedule: &[ValidSchedule], now: Timestamp) -> Option<i32> {
    let times = schedule.iter().filter_map(|entry| Some((entry.last(now)?, entry.min)));
    times.max().map(|(_, min)| min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cron: &str, zone: &str, min: i32) -> ValidSchedule {
        ValidSchedule::new(cron, zone, min).unwrap()
    }

    fn at(schedule: &[ValidSchedule], now: &str) -> Option<i32> {
        least(schedule, now.parse().unwrap())
    }

    #[test]
    fn the_entry_whose_time_came_last_counts_over_nights_and_weekends() {
        let zone = "America/New_York";
        let trading = [entry("45 8 * * 1-5", zone, 5), entry("0 17 * * MON-FRI", zone, 2)];
        // 2026-11-27 is a Friday; New York is five hours behind.
        assert_eq!(at(&trading, "2026-11-27T13:44:59Z"), Some(2));
        assert_eq!(at(&trading, "2026-11-27T13:45:00Z"), Some(5));
        assert_eq!(at(&trading, "2026-11-27T21:59:59Z"), Some(5));
        assert_eq!(at(&trading, "2026-11-27T22:00:00Z"), Some(2));
        assert_eq!(at(&trading, "2026-11-30T13:44:00Z"), Some(2), "Monday, before");
        // Four hours in summer.
        assert_eq!(at(&trading, "2026-07-01T12:45:00Z"), Some(5));
        assert_eq!(at(&[], "2026-07-01T12:45:00Z"), None);
        let both = [entry("0 9 * * *", "Etc/UTC", 3), entry("0 9 * * *", "Etc/UTC", 7)];
        assert_eq!(at(&both, "2026-07-01T12:45:00Z"), Some(7));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_to_write() {
        for bad in ["", "soon", "61 * * * *", "* * * *", "0 0 9 * * *", "0 0 30 2 *", "@reboot"] {
            let error = ValidSchedule::new(bad, "Etc/UTC", 1).unwrap_err().to_string();
            assert!(error.contains("45 8 * * 1-5"), "{bad}: {error}");
        }
        assert_eq!(ValidSchedule::new("0 9 * * *", "Mars", 1), Err(ScheduleError::Zone));
    }
}
