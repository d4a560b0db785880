//! What to do about a stream: a pure function of what is declared and what is there.

use std::fmt;

use async_nats::jetstream::stream::{Config, Info};
use wsgateway_config::StreamConfig;

use crate::config::{differences, wanted};
use crate::{Owner, Ownership, epoch};

/// What NATS does not change in a stream that exists.
const IMMUTABLE: [&str; 2] = ["storage", "retention"];

/// What to do with a stream that we did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Leave it alone.
    Fail,
    /// Take it over, unless it is somebody else's.
    Adopt,
}

/// A stream as NATS reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its configuration, as the server echoes it.
    pub config: Config,
    /// Its life: see [`epoch`].
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

impl From<Info> for Observed {
    fn from(info: Info) -> Self {
        Self {
            epoch: epoch(info.created),
            messages: info.state.messages,
            bytes: info.state.bytes,
            first_sequence: info.state.first_sequence,
            last_sequence: info.state.last_sequence,
            consumers: info.state.consumer_count,
            config: info.config,
        }
    }
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
    Create(Box<Config>),
    /// It is ours, or to be: change it.
    Update {
        /// The whole new configuration.
        config: Box<Config>,
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
         which makes it as specified and may discard messages beyond the limits given"
    )]
    Foreign,
    /// It belongs to another.
    #[error(
        "the stream belongs to {owner}: use another stream.name, or delete that owner first (with deletionPolicy \
         Retain the stream stays and can be adopted)"
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
}

impl Refusal {
    /// Static reason, for conditions and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Foreign => "StreamForeign",
            Self::OwnedByOther { .. } => "StreamOwnedByOther",
            Self::Immutable { .. } => "StreamImmutable",
        }
    }
}

/// What to do so that `observed` becomes `desired`, kept by `owner`.
pub fn plan(
    desired: &StreamConfig,
    owner: &Owner,
    adoption: Adoption,
    observed: Option<&Observed>,
) -> Plan {
    let Some(observed) = observed else {
        return Plan::Create(Box::new(wanted(desired, owner, None)));
    };
    match (owner.of(&observed.config.metadata), adoption) {
        (Ownership::Ours, _) | (Ownership::Nobody | Ownership::Predecessor, Adoption::Adopt) => {}
        (Ownership::Other(owner), _) => return Plan::Refused(Refusal::OwnedByOther { owner }),
        (Ownership::Nobody | Ownership::Predecessor, Adoption::Fail) => {
            return Plan::Refused(Refusal::Foreign);
        }
    }
    let config = wanted(desired, owner, Some(&observed.config));
    let changes = differences(&observed.config, &config);
    let (immutable, changes): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|change| IMMUTABLE.contains(&change.field));
    if !immutable.is_empty() {
        let fields: Vec<String> = immutable.iter().map(ToString::to_string).collect();
        return Plan::Refused(Refusal::Immutable { fields: fields.join(", ") });
    }
    if changes.is_empty() {
        Plan::InSync
    } else {
        Plan::Update { config: Box::new(config), changes }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
