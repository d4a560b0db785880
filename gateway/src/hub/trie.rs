//! Wildcard patterns by token, so that finding the patterns of a channel costs its depth, not their number.

use std::collections::HashMap;

/// A set of wildcard patterns, each with a number of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    star: Option<Box<Node>>,
    /// A pattern that ends here.
    end: Option<u32>,
    /// A pattern that ends in `>` here.
    rest: Option<u32>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.star.is_none() && self.end.is_none() && self.rest.is_none()
    }
}

impl Trie {
    /// Adds a valid pattern.
    pub(crate) fn insert(&mut self, pattern: &str, number: u32) {
        let mut node = &mut self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => {
                    node.rest = Some(number);
                    return;
                }
                "*" => node.star.get_or_insert_default(),
                literal => node.literal.entry(literal.into()).or_default(),
            };
        }
        node.end = Some(number);
    }

    /// Removes a pattern and every node that only it needed.
    pub(crate) fn remove(&mut self, pattern: &str) {
        remove(&mut self.root, pattern.split('.'));
    }

    /// Appends the numbers of all patterns that match the channel.
    pub(crate) fn matches(&self, channel: &str, found: &mut Vec<u32>) {
        collect(&self.root, Some(channel), found);
    }
}

fn remove<'a>(node: &mut Node, mut tokens: impl Iterator<Item = &'a str>) {
    match tokens.next() {
        None => node.end = None,
        Some(">") => node.rest = None,
        Some("*") => {
            if let Some(next) = &mut node.star {
                remove(next, tokens);
                if next.is_empty() {
                    node.star = None;
                }
            }
        }
        Some(literal) => {
            if let Some(next) = node.literal.get_mut(literal) {
                remove(next, tokens);
                if next.is_empty() {
                    node.literal.remove(literal);
                }
            }
        }
    }
}

fn collect(node: &Node, rest: Option<&str>, found: &mut Vec<u32>) {
    let Some(rest) = rest else {
        found.extend(node.end);
        return;
    };
    found.extend(node.rest);
    let (token, rest) = match rest.split_once('.') {
        Some((token, rest)) => (token, Some(rest)),
        None => (rest, None),
    };
    if let Some(next) = node.literal.get(token) {
        collect(next, rest, found);
    }
    if let Some(next) = &node.star {
        collect(next, rest, found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wsgateway_proto::channel;

    use super::*;

    fn pattern() -> impl Strategy<Value = String> {
        let token = prop_oneof![Just("a"), Just("b"), Just("*")];
        (prop::collection::vec(token, 1..4), any::<bool>()).prop_map(|(mut tokens, tail)| {
            if tail {
                tokens.push(">");
            }
            tokens.join(".")
        })
    }

    fn channel_name() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..5)
            .prop_map(|tokens| tokens.join("."))
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_matching_each_pattern(
            mut patterns in prop::collection::vec(pattern(), 1..12), name in channel_name(), gone in 0usize..12,
        ) {
            patterns.sort();
            patterns.dedup();
            let mut trie = Trie::default();
            for (number, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, number as u32);
            }
            let gone = gone % patterns.len();
            trie.remove(&patterns[gone]);
            let mut found = Vec::new();
            trie.matches(&name, &mut found);
            found.sort_unstable();
            let expected: Vec<u32> = (0..patterns.len() as u32)
                .filter(|n| *n as usize != gone && channel::matches(&patterns[*n as usize], &name))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn an_emptied_trie_holds_no_nodes(mut patterns in prop::collection::vec(pattern(), 1..12)) {
            patterns.sort();
            patterns.dedup();
            let mut trie = Trie::default();
            for (number, pattern) in patterns.iter().enumerate() {
                trie.insert(pattern, number as u32);
            }
            for pattern in &patterns {
                trie.remove(pattern);
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
