//! Grant: what a verified token gives its holder.

use crate::permits::Permits;

/// Who a client is, what it may hear, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The user, from the configured claim. Absent for clients without a token.
    pub user: Option<Box<str>>,
    /// The token's own name (`jti`).
    pub token_id: Option<Box<str>>,
    /// When it ends (Unix ms): `exp` and the leeway. Absent: never.
    pub expires_at_ms: Option<u64>,
    /// What the client may hear.
    pub permits: Permits,
    /// Patterns that the client is subscribed to without asking, all of them allowed.
    pub set: Box<[Box<str>]>,
    /// Patterns of the token that are none, and were left out.
    pub left_out: usize,
}

impl Grant {
    /// Whether its time is over.
    pub fn has_ended(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| end <= now_ms)
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let set = self.set.iter().map(|one| one.len() + size_of::<Box<str>>()).sum::<usize>();
        size_of::<Self>() + text(&self.user) + text(&self.token_id) + set + self.permits.bytes()
    }
}
