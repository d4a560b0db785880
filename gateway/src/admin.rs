//! What this program adds to the admin port is in [`crate::http::admin_routes`]; here is the identity of the running
//! configuration, so that the operator can tell which pods have the newest one.

use std::hash::Hasher;

/// A short hash of the configuration text (FNV-1a, 64 bits): it tells versions apart, it proves nothing.
pub(crate) fn config_hash(text: &str) -> String {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
