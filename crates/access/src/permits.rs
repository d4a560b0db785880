//! Permits: what a client may hear.

use crate::patterns::PatternSet;

/// What a client may hear: what is allowed and not denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    allowed: PatternSet,
    denied: PatternSet,
}

impl Permits {
    /// Permits of valid patterns.
    pub(crate) fn new<'a>(
        allowed: impl IntoIterator<Item = &'a str>,
        denied: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self { allowed: PatternSet::new(allowed), denied: PatternSet::new(denied) }
    }

    /// Whether a client may subscribe to a valid channel or pattern: everything that it can match is allowed, and nothing of
    /// it denied.
    pub fn allows(&self, pattern: &str) -> bool {
        self.allowed.contains(pattern) && (self.denied.is_empty() || !self.denied.overlaps(pattern))
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.allowed.bytes() + self.denied.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_denied_whatever_is_allowed() {
        let permits = Permits::new(["desk.>", "public.*"], ["desk.*.secret"]);
        for (pattern, want) in [
            ("desk.eu.trades", true),
            ("desk.eu.secret", false),
            ("desk.eu.*", false),
            ("desk.eu.secret.x", true),
            ("desk.>", false),
            ("public.*", true),
            ("public.>", false),
            (">", false),
            ("other", false),
        ] {
            assert_eq!(permits.allows(pattern), want, "{pattern}");
        }
        assert!(!Permits::default().allows("a"), "nothing is allowed by default");
    }
}
