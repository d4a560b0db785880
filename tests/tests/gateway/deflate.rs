//! Deflate data as RFC 7692 puts it into frames, by a library and not by our codec.

use anyhow::{Result, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// What is left out at the end of a compressed message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A payload for a frame with the first reserved bit set.
pub(super) fn deflated(message: &[u8]) -> Result<Vec<u8>> {
    Leaning::new().deflated(message)
}

/// One stream for all messages, as of a client that takes its window over from one to the next.
pub(super) struct Leaning(Compress);

impl Leaning {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::best(), false))
    }

    pub(super) fn deflated(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(message.len() + 1_024);
        self.0.compress_vec(message, &mut out, FlushCompress::Sync)?;
        ensure!(out.ends_with(&TAIL), "no end of a flush in {} bytes", out.len());
        out.truncate(out.len() - TAIL.len());
        Ok(out)
    }
}

/// The message in such a payload, which may be `most` bytes long.
pub(super) fn inflated(payload: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(most);
    let whole = [payload, &TAIL].concat();
    let mut decompress = Decompress::new(false);
    decompress.decompress_vec(&whole, &mut out, FlushDecompress::Sync)?;
    ensure!(decompress.total_in() == whole.len() as u64, "more than {most} bytes");
    Ok(out)
}
