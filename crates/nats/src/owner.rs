//! Who a stream belongs to, as its metadata says (NATS 2.10 and later).

use std::collections::HashMap;
use std::fmt;

/// Key of the owner in a stream's metadata: `cluster/namespace/name/uid`.
pub const OWNER_KEY: &str = "wsgateway.dev/owner";
/// Key of the last owner in the metadata of a stream that was released: `cluster/namespace/name`.
pub const RELEASED_BY_KEY: &str = "wsgateway.dev/released-by";
/// What earlier versions called every cluster that had been given no name. It identifies no cluster.
pub const UNNAMED_CLUSTER: &str = "default";

/// The one who keeps a stream as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    cluster: String,
    namespace: String,
    name: String,
    uid: String,
}

impl Owner {
    /// `cluster` tells clusters apart that share a NATS; `uid` tells two objects of one name apart.
    pub fn new(cluster: &str, namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    /// Reads a mark, the value of [`OWNER_KEY`]. `None` when it has another form.
    pub fn parse(mark: &str) -> Option<Self> {
        let parts: Vec<&str> = mark.split('/').collect();
        match parts.as_slice() {
            [cluster, namespace, name, uid] if parts.iter().all(|part| !part.is_empty()) => {
                Some(Self::new(cluster, namespace, name, uid))
            }
            _ => None,
        }
    }

    /// Identity of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Namespace of the object.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Unique id that the API server gave to the object.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `cluster/namespace/name`: the same for all objects that have this name one after the other.
    pub fn place(&self) -> String {
        format!("{}/{}/{}", self.cluster, self.namespace, self.name)
    }

    /// What the metadata of a stream says about us.
    pub fn of(&self, metadata: &HashMap<String, String>) -> Ownership {
        let Some(mark) = metadata.get(OWNER_KEY) else {
            return match metadata.get(RELEASED_BY_KEY) {
                Some(place) if *place == self.place() => Ownership::Former,
                released => Ownership::Nobody { released_by: released.cloned() },
            };
        };
        let Some(owner) = Self::parse(mark) else { return Ownership::Other(mark.clone()) };
        let same_name = owner.namespace == self.namespace && owner.name == self.name;
        let same_cluster = owner.cluster == self.cluster;
        let unnamed = owner.cluster == UNNAMED_CLUSTER;
        match owner.uid == self.uid {
            // No two objects share a uid, so an earlier version wrote the mark for this very object.
            true if same_name && (same_cluster || unnamed) => Ownership::Ours,
            false if same_name && same_cluster => Ownership::Former,
            false if same_name && unnamed => Ownership::Unclear(mark.clone()),
            _ => Ownership::Other(mark.clone()),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place(), self.uid)
    }
}

/// Whose a stream is, seen from one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours.
    Ours,
    /// Ours by right: an earlier object of our cluster, namespace and name claimed or released it. That object no longer
    /// exists, since names are unique within a cluster.
    Former,
    /// Nobody claims it.
    Nobody {
        /// `cluster/namespace/name` of the last owner, if it is known.
        released_by: Option<String>,
    },
    /// The mark names our namespace and name, but a cluster that had no name: an earlier object of this cluster, or an
    /// object of another one.
    Unclear(String),
    /// Somebody else's.
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(entries: &[(&str, &str)]) -> Ownership {
        let metadata =
            entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Owner::new("c1", "trading", "odin", "u1").of(&metadata)
    }

    #[test]
    fn a_mark_is_read_as_it_is_written_and_anything_else_is_none() {
        let owner = Owner::new("c1", "trading", "odin", "u1");
        assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
        for wrong in ["", "a/b/c", "a/b/c/", "a/b/c/d/e", "something else"] {
            assert_eq!(Owner::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_next_object_of_the_same_cluster_namespace_and_name_is_told_from_a_twin_elsewhere() {
        let marked = |mark: &str| ownership(&[(OWNER_KEY, mark)]);
        assert_eq!(marked("c1/trading/odin/u1"), Ownership::Ours);
        assert_eq!(marked("c1/trading/odin/u0"), Ownership::Former);
        for other in ["c2/trading/odin/u1", "c2/trading/odin/u0", "c1/trading/thor/u0", "?"] {
            assert_eq!(marked(other), Ownership::Other(other.to_owned()));
        }
    }

    #[test]
    fn a_mark_of_an_earlier_version_is_ours_by_the_uid_and_unclear_without() {
        let marked = |mark: &str| ownership(&[(OWNER_KEY, mark)]);
        assert_eq!(marked("default/trading/odin/u1"), Ownership::Ours);
        let earlier = "default/trading/odin/u0";
        assert_eq!(marked(earlier), Ownership::Unclear(earlier.to_owned()));
        let thor = "default/trading/thor/u0";
        assert_eq!(marked(thor), Ownership::Other(thor.to_owned()));
    }

    #[test]
    fn a_released_stream_remembers_who_had_it() {
        let released = |place: &str| ownership(&[(RELEASED_BY_KEY, place)]);
        assert_eq!(released("c1/trading/odin"), Ownership::Former);
        let released_by = Some("c2/trading/odin".to_owned());
        assert_eq!(released("c2/trading/odin"), Ownership::Nobody { released_by });
        assert_eq!(ownership(&[]), Ownership::Nobody { released_by: None });
        // A claim counts more than an older release.
        let both = [(RELEASED_BY_KEY, "c1/trading/odin"), (OWNER_KEY, "c1/trading/thor/u2")];
        assert_eq!(ownership(&both), Ownership::Other("c1/trading/thor/u2".to_owned()));
    }
}
