//! Fields that an old server drops without a word, told from those that somebody else sets back at once.
//!
//! Either way the answer to a change shows other values than were asked for: nats-server fills it in after others have heard
//! of the change. An old server does so every time, somebody else seldom. So it takes a few such answers in a row to know.

use wsgateway_nats::Change;

/// As many answers in a row are certainty. No more than corrections are allowed, which are counted meanwhile.
const CERTAIN: usize = super::corrections::MOST;

/// What servers have answered to changes.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    /// Changes that were not in the answer, and the version of the server.
    seen: Option<(Vec<Change>, String)>,
    times: usize,
}

impl Ignored {
    /// These changes were not in the answer of a server of this version.
    pub(super) fn saw(&mut self, changes: &[Change], version: &str) {
        self.times = if self.has_seen(changes, version) { self.times + 1 } else { 1 };
        self.seen = Some((changes.to_vec(), version.to_owned()));
    }

    /// Whether there is no use in sending these changes to a server of this version.
    pub(super) fn is_certain(&self, changes: &[Change], version: &str) -> bool {
        self.times >= CERTAIN && self.has_seen(changes, version)
    }

    fn has_seen(&self, changes: &[Change], version: &str) -> bool {
        self.seen.as_ref().is_some_and(|(seen, by)| seen == changes && by == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(field: &'static str) -> Vec<Change> {
        vec![Change { field, from: "None".to_owned(), to: "S2".to_owned() }]
    }

    #[test]
    fn what_a_server_ignores_again_and_again_is_not_sent_any_more_unless_it_is_another_server() {
        let (mut ignored, changes) = (Ignored::default(), change("compression"));
        for _ in 0..CERTAIN {
            assert!(!ignored.is_certain(&changes, "2.9.0"));
            ignored.saw(&changes, "2.9.0");
        }
        assert!(ignored.is_certain(&changes, "2.9.0"));
        assert!(!ignored.is_certain(&changes, "2.10.0"), "it was upgraded");
        assert!(!ignored.is_certain(&change("metadata"), "2.9.0"));
        ignored.saw(&change("metadata"), "2.9.0");
        assert!(!ignored.is_certain(&change("metadata"), "2.9.0"), "counted from the beginning");
    }
}
