//! Autoscalers that are not wanted any more: gone before others come.

use super::{Applied, Applier, failed};
use crate::build::Desired;
use crate::error::Error;
use crate::handover::leaving;
use crate::inventory::Entry;
use crate::kinds::Kind;
use crate::wake::Name;

impl Applier<'_> {
    /// Deletes autoscalers that are not wanted any more, before others come. False: what there is cannot be known now.
    pub(super) async fn retire(
        &self,
        key: &Name,
        desired: &[Desired],
        applied: &mut Applied,
    ) -> bool {
        let mut existing = self.inventory.of(key);
        let untold = self.untold(key, desired, &existing).await;
        let is_sure = untold.is_ok();
        match untold {
            Ok(untold) => existing.extend(untold),
            Err(error) => applied.problems.push((Kind::HorizontalPodAutoscaler, error)),
        }
        let gateway = (self.gateway.name.as_str(), self.gateway.uid.as_str());
        for left in leaving(&existing, desired, gateway) {
            let entry =
                existing.iter().find(|(kind, name, _)| (*kind, name) == (left.kind, &left.name));
            if let Some((kind, name, entry)) = entry.filter(|_| left.is_to_delete) {
                let pruned = self.prune(*kind, name, entry).await;
                applied.problems.extend(pruned.err().map(|error| (*kind, error)));
            }
            applied.leaving.get_or_insert(left);
        }
        is_sure
    }

    /// An autoscaler of KEDA that no watch has told of: that of an optional kind begins after the kind is known. Asked for only
    /// before an autoscaler of ours is made, which must not come beside it.
    async fn untold(
        &self,
        key: &Name,
        desired: &[Desired],
        existing: &[(Kind, String, Entry)],
    ) -> Result<Option<(Kind, String, Entry)>, Error> {
        let kind = Kind::ScaledObject;
        let exists = |wanted: &Desired| {
            existing.iter().any(|(kind, name, _)| (*kind, name) == (wanted.kind, &wanted.name))
        };
        let is_autoscaler = |wanted: &&Desired| wanted.kind == Kind::HorizontalPodAutoscaler;
        let ours = desired.iter().find(is_autoscaler).filter(|wanted| !exists(wanted));
        let is_untold = self.kinds.contains(&kind) && !self.inventory.is_listed(kind);
        let Some(ours) = ours.filter(|_| is_untold) else { return Ok(None) };
        match self.ask(key, kind, &ours.name).await {
            Ok(found) => Ok(found.map(|entry| (kind, ours.name.clone(), entry))),
            // Whoever may not read them has made none.
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
            Err(error) => Err(failed(kind, &ours.name, &error)),
        }
    }
}
