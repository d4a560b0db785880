//! What to do about a stream: a pure function of what is declared and what is there.

use std::fmt;

use wsgateway_config::StreamConfig;

use crate::config::{differences, wanted};
use crate::unsuitable;
use crate::{Owner, Ownership, Settings};

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

/// What to do about a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// There is none: make it.
    Create(Box<Settings>),
    /// It is ours, or to be: change it.
    Update {
        /// The whole new configuration.
        config: Box<Settings>,
        /// What is different in it.
        changes: Vec<Change>,
    },
    /// Nothing to do.
    InSync,
    /// It must not be touched.
    Refused(Refusal),
}

/// Why a stream is not touched. No retry helps: somebody has to decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It exists, nobody claims it, and adoption was not asked for.
    #[error(
        "the stream exists and was not made by this WsGateway: set stream.adoptionPolicy to Adopt to take it over, \
         which makes it as specified and may discard messages beyond the limits given, or to Observe to read it as it is"
    )]
    Foreign,
    /// It belongs to another.
    #[error(
        "the stream belongs to {owner}: use another stream.name, set stream.adoptionPolicy to Observe to read it as it \
         is, or delete that owner first (with deletionPolicy Retain the stream stays and can be adopted)"
    )]
    OwnedByOther {
        /// `cluster/namespace/name/uid` of the owner.
        owner: String,
    },
    /// NATS cannot change these fields.
    #[error(
        "NATS cannot change {fields} of an existing stream: use another stream.name, or delete the stream and its \
         messages by hand"
    )]
    Immutable {
        /// The fields, with what they are and should be.
        fields: String,
    },
    /// It gets its messages from other streams, so it takes no subjects.
    #[error(
        "the stream has {field}, so it takes no subjects of its own: set stream.adoptionPolicy to Observe to read it as \
         it is, or use another stream.name"
    )]
    FedByOthers {
        /// `mirror` or `sources`, with the name of the first stream.
        field: String,
    },
    /// It is sealed, and not as declared.
    #[error(
        "the stream is sealed, so NATS does not change {fields}: set stream.adoptionPolicy to Observe to read it as it is, \
         or use another stream.name"
    )]
    Sealed {
        /// The fields, with what they are and should be.
        fields: String,
    },
    /// Something that it has excludes something that is declared.
    #[error("the stream has {field}, which {why}: {advice}")]
    Conflict {
        /// The field of the stream, in NATS' words.
        field: &'static str,
        /// What it excludes.
        why: &'static str,
        /// What to change.
        advice: &'static str,
    },
    /// It is to be observed, and reading it would remove its messages.
    #[error(
        "the stream has retention {retention}, so its messages are removed once they are read: make a stream with \
         retention limits that has this one as a source, and observe that"
    )]
    ReadOnce {
        /// Its retention, in NATS' words.
        retention: String,
    },
    /// It is to be observed, and there is none.
    #[error(
        "there is no such stream, and with stream.adoptionPolicy Observe none is created: create it, correct stream.name, \
         or set the policy to Adopt"
    )]
    Missing,
}

impl Refusal {
    /// Static reason, for conditions and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Foreign => "StreamForeign",
            Self::OwnedByOther { .. } => "StreamOwnedByOther",
            Self::Immutable { .. } => "StreamImmutable",
            Self::FedByOthers { .. } => "StreamFedByOthers",
            Self::Sealed { .. } => "StreamSealed",
            Self::Conflict { .. } => "StreamConflict",
            Self::ReadOnce { .. } => "StreamReadOnce",
            Self::Missing => "StreamMissing",
        }
    }
}

/// What to do so that `observed` becomes `desired`, kept by `owner`. `fresh` is the epoch of a stream that is created:
/// see [`crate::fresh_epoch`].
pub fn plan(
    desired: &StreamConfig,
    owner: &Owner,
    adoption: Adoption,
    observed: Option<&Observed>,
    fresh: &str,
) -> Plan {
    if adoption == Adoption::Observe {
        return observing(observed);
    }
    let Some(observed) = observed else {
        return Plan::Create(Box::new(wanted(desired, owner, None, fresh)));
    };
    match (owner.of(&observed.config.metadata()), adoption) {
        (Ownership::Ours, _) | (Ownership::Nobody | Ownership::Predecessor, Adoption::Adopt) => {}
        (Ownership::Other(owner), _) => return Plan::Refused(Refusal::OwnedByOther { owner }),
        (Ownership::Nobody | Ownership::Predecessor, _) => return Plan::Refused(Refusal::Foreign),
    }
    if let Some(refusal) = unsuitable::to_keep(&observed.config, desired) {
        return Plan::Refused(refusal);
    }
    let config = wanted(desired, owner, Some(observed), fresh);
    let changes = differences(&observed.config, &config);
    if changes.is_empty() {
        return Plan::InSync;
    }
    if observed.config.flag("sealed") {
        return Plan::Refused(Refusal::Sealed { fields: listed(&changes) });
    }
    let immutable: Vec<Change> =
        changes.iter().filter(|change| is_immutable(change)).cloned().collect();
    if immutable.is_empty() {
        Plan::Update { config: Box::new(config), changes }
    } else {
        Plan::Refused(Refusal::Immutable { fields: listed(&immutable) })
    }
}

fn observing(observed: Option<&Observed>) -> Plan {
    let refusal = match observed {
        None => Some(Refusal::Missing),
        Some(observed) => unsuitable::to_read(&observed.config),
    };
    refusal.map_or(Plan::InSync, Plan::Refused)
}

fn listed(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
