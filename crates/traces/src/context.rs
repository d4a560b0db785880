//! The `traceparent` of W3C Trace Context: which trace a message belongs to, and whether it is recorded.
//!
//! Source: <https://www.w3.org/TR/trace-context/#traceparent-header>

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Where a span belongs: its trace and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that caused what follows.
    pub span_id: SpanId,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// The same as a span's own context; only sampled traces have spans.
    pub fn span(self, span_id: SpanId) -> SpanContext {
        SpanContext::new(self.trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE)
    }
}

/// A header value that is no traceparent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct Invalid;

/// Bytes of a value of version 00: `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// Reads the value of a `traceparent` header.
///
/// # Errors
/// [`Invalid`] for anything but lower-case hexadecimal fields of the right length, the version `ff`, and ids of zeros. A
/// later version may be followed by more fields.
pub fn parse_traceparent(value: &[u8]) -> Result<TraceContext, Invalid> {
    let (head, rest) = value.split_at_checked(LENGTH).ok_or(Invalid)?;
    let [version, trace_id, span_id, flags] = fields(head).ok_or(Invalid)?;
    let version = number(version, 2)?;
    let ends_well = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
    let trace_id = TraceId::from(number(trace_id, 32)?);
    // Sixteen digits.
    let span_id = SpanId::from(u64::try_from(number(span_id, 16)?).map_err(|_| Invalid)?);
    let flags = number(flags, 2)?;
    let is_valid = version != 0xff && ends_well;
    if !is_valid || trace_id == TraceId::INVALID || span_id == SpanId::INVALID {
        return Err(Invalid);
    }
    Ok(TraceContext { trace_id, span_id, sampled: flags & 1 == 1 })
}

fn fields(head: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = head.split(|byte| *byte == b'-');
    let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(fields)
}

fn number(hex: &[u8], digits: usize) -> Result<u128, Invalid> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if hex.len() != digits || !hex.iter().all(lower) {
        return Err(Invalid);
    }
    let text = std::str::from_utf8(hex).map_err(|_| Invalid)?;
    u128::from_str_radix(text, 16).map_err(|_| Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parsed(value: &str) -> Result<TraceContext, Invalid> {
        parse_traceparent(value.as_bytes())
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let context = parsed(GOOD).unwrap();
        assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id.to_string(), "00f067aa0ba902b7");
        assert!(context.sampled);
        assert!(!parsed(&GOOD.replace("-01", "-00")).unwrap().sampled);
        // Other flags say nothing of sampling.
        assert!(!parsed(&GOOD.replace("-01", "-02")).unwrap().sampled);
        assert!(parsed(&GOOD.replace("-01", "-03")).unwrap().sampled);
    }

    #[test]
    fn a_later_version_may_have_more_fields() {
        assert!(parsed(&format!("01{}-more", &GOOD[2..])).is_ok());
        assert!(parsed(&format!("01{}", &GOOD[2..])).is_ok());
        assert_eq!(parsed(&format!("01{}more", &GOOD[2..])), Err(Invalid));
        assert_eq!(parsed(&format!("{GOOD}-more")), Err(Invalid));
        assert_eq!(parsed(&format!("ff{}", &GOOD[2..])), Err(Invalid));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let moved = "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01";
        let upper = GOOD.to_uppercase();
        let signed = GOOD.replace("00-4bf9", "00-+bf9");
        for bad in ["", "00", zeros, no_parent, moved, &upper, &signed, &GOOD[..54]] {
            assert_eq!(parsed(bad), Err(Invalid), "{bad}");
        }
        assert_eq!(parse_traceparent(&[0xff; 55]), Err(Invalid));
    }
}
