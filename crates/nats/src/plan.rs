//! What to do about a stream: a pure function of what is declared and what is there.

use std::fmt;

use wsgateway_config::StreamConfig;

use crate::config::{claimed, differences, wanted};
use crate::unsuitable;
use crate::{Owner, Ownership, Refusal, Settings};

/// What NATS does not change in a stream that exists, where it is not allowed to be as it is.
fn is_immutable(change: &Change) -> bool {
    match change.field {
        "storage" => true,
        // Between limits and interest it may change.
        "retention" => change.from == "Workqueue",
        _ => false,
    }
}

/// What to do with a stream that we did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Leave it alone.
    Fail,
    /// Take it over, unless it is somebody else's.
    Adopt,
    /// Read it as it is, whoever's it is. It is never created, changed or deleted.
    Observe,
}

/// A stream as NATS reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its configuration, as the server echoes it.
    pub config: Settings,
    /// Its life: see [`crate::epoch`].
    pub epoch: String,
    /// Messages kept.
    pub messages: u64,
    /// Bytes kept.
    pub bytes: u64,
    /// Oldest sequence kept.
    pub first_sequence: u64,
    /// Newest sequence.
    pub last_sequence: u64,
    /// Consumers.
    pub consumers: usize,
}

/// A field of a stream that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the field, as in the manifest.
    pub field: &'static str,
    /// What it is.
    pub from: String,
    /// What it should be.
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.field, self.from, self.to)
    }
}

/// Who wants a stream, and by what right.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who.
    pub owner: &'a Owner,
    /// What to do with a stream that somebody else made.
    pub adoption: Adoption,
    /// What is known about another owner.
    pub rival: Rival<'a>,
}

impl<'a> Claim<'a> {
    /// A claim by one who knows nothing about other owners.
    pub fn new(owner: &'a Owner, adoption: Adoption) -> Self {
        Self { owner, adoption, rival: Rival::Unknown }
    }
}

/// What is known about the owner that a stream's mark names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival<'a> {
    /// Nothing: it may exist.
    Unknown,
    /// The object of this mark does not exist any more: the stream is nobody's.
    Gone(&'a str),
    /// A person has decided that the stream with this mark is to be ours.
    Yields(&'a str),
}

/// What to do about a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// There is none: create it.
    Create(Box<Settings>),
    /// It is ours: change it.
    Update {
        /// The whole new configuration.
        config: Box<Settings>,
        /// What is different in it.
        changes: Vec<Change>,
    },
    /// It is to become ours and to be changed: claim it, and change it only if the claim stands. Of two who want it at the
    /// same moment, one discards no message by its limits.
    StepWise {
        /// The configuration as it is, with our mark.
        claim: Box<Settings>,
        /// The whole new configuration.
        config: Box<Settings>,
        /// What is different in it.
        changes: Vec<Change>,
    },
    /// It must not be touched.
    Refuse(Refusal),
    /// Nothing to do. The fields are those of an observed stream that are not as declared.
    Noop(Vec<Change>),
}

impl Plan {
    /// What would be different in the stream.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Update { changes, .. } | Self::StepWise { changes, .. } => changes,
            Self::Create(_) | Self::Refuse(_) | Self::Noop(_) => &[],
        }
    }

    /// The configuration that would be sent, if any.
    pub fn config(&self) -> Option<&Settings> {
        match self {
            Self::Create(config) | Self::Update { config, .. } | Self::StepWise { config, .. } => {
                Some(config)
            }
            Self::Refuse(_) | Self::Noop(_) => None,
        }
    }
}

/// What to do so that `observed` becomes `desired`. `fresh` is the epoch of a stream that is created: see
/// [`crate::fresh_epoch`].
pub fn plan(
    desired: &StreamConfig,
    claim: &Claim<'_>,
    observed: Option<&Observed>,
    fresh: &str,
) -> Plan {
    let owner = claim.owner;
    if claim.adoption == Adoption::Observe {
        return observing(desired, owner, observed);
    }
    let Some(observed) = observed else {
        return Plan::Create(Box::new(wanted(desired, owner, None, fresh)));
    };
    let ownership = owner.of(&observed.config.metadata());
    let taken = ownership != Ownership::Ours;
    let by_right = matches!(ownership, Ownership::Ours | Ownership::Former);
    if let Some(refusal) = denied(claim, ownership) {
        return Plan::Refuse(refusal);
    }
    if let Some(refusal) = unsuitable::to_keep(&observed.config, desired) {
        return Plan::Refuse(refusal);
    }
    let config = wanted(desired, owner, Some(observed), fresh);
    let changes = differences(&observed.config, &config);
    let only_marks = changes.iter().all(is_mark);
    if changes.is_empty() || (only_marks && by_right && observed.config.flag("sealed")) {
        return Plan::Noop(Vec::new());
    }
    if observed.config.flag("sealed") {
        return Plan::Refuse(Refusal::Sealed { fields: listed(&changes) });
    }
    let immutable: Vec<Change> =
        changes.iter().filter(|change| is_immutable(change)).cloned().collect();
    if !immutable.is_empty() {
        return Plan::Refuse(Refusal::Immutable { fields: listed(&immutable) });
    }
    if taken && !only_marks {
        let claim = Box::new(claimed(&observed.config, owner, &observed.epoch));
        return Plan::StepWise { claim, config: Box::new(config), changes };
    }
    Plan::Update { config: Box::new(config), changes }
}

/// Why a stream is not ours to keep.
fn denied(claim: &Claim<'_>, ownership: Ownership) -> Option<Refusal> {
    let adopting = claim.adoption == Adoption::Adopt;
    match ownership {
        Ownership::Ours | Ownership::Former => None,
        Ownership::Nobody { released_by } => {
            (!adopting).then_some(Refusal::Foreign { released_by })
        }
        Ownership::Unclear(owner) | Ownership::Other(owner)
            if claim.rival == Rival::Yields(&owner) =>
        {
            None
        }
        Ownership::Unclear(owner) => (!adopting).then_some(Refusal::Unclear { owner }),
        Ownership::Other(owner) if claim.rival == Rival::Gone(&owner) => {
            (!adopting).then_some(Refusal::Foreign { released_by: Some(owner) })
        }
        Ownership::Other(owner) => Some(Refusal::OwnedByOther { owner }),
    }
}

fn observing(desired: &StreamConfig, owner: &Owner, observed: Option<&Observed>) -> Plan {
    let Some(observed) = observed else { return Plan::Refuse(Refusal::Missing) };
    if let Some(refusal) = unsuitable::to_read(&observed.config) {
        return Plan::Refuse(refusal);
    }
    let config = wanted(desired, owner, Some(observed), "");
    let differing = differences(&observed.config, &config).into_iter().filter(is_declared);
    Plan::Noop(differing.collect())
}

/// Whether a field is one of the specification's, and none that we set for ourselves.
fn is_declared(change: &Change) -> bool {
    !is_mark(change) && !["retention", "directGet"].contains(&change.field)
}

fn is_mark(change: &Change) -> bool {
    ["owner", "epoch"].contains(&change.field)
}

fn listed(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
