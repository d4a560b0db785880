//! Patterns: a set of patterns of channels as one automaton, and the two questions that permissions ask of it.
//!
//! A pattern is tokens between dots; `*` is any one token, `>` at the end any tokens, at least one. All patterns of a set are
//! followed at once, a bit each, so that a question costs one look-up per token however many patterns there are.

/// Most patterns of a set: a bit each.
pub(crate) const MAX_PATTERNS: usize = 128;

/// Patterns, by a bit each.
type Bits = u128;

/// A set of valid patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PatternSet {
    /// All of them.
    all: Bits,
    /// What stands at each depth.
    levels: Box<[Level]>,
}

/// One depth: which patterns have what there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    /// Those with `*`.
    any: Bits,
    /// Those with `>`.
    rest: Bits,
    /// Those that ended before it.
    ended: Bits,
    /// Those with a plain token, by token, sorted.
    plain: Vec<(Box<str>, Bits)>,
}

impl Level {
    /// Patterns that accept this token.
    fn accepting(&self, token: &str) -> Bits {
        let found = self.plain.binary_search_by(|(plain, _)| (**plain).cmp(token));
        let plain = found.ok().and_then(|at| self.plain.get(at)).map_or(0, |(_, bits)| *bits);
        self.any | self.rest | plain
    }
}

impl PatternSet {
    /// A set of patterns that are valid; what is beyond [`MAX_PATTERNS`] is left out.
    pub(crate) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut levels, mut all): (Vec<Level>, Bits) = (Vec::new(), 0);
        for (number, pattern) in patterns.into_iter().take(MAX_PATTERNS).enumerate() {
            let bit = 1 << number;
            all |= bit;
            let depth = pattern.split('.').count();
            if levels.len() <= depth {
                levels.resize(depth + 1, Level::default());
            }
            for (level, token) in levels.iter_mut().zip(pattern.split('.')) {
                match token {
                    "*" => level.any |= bit,
                    ">" => level.rest |= bit,
                    plain => match level.plain.binary_search_by(|(one, _)| (**one).cmp(plain)) {
                        Ok(at) => {
                            level.plain.get_mut(at).into_iter().for_each(|(_, bits)| *bits |= bit)
                        }
                        Err(at) => level.plain.insert(at, (plain.into(), bit)),
                    },
                }
            }
            if let Some(level) = levels.get_mut(depth) {
                level.ended |= bit;
            }
        }
        for level in &mut levels {
            level.plain.shrink_to_fit();
        }
        Self { all, levels: levels.into() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// Bytes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let level = |level: &Level| {
            let plain =
                level.plain.iter().map(|(token, _)| token.len() + size_of::<(Box<str>, Bits)>());
            size_of::<Level>() + plain.sum::<usize>()
        };
        self.levels.iter().map(level).sum()
    }

    /// Whether every channel that a valid pattern matches is matched by some pattern of the set.
    ///
    /// Exact for the union: what `*` stands for may be a token that no pattern of the set names, and whatever matches such a
    /// channel matches it with every other token there as well. So only the patterns with a wildcard at that depth count.
    pub(crate) fn contains(&self, pattern: &str) -> bool {
        let mut active = self.all;
        let mut tokens = pattern.split('.');
        let mut levels = self.levels.iter();
        loop {
            // Nobody is asked beyond the last level: what is active there has `>` before it, or has ended.
            let Some(level) = levels.next() else { return false };
            match tokens.next() {
                None => return active & level.ended != 0,
                Some(_) if active & level.rest != 0 => return true,
                Some(">") => return contains_rest(active & level.any, levels),
                Some("*") => active &= level.any,
                Some(token) => active &= level.accepting(token),
            }
            if active == 0 {
                return false;
            }
        }
    }

    /// Whether some channel is matched by a valid pattern and by one of the set.
    pub(crate) fn overlaps(&self, pattern: &str) -> bool {
        let mut active = self.all;
        let mut tokens = pattern.split('.');
        for level in &self.levels {
            match tokens.next() {
                None => return active & level.ended != 0,
                Some(_) if active & level.rest != 0 => return true,
                // Any pattern with a token here has a channel that begins so.
                Some(">") => return active & !level.ended != 0,
                Some("*") => active &= !level.ended,
                Some(token) => active &= level.accepting(token),
            }
            if active == 0 {
                return false;
            }
        }
        false
    }
}

/// Whether patterns that have just matched the first token of a `>` match everything that may follow, nothing included.
fn contains_rest<'a>(mut active: Bits, levels: impl Iterator<Item = &'a Level>) -> bool {
    for level in levels {
        if active & level.ended == 0 {
            return false;
        }
        if active & level.rest != 0 {
            return true;
        }
        active &= level.any;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(patterns: &[&str]) -> PatternSet {
        PatternSet::new(patterns.iter().copied())
    }

    #[test]
    fn a_pattern_is_contained_if_all_that_it_matches_is() {
        for (patterns, pattern, want) in [
            (&["a.*"][..], "a.b", true),
            (&["a.*"], "a.b.c", false),
            (&["a.*"], "a", false),
            (&["a.*"], "a.>", false),
            (&["a.>"], "a.*.>", true),
            (&["a.>"], "a", false),
            (&["a.b"], "a.*", false),
            (&["*", "*.>"], ">", true),
            (&["*", "*.*", "*.*.>"], ">", true),
            (&["*", "*.*.>"], ">", false),
            (&["*.>"], ">", false),
            (&["a.b", "a.*"], "a.*", true),
            (&["*.b", "a.*"], "a.b", true),
            (&["*.b", "a.*"], "*.*", false),
            (&[">"], ">", true),
            (&[], ">", false),
            (&[], "a", false),
        ] {
            assert_eq!(set(patterns).contains(pattern), want, "{patterns:?} {pattern}");
        }
    }

    #[test]
    fn patterns_overlap_if_some_channel_is_matched_by_both() {
        for (patterns, pattern, want) in [
            (&["a.secret"][..], "a.*", true),
            (&["a.secret"], "*.secret", true),
            (&["a.secret"], "a.b", false),
            (&["a.secret"], ">", true),
            (&["a.secret"], "a.secret.>", false),
            (&["a.secret.>"], "a.secret", false),
            (&["a.>"], "*.b.c", true),
            (&["a"], "a.>", false),
            (&[], ">", false),
        ] {
            assert_eq!(set(patterns).overlaps(pattern), want, "{patterns:?} {pattern}");
        }
    }

    /// One more token than any pattern names, one more deep than any pattern is.
    const ALPHABET: [&str; 3] = ["a", "b", "c"];
    const DEPTH: usize = 5;

    fn channels() -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        let mut last = vec![String::new()];
        for _ in 0..DEPTH {
            last = last
                .iter()
                .flat_map(|before| ALPHABET.map(|token| format!("{before}.{token}")))
                .collect();
            all.extend(last.iter().map(|channel| channel[1..].to_owned()));
        }
        all
    }

    fn matches(pattern: &str, channel: &str) -> bool {
        let (mut tokens, mut rest) = (channel.split('.'), false);
        for want in pattern.split('.') {
            match (want, tokens.next()) {
                (_, None) => return false,
                (">", Some(_)) => rest = true,
                (want, Some(token)) if want != "*" && want != token => return false,
                _ => {}
            }
        }
        rest || tokens.next().is_none()
    }

    fn pattern() -> impl Strategy<Value = String> {
        let token = prop_oneof![2 => Just("a"), 2 => Just("b"), 3 => Just("*")];
        (prop::collection::vec(token, 0..4), any::<bool>()).prop_map(|(mut tokens, rest)| {
            if rest || tokens.is_empty() {
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn both_answers_are_those_of_brute_force(
            patterns in prop::collection::vec(pattern(), 0..8),
            asked in pattern(),
        ) {
            let set = PatternSet::new(patterns.iter().map(String::as_str));
            let within = |channel: &String| patterns.iter().any(|pattern| matches(pattern, channel));
            let asked_for: Vec<String> =
                channels().into_iter().filter(|channel| matches(&asked, channel)).collect();
            prop_assert_eq!(set.contains(&asked), asked_for.iter().all(within), "contains");
            prop_assert_eq!(set.overlaps(&asked), asked_for.iter().any(within), "overlaps");
        }
    }
}
