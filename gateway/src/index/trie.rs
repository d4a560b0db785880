//! Wildcard patterns by token, so that finding the patterns of a channel costs its depth, not their number.
//!
//! Flat: all nodes lie in one arena and one table finds a node by its parent and token, so a node costs tens of bytes
//! and never a table of its own. What must hold: a node exists exactly as long as some pattern needs it, and
//! [`Trie::bytes`] is what the patterns held now cost.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use slab::Slab;

/// No node, no pattern.
const NONE: u32 = u32::MAX;

/// A set of wildcard patterns, each with a number of the caller's.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    /// Children by parent and token.
    edges: HashTable<u32>,
    /// Seeded per trie: clients choose the tokens.
    hasher: RandomState,
    root: Node,
    /// Bytes of all nodes but the root.
    bytes: usize,
}

#[derive(Debug)]
struct Node {
    token: Box<str>,
    parent: u32,
    /// Children of this node.
    children: u32,
    /// The child for `*`.
    star: u32,
    /// A pattern that ends here.
    end: u32,
    /// A pattern that ends in `>` here.
    rest: u32,
}

/// A node's share of the arena and of the table, both of which may be half empty, and the block of its token.
const NODE_BYTES: usize = 2 * size_of::<Node>() + 3 * size_of::<u32>() + 16;

impl Node {
    fn new(parent: u32, token: &str) -> Self {
        Self { token: token.into(), parent, children: 0, star: NONE, end: NONE, rest: NONE }
    }

    fn is_empty(&self) -> bool {
        self.children == 0 && self.end == NONE && self.rest == NONE
    }

    fn bytes(&self) -> usize {
        NODE_BYTES + self.token.len()
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: Slab::new(),
            edges: HashTable::new(),
            hasher: RandomState::new(),
            root: Node::new(NONE, ""),
            bytes: 0,
        }
    }
}

impl Trie {
    /// Bytes that the patterns cost.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most bytes that a pattern can cost: it shares no node with another one.
    pub(crate) fn most_bytes(pattern: &str) -> usize {
        let tokens = pattern.split('.').count();
        tokens * NODE_BYTES + pattern.len()
    }

    /// Adds a valid pattern.
    pub(crate) fn insert(&mut self, pattern: &str, number: u32) {
        let mut node = NONE;
        for token in pattern.split('.') {
            if token == ">" {
                self.node_mut(node).rest = number;
                return;
            }
            node = match self.child(node, token) {
                NONE => self.create(node, token),
                child => child,
            };
        }
        self.node_mut(node).end = number;
    }

    /// Removes a pattern and every node that only it needed.
    pub(crate) fn remove(&mut self, pattern: &str) {
        let mut node = NONE;
        let mut ends_in_rest = false;
        for token in pattern.split('.') {
            if token == ">" {
                ends_in_rest = true;
                break;
            }
            node = match self.child(node, token) {
                NONE => return,
                child => child,
            };
        }
        let last = self.node_mut(node);
        match ends_in_rest {
            true => last.rest = NONE,
            false => last.end = NONE,
        }
        while node != NONE && self.node(node).is_empty() {
            node = self.destroy(node);
        }
    }

    /// Appends the numbers of all patterns that match the channel.
    pub(crate) fn matches(&self, channel: &str, found: &mut Vec<u32>) {
        self.collect(NONE, Some(channel), found);
    }

    /// As deep as the deepest pattern, which [`wsgateway_proto::channel::MAX_TOKENS`] bounds, however deep the channel.
    fn collect(&self, place: u32, rest: Option<&str>, found: &mut Vec<u32>) {
        let node = self.node(place);
        let Some(rest) = rest else {
            found.extend(Some(node.end).filter(|end| *end != NONE));
            return;
        };
        found.extend(Some(node.rest).filter(|rest| *rest != NONE));
        if node.children == 0 {
            return;
        }
        let (token, rest) = match rest.split_once('.') {
            Some((token, rest)) => (token, Some(rest)),
            None => (rest, None),
        };
        if node.star != NONE {
            self.collect(node.star, rest, found);
        }
        // A channel may have a token "*" of its own; that child is the one above.
        let literal = if token == "*" { NONE } else { self.child(place, token) };
        if literal != NONE {
            self.collect(literal, rest, found);
        }
    }

    fn hash(hasher: &RandomState, parent: u32, token: &str) -> u64 {
        hasher.hash_one((parent, token))
    }

    /// The child of a node with this token, or [`NONE`].
    fn child(&self, parent: u32, token: &str) -> u32 {
        if token == "*" {
            return self.node(parent).star;
        }
        let is_it = |place: &u32| {
            let node = self.node(*place);
            node.parent == parent && *node.token == *token
        };
        self.edges.find(Self::hash(&self.hasher, parent, token), is_it).copied().unwrap_or(NONE)
    }

    fn create(&mut self, parent: u32, token: &str) -> u32 {
        let node = Node::new(parent, token);
        self.bytes += node.bytes();
        let place = self.nodes.insert(node) as u32;
        self.node_mut(parent).children += 1;
        if token == "*" {
            self.node_mut(parent).star = place;
            return place;
        }
        let Self { nodes, edges, hasher, .. } = self;
        let hash = Self::hash(hasher, parent, token);
        edges.insert_unique(hash, place, |place| {
            nodes
                .get(*place as usize)
                .map_or(0, |node| Self::hash(hasher, node.parent, &node.token))
        });
        place
    }

    /// Removes a node without children; returns its parent.
    fn destroy(&mut self, place: u32) -> u32 {
        let node = self.nodes.remove(place as usize);
        self.bytes -= node.bytes();
        let parent = self.node_mut(node.parent);
        parent.children -= 1;
        if parent.star == place {
            parent.star = NONE;
        } else {
            let hash = Self::hash(&self.hasher, node.parent, &node.token);
            if let Ok(edge) = self.edges.find_entry(hash, |edge| *edge == place) {
                edge.remove();
            }
        }
        self.shrink();
        node.parent
    }

    /// Gives back what a crowd of patterns has made the tables grow by.
    fn shrink(&mut self) {
        if self.nodes.is_empty() {
            self.nodes.shrink_to_fit();
            self.edges = HashTable::new();
        }
    }

    /// The node at a place; [`NONE`] is the root.
    fn node(&self, place: u32) -> &Node {
        self.nodes.get(place as usize).unwrap_or(&self.root)
    }

    fn node_mut(&mut self, place: u32) -> &mut Node {
        self.nodes.get_mut(place as usize).unwrap_or(&mut self.root)
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
            let most: usize = patterns.iter().map(|pattern| Trie::most_bytes(pattern)).sum();
            prop_assert!(trie.bytes() <= most);
            for pattern in &patterns {
                trie.remove(pattern);
            }
            prop_assert!(trie.nodes.is_empty() && trie.edges.is_empty() && trie.root.is_empty());
            prop_assert_eq!(trie.bytes(), 0);
        }
    }
}
