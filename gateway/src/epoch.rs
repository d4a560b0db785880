//! Epochs: the identity of a stream, as clients know it. A string without meaning to them.

/// Whether an epoch is that of a stream that was restored without its tail: sequences of this one have been given before.
pub(crate) fn is_restored(epoch: &str) -> bool {
    epoch.contains('-')
}
