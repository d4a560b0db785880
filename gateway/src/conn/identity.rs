//! Identity: who the client of a connection is, and what is to be done when its token ends.

use std::sync::Arc;

use wsgateway_access::Grant;

/// A client is told so long before its token ends, or at half of its time if that is less (ms): an issuer may be slow, and a
/// page in the background wakes once a minute.
const NOTICE_MS: u64 = 60_000;

/// Who a client is. Only connections that had to show a token have one.
#[derive(Debug)]
pub(crate) struct Identity {
    pub grant: Arc<Grant>,
    /// When the client is told (Unix ms); `None` once it was.
    notice_at_ms: Option<u64>,
    /// Tick of the visit that is due next; visits that were entered for later are void.
    pub visit_at: u32,
    /// Which of the patterns that its token sets, by a bit each, a client has asked for as well.
    asked: u128,
    /// Tick until which no other token is looked at, since the last one was refused.
    pub closed_until: u32,
}

/// What is to be done about a token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until then (Unix ms).
    Wait(u64),
    /// The client is to be told when it ends (Unix ms).
    Tell(u64),
    /// Its time is over.
    End,
}

impl Identity {
    /// Of a grant that counts from now on.
    pub(crate) fn new(grant: Arc<Grant>, now_ms: u64) -> Self {
        let notice_at_ms = grant.expires_at_ms.map(|end| notice_at(end, now_ms));
        Self { grant, notice_at_ms, visit_at: u32::MAX, asked: 0, closed_until: 0 }
    }

    /// Takes up another grant; returns the patterns that the one before set, this one does not, and nobody asked for.
    pub(crate) fn renew(&mut self, grant: Arc<Grant>, now_ms: u64) -> Vec<Box<str>> {
        self.notice_at_ms = grant.expires_at_ms.map(|end| notice_at(end, now_ms));
        let (before, asked) = (std::mem::replace(&mut self.grant, grant), self.asked);
        self.asked = 0;
        let mut over = Vec::new();
        for (at, pattern) in (0..u128::BITS).zip(&before.set) {
            match asked & (1 << at) != 0 {
                true => self.ask(pattern),
                false if self.grant.set.contains(pattern) => {}
                false => over.push(pattern.clone()),
            }
        }
        over
    }

    /// A client asks for a pattern: if its token sets it, another token that does not will not end it.
    pub(crate) fn ask(&mut self, pattern: &str) {
        let at = self.grant.set.iter().position(|set| **set == *pattern);
        if let Some(bit) = at.and_then(|at| 1_u128.checked_shl(at as u32)) {
            self.asked |= bit;
        }
    }

    /// What is to be done at a time; `None` if the token never ends.
    pub(crate) fn next(&mut self, now_ms: u64) -> Option<Next> {
        let end = self.grant.expires_at_ms?;
        Some(match self.notice_at_ms {
            _ if end <= now_ms => Next::End,
            Some(at) if at <= now_ms => {
                self.notice_at_ms = None;
                Next::Tell(end)
            }
            Some(at) => Next::Wait(at),
            None => Next::Wait(end),
        })
    }
}

fn notice_at(end: u64, now_ms: u64) -> u64 {
    end - NOTICE_MS.min(end.saturating_sub(now_ms) / 2).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(expires_at_ms: Option<u64>) -> Arc<Grant> {
        Arc::new(Grant { expires_at_ms, ..Grant::default() })
    }

    #[test]
    fn a_client_is_told_once_a_minute_before_and_ended_on_time() {
        let mut identity = Identity::new(grant(Some(600_000)), 0);
        for (now, want) in [
            (0, Next::Wait(540_000)),
            (539_999, Next::Wait(540_000)),
            (540_000, Next::Tell(600_000)),
            (540_000, Next::Wait(600_000)),
            (600_000, Next::End),
        ] {
            assert_eq!(identity.next(now), Some(want), "{now}");
        }
        identity.renew(grant(Some(700_000)), 600_000);
        assert_eq!(identity.next(600_000), Some(Next::Wait(650_000)), "half of its time");
        identity.renew(grant(None), 600_000);
        assert_eq!(identity.next(u64::MAX), None);
    }

    #[test]
    fn what_no_token_sets_any_more_is_over_unless_it_was_asked_for() {
        let setting = |patterns: &[&str]| {
            let set = patterns.iter().map(|&pattern| pattern.into()).collect();
            Arc::new(Grant { set, ..Grant::default() })
        };
        let mut identity = Identity::new(setting(&["a", "b", "c"]), 0);
        identity.ask("b");
        identity.ask("x");
        assert_eq!(identity.renew(setting(&["b", "c", "d"]), 0).join(" "), "a");
        assert_eq!(identity.renew(setting(&[]), 0).join(" "), "c d");
        assert!(identity.renew(setting(&["b"]), 0).is_empty(), "nothing was set");
    }

    #[test]
    fn a_token_that_has_ended_or_never_does_is_no_trouble() {
        assert_eq!(Identity::new(grant(Some(5)), 9).next(9), Some(Next::End));
        let mut endless = Identity::new(grant(Some(u64::MAX)), 0);
        assert_eq!(endless.next(0), Some(Next::Wait(u64::MAX - NOTICE_MS)));
    }
}
