//! The epoch of a stream: what makes a cursor of one life of a stream worthless in the next.
//!
//! It is kept in the stream's metadata, where it survives what changes the time of creation: nats-server 2.12 forgets that
//! time when a stream is edited between two restarts.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::datetime::DateTime;

/// Key of the epoch in a stream's metadata.
pub const EPOCH_KEY: &str = "wsgateway.dev/epoch";

/// Far above what we write (21 characters). Clients may send epochs of 128 characters, and gateways append to this one.
const LONGEST: usize = 64;

/// The epoch of a stream with this metadata, created at `created`: what the metadata says, or else what follows from the
/// time of creation.
///
/// An epoch is 1 to 64 ASCII letters and digits. What is written in the metadata in another form counts as absent.
pub fn epoch(metadata: &HashMap<String, String>, created: DateTime) -> String {
    match metadata.get(EPOCH_KEY) {
        Some(epoch) if is_epoch(epoch) => epoch.clone(),
        _ => epoch_of_created(created),
    }
}

/// The epoch of a stream without one in its metadata: the nanoseconds from 1970 to its creation in base 36. Times before
/// 1970 do not occur; they give `0`.
pub fn epoch_of_created(created: DateTime) -> String {
    base36(u128::try_from(created.unix_timestamp_nanos()).unwrap_or(0))
}

/// An epoch for a stream that is about to be created: the milliseconds since 1970 and a random number, so that no two
/// streams share one even if clocks are set back.
pub fn fresh_epoch(now: SystemTime, random: u64) -> String {
    let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    base36((millis << u64::BITS) | u128::from(random))
}

pub(crate) fn is_epoch(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn base36(mut number: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut reversed = Vec::with_capacity(25);
    loop {
        let digit = usize::try_from(number % 36).unwrap_or(0);
        reversed.push(char::from(DIGITS[digit]));
        number /= 36;
        if number == 0 {
            return reversed.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::datetime::{from_nanos, parse_rfc3339};

    use super::*;

    fn metadata(epoch: &str) -> HashMap<String, String> {
        [(EPOCH_KEY.to_owned(), epoch.to_owned())].into()
    }

    #[test]
    fn without_metadata_an_epoch_is_the_creation_time_in_base_36() {
        let none = HashMap::new();
        assert_eq!(epoch(&none, from_nanos(0).unwrap()), "0");
        assert_eq!(epoch(&none, from_nanos(35).unwrap()), "z");
        assert_eq!(epoch(&none, from_nanos(36).unwrap()), "10");
        let created = epoch(&none, parse_rfc3339("2026-11-21T10:00:00.123456789Z").unwrap());
        assert_eq!(u128::from_str_radix(&created, 36).unwrap(), 1_795_255_200_123_456_789);
    }

    #[test]
    fn the_offset_of_the_clock_does_not_matter() {
        let (utc, plus_two) = ("2026-11-21T10:00:00Z", "2026-11-21T12:00:00+02:00");
        assert_eq!(
            epoch_of_created(parse_rfc3339(utc).unwrap()),
            epoch_of_created(parse_rfc3339(plus_two).unwrap())
        );
    }

    #[test]
    fn what_the_metadata_says_counts_whatever_the_creation_time() {
        for created in [0, 36] {
            let created = from_nanos(created).unwrap();
            assert_eq!(epoch(&metadata("abcXYZ09"), created), "abcXYZ09");
            assert_eq!(epoch(&metadata(&"a".repeat(64)), created), "a".repeat(64));
        }
    }

    #[test]
    fn metadata_that_is_no_epoch_counts_as_absent() {
        for wrong in ["", "a-1", "a b", "ä", "\0", "a\n", &"a".repeat(65)] {
            assert_eq!(epoch(&metadata(wrong), from_nanos(36).unwrap()), "10", "{wrong:?}");
        }
    }

    #[test]
    fn fresh_epochs_differ_by_time_and_by_chance_and_are_well_formed() {
        let now = UNIX_EPOCH + Duration::from_millis(1_795_255_200_123);
        let one = fresh_epoch(now, 1);
        assert!(is_epoch(&one), "{one}");
        assert_ne!(one, fresh_epoch(now, 2));
        assert_ne!(one, fresh_epoch(now + Duration::from_millis(1), 1));
        for random in [0, u64::MAX] {
            let epoch = fresh_epoch(now, random);
            assert!(is_epoch(&epoch), "{epoch}");
            assert!(epoch.len() <= 25, "{epoch}");
        }
    }
}
