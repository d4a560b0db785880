//! What the pods of one WsGateway report to each other about their users' connections, over core NATS.
//!
//! Bytes in, [`Report`] out, and back. Whoever may publish to the subject may write anything: nothing here panics or
//! takes more than the message's own size.
//!
//! Layout (big endian): version, kind, pod (8), then by kind. A connection is user (8), opened (6), number (4): 18 bytes
//! when it opens, 18 when it closes, and 18 in each snapshot.

use super::roster::{Entry, PodId};

/// The first byte of every message. Another version is not read: its pods count for themselves during a rollout.
const VERSION: u8 = 1;

/// Bytes of one connection.
pub(super) const ENTRY: usize = 18;

/// Most connections in one message: 32 KiB, far below what a server accepts.
pub(super) const MOST_ENTRIES: usize = 1_800;

/// Largest time that fits (ms): the year 10889.
const MOST_OPENED: u64 = (1 << 48) - 1;

/// What a pod reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub pod: PodId,
    pub news: News,
}

/// Of which kind it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A pod has begun, or its connection to NATS has: all others are to send what they have.
    Hello,
    /// Connections have opened and closed. Numbered, so that a lost report is noticed.
    Changes { sequence: u64, opened: Vec<Entry>, closed: Vec<Entry> },
    /// All connections of a pod, in parts, as of the changes with this number.
    Snapshot { sequence: u64, part: u16, is_last: bool, entries: Vec<Entry> },
    /// A pod lives, and this was the number of its last changes.
    Beat { sequence: u64 },
    /// What that pod has is to be sent again.
    Ask { of: PodId },
    /// A pod has ended.
    Bye,
}

impl Report {
    /// The message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.news.kind()];
        out.extend(self.pod.to_be_bytes());
        match &self.news {
            News::Hello | News::Bye => {}
            News::Changes { sequence, opened, closed } => {
                out.extend(sequence.to_be_bytes());
                out.extend(count(opened).to_be_bytes());
                opened.iter().chain(closed).for_each(|entry| put(&mut out, entry));
            }
            News::Snapshot { sequence, part, is_last, entries } => {
                out.extend(sequence.to_be_bytes());
                out.extend(part.to_be_bytes());
                out.push(u8::from(*is_last));
                entries.iter().for_each(|entry| put(&mut out, entry));
            }
            News::Beat { sequence } => out.extend(sequence.to_be_bytes()),
            News::Ask { of } => out.extend(of.to_be_bytes()),
        }
        out
    }

    /// What a message says; `None` if it is of another version, or makes no sense.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)? != [VERSION] {
            return None;
        }
        let [kind] = take(rest)?;
        let pod = PodId::from_be_bytes(take(rest)?);
        let news = match kind {
            1 => News::Hello,
            2 => {
                let sequence = u64::from_be_bytes(take(rest)?);
                let count = usize::from(u16::from_be_bytes(take(rest)?));
                let mut opened = entries(rest, pod)?;
                let closed = (count <= opened.len()).then(|| opened.split_off(count))?;
                News::Changes { sequence, opened, closed }
            }
            3 => {
                let sequence = u64::from_be_bytes(take(rest)?);
                let part = u16::from_be_bytes(take(rest)?);
                let is_last = take::<1>(rest)? != [0];
                News::Snapshot { sequence, part, is_last, entries: entries(rest, pod)? }
            }
            4 => News::Beat { sequence: u64::from_be_bytes(take(rest)?) },
            5 => News::Ask { of: PodId::from_be_bytes(take(rest)?) },
            6 => News::Bye,
            _ => return None,
        };
        bytes.is_empty().then_some(Self { pod, news })
    }
}

impl News {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Changes { .. } => 2,
            Self::Snapshot { .. } => 3,
            Self::Beat { .. } => 4,
            Self::Ask { .. } => 5,
            Self::Bye => 6,
        }
    }
}

fn count(entries: &[Entry]) -> u16 {
    u16::try_from(entries.len()).unwrap_or(u16::MAX)
}

fn put(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(entry.user.to_be_bytes());
    let [_, _, opened @ ..] = entry.opened.min(MOST_OPENED).to_be_bytes();
    out.extend(opened);
    out.extend(entry.number.to_be_bytes());
}

/// The connections that a message ends with, all of them and nothing else.
fn entries(rest: &mut &[u8], pod: PodId) -> Option<Vec<Entry>> {
    if !rest.len().is_multiple_of(ENTRY) || rest.len() / ENTRY > MOST_ENTRIES {
        return None;
    }
    let mut entries = Vec::with_capacity(rest.len() / ENTRY);
    while !rest.is_empty() {
        let user = u64::from_be_bytes(take(rest)?);
        let opened: [u8; 6] = take(rest)?;
        let opened = opened.into_iter().fold(0, |all, byte| all << 8 | u64::from(byte));
        entries.push(Entry { user, opened, pod, number: u32::from_be_bytes(take(rest)?) });
    }
    Some(entries)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(n: u64) -> Entry {
        Entry { user: n << 40 | 7, opened: 1_700_000_000_000 + n, pod: 9, number: n as u32 }
    }

    fn all() -> Vec<Report> {
        let two = vec![entry(1), entry(2)];
        [
            News::Hello,
            News::Changes { sequence: 3, opened: two.clone(), closed: vec![entry(3)] },
            News::Changes { sequence: u64::MAX, opened: vec![], closed: two.clone() },
            News::Snapshot { sequence: 3, part: 7, is_last: true, entries: two },
            News::Snapshot { sequence: 0, part: 0, is_last: false, entries: vec![] },
            News::Beat { sequence: 12 },
            News::Ask { of: 77 },
            News::Bye,
        ]
        .map(|news| Report { pod: 9, news })
        .into()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for report in all() {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
    }

    #[test]
    fn a_connection_costs_eighteen_bytes() {
        let changes = |opened| {
            Report { pod: 1, news: News::Changes { sequence: 1, opened, closed: vec![] } }
                .encode()
                .len()
        };
        assert_eq!(changes(vec![entry(1); 100]) - changes(vec![]), 100 * ENTRY);
        let largest = News::Snapshot {
            sequence: 1,
            part: 0,
            is_last: true,
            entries: vec![entry(1); MOST_ENTRIES],
        };
        let bytes = Report { pod: 1, news: largest }.encode();
        assert!(bytes.len() < 33 << 10 && Report::decode(&bytes).is_some());
    }

    #[test]
    fn a_message_that_is_cut_too_long_or_of_another_version_says_nothing() {
        for report in all() {
            let whole = report.encode();
            for len in 0..whole.len() {
                let cut = Report::decode(&whole[..len]);
                // Fewer whole connections are a message too.
                let shorter = (whole.len() - len) % ENTRY == 0 && whole.len() - len > 0;
                assert!(cut.is_none() || shorter, "{report:?} {len}");
            }
            let mut other = whole.clone();
            other[0] = 2;
            assert_eq!(Report::decode(&other), None);
            let longer = [&whole[..], &[0]].concat();
            assert_eq!(Report::decode(&longer), None, "{report:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_danger(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _read = Report::decode(&bytes);
            if let [version, kind, ..] = &mut bytes[..] {
                (*version, *kind) = (VERSION, *kind % 8);
            }
            if let Some(report) = Report::decode(&bytes) {
                prop_assert_eq!(Report::decode(&report.encode()), Some(report));
            }
        }
    }
}
