//! Durations and sizes as a manifest writes them.

use std::cmp::Ordering;

use wsgateway_config::Millis;

/// A text that is no duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("write a number and a unit, such as 500ms, 30s, 10m or 24h")]
    Duration,
    /// Not an amount of bytes.
    #[error("write bytes with or without a binary unit, such as 4096, 64Ki, 50Mi or 2Gi")]
    Size,
    /// More than our numbers hold.
    #[error("this is more than can be counted: use a smaller number, or 0 for no limit")]
    TooLarge,
}

/// Most digits of a duration, as in the schema.
const DURATION_DIGITS: usize = 9;
/// Most digits of a size, as in the schema.
const SIZE_DIGITS: usize = 12;

/// Reads `0` or a whole number with one of the units `ms`, `s`, `m`, `h`.
///
/// # Errors
/// When the text is anything else.
pub fn duration(text: &str) -> Result<Millis, UnitError> {
    let (number, unit) = split(text, DURATION_DIGITS).ok_or(UnitError::Duration)?;
    let millis = match (number, unit) {
        (0, "") => 0,
        (0, _) => return Err(UnitError::Duration),
        (_, "ms") => 1,
        (_, "s") => 1_000,
        (_, "m") => 60_000,
        (_, "h") => 3_600_000,
        _ => return Err(UnitError::Duration),
    };
    Ok(Millis(number * millis))
}

/// Reads a whole number of bytes, or of one of the units `Ki`, `Mi`, `Gi`, `Ti`.
///
/// # Errors
/// When the text is anything else, or more than 8 EiB.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, SIZE_DIGITS).ok_or(UnitError::Size)?;
    let shift = match (number, unit) {
        (_, "") => 0,
        (0, _) => return Err(UnitError::Size),
        (_, "Ki") => 10,
        (_, "Mi") => 20,
        (_, "Gi") => 30,
        (_, "Ti") => 40,
        _ => return Err(UnitError::Size),
    };
    // NATS counts bytes in an i64.
    number
        .checked_mul(1 << shift)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or(UnitError::TooLarge)
}

/// Reads a Kubernetes quantity as a whole number, rounded down: the bytes of `1.5Gi`, `512M` or `1e9`. `None` if it is no
/// quantity, or more than a `u64` holds.
pub(crate) fn quantity(text: &str) -> Option<u64> {
    u64::try_from(scaled(text, 0)?).ok()
}

/// Compares two Kubernetes quantities, to a billionth. `None` if one of them is none, or too large to tell.
pub(crate) fn compare(one: &str, other: &str) -> Option<Ordering> {
    Some(scaled(one, 9)?.cmp(&scaled(other, 9)?))
}

/// A quantity times a power of ten, rounded down.
fn scaled(text: &str, more: i32) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (binary, decimal): (u32, i32) = match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?.into()),
    };
    let power = decimal + more - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(1 << binary)?;
    let factor = 10_u128.checked_pow(power.unsigned_abs())?;
    if power < 0 { Some(scaled / factor) } else { scaled.checked_mul(factor) }
}

/// The number in front and what follows; no leading zeros, as in the schema's patterns.
fn split(text: &str, most_digits: usize) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.len() > most_digits || (number.starts_with('0') && number != "0") {
        return None;
    }
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", 0)]
    #[case("500ms", 500)]
    #[case("30s", 30_000)]
    #[case("10m", 600_000)]
    #[case("24h", 86_400_000)]
    #[case("999999999h", 3_599_999_996_400_000)]
    fn durations_are_read_with_their_unit(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(duration(text), Ok(Millis(millis)));
    }

    #[rstest]
    #[case("")]
    #[case("30")]
    #[case("0s")]
    #[case("s")]
    #[case("030s")]
    #[case("1.5s")]
    #[case("-1s")]
    #[case("30 s")]
    #[case("30S")]
    #[case("1d")]
    #[case("1h30m")]
    #[case("1000000000h")]
    #[case("３０s")]
    fn other_texts_are_no_durations(#[case] text: &str) {
        assert_eq!(duration(text), Err(UnitError::Duration));
    }

    #[rstest]
    #[case("0", 0)]
    #[case("4096", 4096)]
    #[case("64Ki", 65_536)]
    #[case("50Mi", 52_428_800)]
    #[case("2Gi", 2_147_483_648)]
    #[case("8388607Ti", 9_223_370_937_343_148_032)]
    fn sizes_are_read_with_their_unit(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(size(text), Ok(bytes));
    }

    #[rstest]
    #[case("", UnitError::Size)]
    #[case("0Ki", UnitError::Size)]
    #[case("64k", UnitError::Size)]
    #[case("64KB", UnitError::Size)]
    #[case("1.5Gi", UnitError::Size)]
    #[case("1234567890123", UnitError::Size)]
    #[case("8388608Ti", UnitError::TooLarge)]
    #[case("999999999999Ti", UnitError::TooLarge)]
    fn other_texts_are_no_sizes(#[case] text: &str, #[case] error: UnitError) {
        assert_eq!(size(text), Err(error));
    }

    #[rstest]
    #[case("0", Some(0))]
    #[case("1073741824", Some(1 << 30))]
    #[case("512Mi", Some(512 << 20))]
    #[case("1.5Gi", Some(3 << 29))]
    #[case(".5Ki", Some(512))]
    #[case("1.Ki", Some(1024))]
    #[case("512M", Some(512_000_000))]
    #[case("1e9", Some(1_000_000_000))]
    #[case("1.5E3", Some(1_500))]
    #[case("2E", Some(2_000_000_000_000_000_000))]
    #[case("1500m", Some(1))]
    #[case("1e-3", Some(0))]
    #[case("15Ei", Some(15 << 60))]
    #[case("16Ei", None)]
    #[case("99999999999999999999999999999999", None)]
    #[case("1e99", None)]
    #[case("", None)]
    #[case(".", None)]
    #[case("-1", None)]
    #[case("1.2.3", None)]
    #[case("much", None)]
    #[case("1KB", None)]
    fn quantities_are_read_as_whole_numbers(#[case] text: &str, #[case] bytes: Option<u64>) {
        assert_eq!(quantity(text), bytes, "{text}");
    }
}
