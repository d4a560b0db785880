//! Why a stream is not touched, in words that say what to change.

/// Why a stream is not touched. No retry helps: somebody has to decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It exists, nobody claims it, and adoption was not asked for.
    #[error(
        "the stream exists and was not created by this WsGateway{}: set stream.adoptionPolicy to Adopt to take it over, \
         which makes it as specified and may discard messages beyond the limits given, or to Observe to read it as it is",
        last_owner(.released_by.as_ref())
    )]
    Foreign {
        /// The last owner, if it is known.
        released_by: Option<String>,
    },
    /// It belongs to an object of our namespace and name in a cluster that had no name.
    #[error(
        "the stream belongs to {owner}, a WsGateway of this namespace and name in a cluster to which an earlier version \
         gave no name: if that was this cluster, set stream.adoptionPolicy to Adopt; if it is another one, use another \
         stream.name, or set the policy to Observe to read the stream as it is"
    )]
    Unclear {
        /// `cluster/namespace/name/uid` of the owner.
        owner: String,
    },
    /// It belongs to another.
    #[error(
        "the stream belongs to {owner}: use another stream.name, set stream.adoptionPolicy to Observe to read it as it \
         is, or delete that owner first (with deletionPolicy Retain the stream stays and can be adopted); if that owner is \
         lost, with its cluster say, annotate this WsGateway with wsgateway.dev/take-over-from={owner}"
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
            Self::Foreign { .. } | Self::Unclear { .. } => "StreamForeign",
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

fn last_owner(released_by: Option<&String>) -> String {
    released_by.map_or_else(String::new, |owner| format!(" (its last owner was {owner})"))
}
