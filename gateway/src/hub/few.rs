//! A set that is small as a rule: what a command names, what a connection has.

use std::collections::HashSet;
use std::hash::Hash;

/// As many are found by comparing them all sooner than by hashing one.
const FEW: usize = 8;

/// Copies of a few values without an allocation, or of many in a table: finding one never costs more than [`FEW`]
/// comparisons or one look-up, whoever chose the values.
#[derive(Debug)]
pub(crate) struct Few<T> {
    few: [T; FEW],
    len: usize,
    many: HashSet<T>,
}

impl<T: Copy + Default + Eq + Hash> Few<T> {
    pub(crate) fn new() -> Self {
        Self { few: [T::default(); FEW], len: 0, many: HashSet::new() }
    }

    /// Adds a value; false if it was there.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        if self.contains(value) {
            return false;
        }
        match self.few.get_mut(self.len) {
            Some(place) => {
                *place = value;
                self.len += 1;
                true
            }
            None => self.many.insert(value),
        }
    }

    pub(crate) fn contains(&self, value: T) -> bool {
        let few = self.few.get(..self.len).unwrap_or_default();
        few.contains(&value) || !self.many.is_empty() && self.many.contains(&value)
    }

    pub(crate) fn len(&self) -> usize {
        self.len + self.many.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T: Copy + Default + Eq + Hash> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = Self::new();
        for value in values {
            set.insert(value);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_few_and_of_many_is_the_set_that_it_was_made_of() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, 100 * FEW] {
            // Each twice, so that repetitions fall on both sides of the border.
            let mut set: Few<usize> = (0..count).chain(0..count).collect();
            assert_eq!((set.len(), set.is_empty()), (count, count == 0));
            assert!((0..count).all(|value| set.contains(value) && !set.insert(value)));
            assert!(!set.contains(count) && set.insert(count) && !set.insert(count));
        }
    }
}
