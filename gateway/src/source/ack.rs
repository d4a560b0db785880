//! What a JetStream delivery says of itself, in its reply subject (NATS ADR-15).

/// Position and time of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Sequence in the stream.
    pub stream_sequence: u64,
    /// Sequence of deliveries by this consumer: a hole here is a delivery that we missed.
    pub consumer_sequence: u64,
    /// When the stream stored the message (Unix ms).
    pub timestamp: i64,
    /// Messages that wait behind it.
    pub pending: u64,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<ns>.<pending>`, or the newer form
/// with domain and account hash in front of the stream and tokens behind. None for any other subject, and for deliveries
/// of another consumer: whoever knows our inbox can write to it.
pub(super) fn parse(reply: &str, stream: &str, consumer: &str) -> Option<Meta> {
    let rest = reply.strip_prefix("$JS.ACK.")?;
    // The old form has exactly seven tokens behind the prefix, the new one nine or more.
    let skip = match rest.split('.').count() {
        7 => 0,
        9.. => 2,
        _ => return None,
    };
    let mut tokens = rest.split('.').skip(skip);
    if tokens.next()? != stream || tokens.next()? != consumer {
        return None;
    }
    let mut number = || tokens.next()?.parse::<u64>().ok();
    let (_delivered, stream_sequence) = (number()?, number()?);
    let (consumer_sequence, nanoseconds, pending) = (number()?, number()?, number()?);
    Some(Meta {
        stream_sequence,
        consumer_sequence,
        timestamp: (nanoseconds / 1_000_000) as i64,
        pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta = Meta {
        stream_sequence: 18_734,
        consumer_sequence: 12,
        timestamp: 1_640_995_200_123,
        pending: 3,
    };

    #[test]
    fn both_forms_are_read() {
        for reply in [
            "$JS.ACK.ODIN.c1.1.18734.12.1640995200123456789.3",
            "$JS.ACK.hub.AB12.ODIN.c1.1.18734.12.1640995200123456789.3",
            "$JS.ACK.hub.AB12.ODIN.c1.1.18734.12.1640995200123456789.3.token",
        ] {
            assert_eq!(parse(reply, "ODIN", "c1"), Some(META), "{reply}");
        }
    }

    #[test]
    fn other_subjects_are_not() {
        for reply in [
            "",
            "$JS.ACK.",
            "$JS.ACK.a.b.1.2.3",
            "_INBOX.x.y",
            "$JS.ACK.a.b.1.x.3.4.5",
            "$JS.ACK.a.b.x.2.3.4.5",
            "$JS.ACK.a.c.1.2.3.4.5",
            "$JS.ACK.x.b.1.2.3.4.5",
            "$JS.ACK.a.b.x.c.1.2.3.4.5",
        ] {
            assert_eq!(parse(reply, "a", "b"), None, "{reply}");
        }
    }
}
