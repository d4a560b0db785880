//! Whose an object is (pure).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use wsgateway_crds::GROUP;

use super::Entry;

/// Whose an object under a name that we need is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It belongs to this WsGateway.
    Ours,
    /// It has our labels and nobody controls it: the owner was lost, by a restored backup, say, or by an orphaning
    /// deletion.
    Orphan,
    /// It has our labels and belongs to an earlier WsGateway of this name.
    Predecessor,
    /// It belongs to another WsGateway.
    Sibling,
    /// It is somebody else's.
    Foreign,
}

impl Claim {
    /// Whether it may be written and deleted.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::Orphan | Self::Predecessor)
    }
}

/// Whose an object is, to the WsGateway of this name and unique id.
pub(crate) fn claim(entry: &Entry, name: &str, uid: &str) -> Claim {
    match &entry.controller {
        Some(owner) if owner.uid == uid => Claim::Ours,
        Some(owner) if is_wsgateway(owner) && owner.name == name && entry.is_labelled => {
            Claim::Predecessor
        }
        Some(owner) if is_wsgateway(owner) => Claim::Sibling,
        Some(_) => Claim::Foreign,
        None if entry.is_labelled => Claim::Orphan,
        None => Claim::Foreign,
    }
}

pub(super) fn is_wsgateway(owner: &OwnerReference) -> bool {
    owner.kind == "WsGateway"
        && owner.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP)
}
