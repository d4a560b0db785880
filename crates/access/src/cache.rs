//! Cache: tokens that were verified, so that a client that comes back costs no signature.
//!
//! In two halves: what is looked up moves to the young one; when that is full it becomes the old one, and what was old is
//! dropped. The key is the whole token, so no collision grants anything, and the hash has a secret of this process.

use std::collections::HashMap;
use std::sync::Arc;

use crate::grant::Grant;

/// Bytes of an entry besides its token and its grant, about.
const ENTRY: usize = 96;

/// Verified tokens, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Cache {
    young: HashMap<Box<str>, Arc<Grant>>,
    old: HashMap<Box<str>, Arc<Grant>>,
    young_bytes: usize,
    /// Most bytes of one half.
    half: usize,
}

impl Cache {
    /// A cache of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, half: bytes / 2 }
    }

    /// What a token grants, if it was verified and has not ended.
    pub(crate) fn get(&mut self, token: &str, now_ms: u64) -> Option<Arc<Grant>> {
        if let Some(grant) = self.young.get(token) {
            return (!grant.has_ended(now_ms)).then(|| Arc::clone(grant));
        }
        let (token, grant) = self.old.remove_entry(token)?;
        if grant.has_ended(now_ms) {
            return None;
        }
        self.put(token, Arc::clone(&grant));
        Some(grant)
    }

    /// Keeps what a token grants.
    pub(crate) fn put(&mut self, token: Box<str>, grant: Arc<Grant>) {
        let bytes = token.len() + grant.bytes() + ENTRY;
        if self.young_bytes + bytes > self.half {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if bytes <= self.half && self.young.insert(token, grant).is_none() {
            self.young_bytes += bytes;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(2 * self.half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_remembered_until_it_ends() {
        let mut cache = Cache::new(1 << 20);
        let grant = Arc::new(Grant { expires_at_ms: Some(10), ..Grant::default() });
        cache.put("a".into(), grant);
        assert!(cache.get("a", 9).is_some() && cache.get("a", 10).is_none());
        assert!(cache.get("b", 0).is_none());
        cache.clear();
        assert!(cache.get("a", 0).is_none());
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_nobody_asks_for() {
        const BYTES: usize = 64 << 10;
        let mut cache = Cache::new(BYTES);
        let grant = Arc::new(Grant::default());
        let one = 5 + grant.bytes() + ENTRY;
        for number in 0..10_000 {
            cache.put(format!("{number:05}").into(), Arc::clone(&grant));
            assert!(cache.get("00000", 0).is_some(), "one that is asked for stays");
            assert!((cache.young.len() + cache.old.len()) * one <= BYTES);
        }
        assert!(cache.get("00001", 0).is_none());
        cache.put("x".repeat(BYTES).into(), grant);
        assert!(
            cache.young.len() + cache.old.len() <= BYTES / one,
            "what is too large is not kept"
        );
    }
}
