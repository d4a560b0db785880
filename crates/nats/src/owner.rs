//! Who a stream belongs to, as its metadata says (NATS 2.10 and later).

use std::collections::HashMap;
use std::fmt;

/// Key of the owner in a stream's metadata.
pub const OWNER_KEY: &str = "wsgateway.dev/owner";

/// The one who keeps a stream as declared: `cluster/namespace/name/uid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    place: String,
    uid: String,
}

impl Owner {
    /// `cluster` tells clusters apart that share a NATS; `uid` tells two lives of one name apart.
    pub fn new(cluster: &str, namespace: &str, name: &str, uid: &str) -> Self {
        Self { place: format!("{cluster}/{namespace}/{name}"), uid: uid.to_owned() }
    }

    /// What the metadata of a stream says about us.
    pub fn of(&self, metadata: &HashMap<String, String>) -> Ownership {
        match metadata.get(OWNER_KEY) {
            None => Ownership::Nobody,
            Some(owner) if *owner == self.to_string() => Ownership::Ours,
            Some(owner) if owner.rsplit_once('/').is_some_and(|(place, _)| place == self.place) => {
                Ownership::Predecessor
            }
            Some(owner) => Ownership::Other(owner.clone()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place, self.uid)
    }
}

/// Whose a stream is, seen from one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours.
    Ours,
    /// Nobody has claimed it.
    Nobody,
    /// An earlier object of our cluster, namespace and name, which is gone since names are unique.
    Predecessor,
    /// Somebody else's.
    Other(String),
}
