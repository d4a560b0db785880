//! Numbered messages that a job is still to send again.

use wsgateway_proto::v1::KeptId;

/// What is asked for, and what of it is still to be sent.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) id: Option<KeptId>,
    /// The first and the last number.
    pub(crate) range: (u64, u64),
    /// First and last of the numbers that are out of reach.
    pub(crate) gone: Option<(u64, u64)>,
    /// Numbers and offsets still to be sent.
    pub(crate) rest: std::vec::IntoIter<(u64, u64)>,
}

impl Numbered {
    /// Takes note of a number that is out of reach.
    pub(crate) fn lose(&mut self, number: u64) {
        let (from, to) = self.gone.unwrap_or((number, number));
        self.gone = Some((from.min(number), to.max(number)));
    }
}
