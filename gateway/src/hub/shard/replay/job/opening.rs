//! Opening: a subscribe command that asks for what was before.

use wsgateway_proto::v1::{KeptId, Resume};

/// Where a client wants to go on, as it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At this moment.
    Now,
    /// Behind an offset of the stream that we read.
    Offset(u64),
    /// At a place in another stream.
    Elsewhere,
}

impl Start {
    /// Reads a client's cursor.
    pub(crate) fn of(resume: Option<&Resume<'_>>, epoch: &str) -> Self {
        match resume {
            None => Self::Now,
            Some(resume) if resume.epoch == epoch => Self::Offset(resume.offset),
            Some(_) => Self::Elsewhere,
        }
    }
}

/// A subscribe command that looks back.
#[derive(Debug)]
pub(crate) struct Opening {
    pub id: Option<KeptId>,
    /// Channels that the connection holds already: acknowledged, not replayed.
    pub held: Vec<Box<str>>,
    /// The first of those that are refused, and how many there are.
    pub rejected: (Vec<(Box<str>, &'static str)>, usize),
    pub from: Start,
    pub snapshot: bool,
}
