//! Where to go on in a stream: a function of where we were and what the stream says of itself.

use std::sync::Arc;

/// Our place in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Identity of the stream.
    pub epoch: Arc<str>,
    /// Last sequence that was handed on.
    pub position: u64,
    /// When the stream stored that message (Unix ms); `None` if we have not had it in hand.
    pub stored: Option<i64>,
}

/// What the stream says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed<'a> {
    pub epoch: &'a str,
    /// First sequence still there.
    pub first: u64,
    /// Last sequence ever given.
    pub last: u64,
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    /// Sequence to start the consumer at.
    pub start: u64,
    /// The message at `start` is one that we know: if it is another one now, the stream lost its tail and has grown again.
    pub known: bool,
    /// Messages up to here are read for what they say of their channels, later ones are delivered.
    pub warm_until: u64,
    /// Not the stream we knew: forget its channels.
    pub fresh: bool,
    /// The same stream, but its end is before our position: its tail was lost and its numbers will come again.
    pub regressed: bool,
    /// First and last of the messages that are gone for good.
    pub lost: Option<(u64, u64)>,
}

/// Decides how to go on; `warmup` bounds the messages read back of a stream that is new to us.
pub(super) fn begin(cursor: Option<&Cursor>, stream: Observed<'_>, warmup: u64) -> Begin {
    let known = cursor.filter(|cursor| &*cursor.epoch == stream.epoch);
    let regressed = known.is_some_and(|cursor| stream.last < cursor.position);
    match known {
        Some(cursor) if !regressed => {
            let next = cursor.position + 1;
            let lost = (stream.first > next).then(|| (next, stream.first - 1));
            let known = cursor.stored.is_some() && stream.first <= cursor.position;
            Begin {
                start: if known { cursor.position } else { next.max(stream.first) },
                known,
                warm_until: cursor.position,
                fresh: false,
                regressed,
                lost,
            }
        }
        _ => {
            let start = (stream.last.saturating_sub(warmup) + 1).max(stream.first).max(1);
            let known = false;
            Begin { start, known, warm_until: stream.last, fresh: true, regressed, lost: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(epoch: &str, position: u64) -> Cursor {
        Cursor { epoch: epoch.into(), position, stored: None }
    }

    fn stream(first: u64, last: u64) -> Observed<'static> {
        Observed { epoch: "e1", first, last }
    }

    #[test]
    fn a_stream_new_to_us_is_read_back_at_most_as_far_as_asked() {
        let begin = begin(None, stream(1, 1_000), 100);
        assert_eq!((begin.start, begin.warm_until, begin.fresh), (901, 1_000, true));
    }

    #[test]
    fn an_empty_stream_begins_at_one() {
        assert_eq!(begin(None, stream(0, 0), 100).start, 1);
    }

    #[test]
    fn a_stream_we_know_goes_on_behind_our_position() {
        let begin = begin(Some(&cursor("e1", 500)), stream(1, 1_000), 100);
        assert_eq!((begin.start, begin.fresh, begin.lost), (501, false, None));
    }

    #[test]
    fn a_message_that_we_know_is_asked_for_again_while_it_is_there() {
        let cursor = Cursor { stored: Some(7), ..cursor("e1", 500) };
        let again = begin(Some(&cursor), stream(500, 1_000), 100);
        assert_eq!((again.start, again.known, again.warm_until), (500, true, 500));
        let gone = begin(Some(&cursor), stream(501, 1_000), 100);
        assert_eq!((gone.start, gone.known, gone.lost), (501, false, None));
    }

    #[test]
    fn what_retention_took_is_reported() {
        let begin = begin(Some(&cursor("e1", 500)), stream(600, 1_000), 100);
        assert_eq!((begin.start, begin.lost), (600, Some((501, 599))));
    }

    #[test]
    fn everything_purged_is_reported_too() {
        // An emptied stream says first = last + 1.
        let begin = begin(Some(&cursor("e1", 500)), stream(1_001, 1_000), 100);
        assert_eq!((begin.start, begin.lost), (1_001, Some((501, 1_000))));
    }

    #[test]
    fn another_epoch_or_a_lost_tail_begins_anew() {
        assert!(begin(Some(&cursor("e0", 500)), stream(1, 1_000), 100).fresh);
        let back = begin(Some(&cursor("e1", 500)), stream(1, 400), 100);
        assert!(back.fresh && back.regressed);
    }
}
