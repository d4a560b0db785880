//! The epoch of a stream: what makes a cursor of one life of a stream worthless in the next.

use async_nats::datetime::DateTime;

/// The epoch of the stream that was created at `created`: the nanoseconds since 1970 in base 36.
///
/// A stream that is deleted and made again starts its sequences at 1 again; its creation time is the one thing that
/// every reader of the stream sees alike and that never repeats. Creation times before 1970 do not occur; they give
/// `0`.
pub fn epoch(created: DateTime) -> String {
    base36(u128::try_from(created.unix_timestamp_nanos()).unwrap_or(0))
}

fn base36(mut number: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut reversed = Vec::with_capacity(13);
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
    use async_nats::datetime::{from_nanos, parse_rfc3339};

    use super::*;

    #[test]
    fn an_epoch_is_the_creation_time_in_base_36() {
        assert_eq!(epoch(from_nanos(0).unwrap()), "0");
        assert_eq!(epoch(from_nanos(35).unwrap()), "z");
        assert_eq!(epoch(from_nanos(36).unwrap()), "10");
        let created = epoch(parse_rfc3339("2026-11-21T10:00:00.123456789Z").unwrap());
        assert_eq!(u128::from_str_radix(&created, 36).unwrap(), 1_795_255_200_123_456_789);
    }

    #[test]
    fn the_offset_of_the_clock_does_not_matter() {
        let (utc, plus_two) = ("2026-11-21T10:00:00Z", "2026-11-21T12:00:00+02:00");
        assert_eq!(epoch(parse_rfc3339(utc).unwrap()), epoch(parse_rfc3339(plus_two).unwrap()));
    }
}
