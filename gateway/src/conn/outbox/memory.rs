//! The memory that the outboxes of one shard hold: a frame that waits for many clients is there once, and counts once.
//!
//! Guards give back what they were charged when they are dropped, whichever way a frame or a connection ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes held by the outboxes of one shard. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<AtomicUsize>);

impl Meter {
    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Memory of one owner, charged to a meter.
#[derive(Debug)]
pub(crate) struct Charge {
    bytes: usize,
    meter: Meter,
}

impl Charge {
    /// Nothing yet.
    pub(crate) fn new(meter: &Meter) -> Self {
        Self { bytes: 0, meter: meter.clone() }
    }

    /// The owner holds so many bytes from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.meter.0.fetch_add(bytes - self.bytes, Relaxed);
        } else {
            self.meter.0.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The charge for a frame that several outboxes hold: it lasts as long as one of them does.
#[derive(Clone, Debug)]
pub(crate) struct Shared(#[expect(dead_code, reason = "held for its drop")] Arc<Charge>);

impl Shared {
    /// Charges a frame of so many bytes, once for everybody with a clone of this.
    pub(crate) fn new(meter: &Meter, bytes: usize) -> Self {
        let mut charge = Charge::new(meter);
        charge.set(bytes);
        Self(Arc::new(charge))
    }
}
