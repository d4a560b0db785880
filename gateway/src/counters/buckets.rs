//! Histograms that one thread enters into and a scrape reads: plain counts by upper bound, no lock and no read-modify-write.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts by upper bound, and the sum of what was entered. The last count is of what is beyond all bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets<const N: usize> {
    /// Not cumulative.
    pub counts: [u64; N],
    pub sum: u64,
}

/// The published copy.
#[derive(Debug)]
pub(crate) struct Published<const N: usize> {
    counts: [AtomicU64; N],
    sum: AtomicU64,
}

/// The count that a value belongs to.
fn place(bounds: &[u64], value: u64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

impl<const N: usize> Default for Buckets<N> {
    fn default() -> Self {
        Self { counts: [0; N], sum: 0 }
    }
}

impl<const N: usize> Default for Published<N> {
    fn default() -> Self {
        Self { counts: array::from_fn(|_| AtomicU64::default()), sum: AtomicU64::default() }
    }
}

impl<const N: usize> Buckets<N> {
    /// Enters a value; there is one bound less than counts.
    pub(crate) fn enter(&mut self, bounds: &[u64], value: u64) {
        if let Some(count) = self.counts.get_mut(place(bounds, value)) {
            *count += 1;
        }
        self.sum = self.sum.wrapping_add(value);
    }

    /// Values entered.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds those of another one.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

impl<const N: usize> Published<N> {
    /// Publishes all counts.
    pub(super) fn store(&self, buckets: &Buckets<N>) {
        for (published, count) in self.counts.iter().zip(buckets.counts) {
            published.store(count, Relaxed);
        }
        self.sum.store(buckets.sum, Relaxed);
    }

    /// Enters a value; only one thread may.
    pub(super) fn enter(&self, bounds: &[u64], value: u64) {
        if let Some(count) = self.counts.get(place(bounds, value)) {
            count.store(count.load(Relaxed) + 1, Relaxed);
        }
        self.sum.store(self.sum.load(Relaxed).wrapping_add(value), Relaxed);
    }

    /// The counts as last published.
    pub(super) fn load(&self) -> Buckets<N> {
        let counts =
            array::from_fn(|at| self.counts.get(at).map_or(0, |count| count.load(Relaxed)));
        Buckets { counts, sum: self.sum.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_within_it() {
        let published = Published::<3>::default();
        let mut buckets = Buckets::<3>::default();
        for value in [0, 5, 6, 10, 11] {
            buckets.enter(&[5, 10], value);
            published.enter(&[5, 10], value);
        }
        assert_eq!((buckets.counts, buckets.sum, buckets.count()), ([2, 2, 1], 32, 5));
        let entered = published.load();
        assert_eq!((entered.counts, entered.sum), (buckets.counts, buckets.sum));
        buckets.add(&entered);
        published.store(&buckets);
        assert_eq!((published.load().counts, published.load().sum), ([4, 4, 2], 64));
    }
}
