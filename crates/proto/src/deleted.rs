//! Deletions: messages which say that a channel has no value any more.
//!
//! In: the values of two NATS headers. Out: why the value was deleted, under the name that clients get.

/// Why a channel has no value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deleted {
    /// The stream's age limit removed the last message: a marker of the server (NATS ADR-43).
    MaxAge,
    /// Somebody purged the subject: a marker of the server.
    Purge,
    /// Somebody deleted the message: a marker of the server.
    Remove,
    /// A marker of the server with a reason that is not known here.
    Unknown,
    /// A key of a key-value bucket was deleted (NATS ADR-8).
    KvDelete,
    /// A key of a key-value bucket was deleted together with its earlier values.
    KvPurge,
}

impl Deleted {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::MaxAge, Self::Purge, Self::Remove, Self::Unknown, Self::KvDelete, Self::KvPurge];

    /// Reads the values of the headers `Nats-Marker-Reason` and `KV-Operation`; `None` when the message is a value.
    ///
    /// Whatever reason a marker gives, its channel has no value; an operation that is not known here may be one that
    /// sets a value. The server's own word comes first.
    pub fn from_headers(marker: Option<&[u8]>, kv: Option<&[u8]>) -> Option<Self> {
        let operation = || match kv?.trim_ascii() {
            b"DEL" => Some(Self::KvDelete),
            b"PURGE" => Some(Self::KvPurge),
            _ => None,
        };
        let reason = |marker: &[u8]| match marker.trim_ascii() {
            b"MaxAge" => Self::MaxAge,
            b"Purge" => Self::Purge,
            b"Remove" => Self::Remove,
            _ => Self::Unknown,
        };
        marker.map(reason).or_else(operation)
    }

    /// What clients get as `deleted`: the header's value, or `Unknown`. Needs no escaping in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAge => "MaxAge",
            Self::Purge => "Purge",
            Self::Remove => "Remove",
            Self::Unknown => "Unknown",
            Self::KvDelete => "DEL",
            Self::KvPurge => "PURGE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_a_deletion_whatever_its_reason_and_an_operation_only_if_it_is_known() {
        for (marker, kv, want) in [
            (None, None, None),
            (Some("MaxAge"), None, Some(Deleted::MaxAge)),
            (Some("Purge"), None, Some(Deleted::Purge)),
            (Some(" Remove "), None, Some(Deleted::Remove)),
            (Some("Moved"), None, Some(Deleted::Unknown)),
            (Some(""), None, Some(Deleted::Unknown)),
            (Some("\u{fffd}"), None, Some(Deleted::Unknown)),
            (None, Some("DEL"), Some(Deleted::KvDelete)),
            (None, Some("PURGE"), Some(Deleted::KvPurge)),
            (None, Some("PUT"), None),
            (None, Some("del"), None),
            (None, Some(""), None),
            (Some("MaxAge"), Some("PUT"), Some(Deleted::MaxAge)),
            (Some("Purge"), Some("DEL"), Some(Deleted::Purge)),
        ] {
            let got = Deleted::from_headers(marker.map(str::as_bytes), kv.map(str::as_bytes));
            assert_eq!(got, want, "{marker:?} {kv:?}");
        }
    }

    #[test]
    fn every_reason_comes_back_from_its_name() {
        for deleted in Deleted::ALL {
            let name = Some(deleted.as_str().as_bytes());
            let kv = matches!(deleted, Deleted::KvDelete | Deleted::KvPurge);
            let (marker, kv) = if kv { (None, name) } else { (name, None) };
            assert_eq!(Deleted::from_headers(marker, kv), Some(deleted));
        }
    }
}
