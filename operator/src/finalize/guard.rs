//! The finalizer: only on a WsGateway whose stream goes with it. Everything else is left to garbage collection, and is
//! deleted even if no operator runs.

use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use wsgateway_crds::{AdoptionPolicy, DeletionPolicy, WsGateway};

use crate::FINALIZER;
use crate::error::{Error, Stage};

/// Whether the finalizer is there.
pub(crate) fn is_set(object: &ObjectMeta) -> bool {
    object.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Whether the stream is to be deleted with the WsGateway.
pub(super) fn is_wanted(gateway: &WsGateway) -> bool {
    let stream = gateway.spec.nats.as_ref().and(gateway.spec.stream.as_ref());
    stream.is_some_and(|stream| {
        stream.deletion_policy == DeletionPolicy::Delete
            && stream.adoption_policy != AdoptionPolicy::Observe
    })
}

/// Adds or removes the finalizer.
pub(crate) async fn set(client: &Client, object: &ObjectMeta, wanted: bool) -> Result<(), Error> {
    let others = object.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER);
    let mut finalizers: Vec<&str> = others.map(String::as_str).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let api: Api<WsGateway> =
        Api::namespaced(client.clone(), object.namespace.as_deref().unwrap_or_default());
    let name = object.name.as_deref().unwrap_or_default();
    // With the version: a finalizer that somebody else adds at the same moment must not be lost.
    let patch = json!({
        "metadata": { "finalizers": finalizers, "resourceVersion": object.resource_version },
    });
    // The answer is metadata alone, so this works for an object that cannot be read, too.
    match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            Err(Error::kube(Stage::Finalize, &format!("finalizer of WsGateway {name}"), &error))
        }
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::parse;

    use super::*;

    #[test]
    fn only_a_stream_that_goes_keeps_its_wsgateway() {
        let gateway = |source: &str| {
            parse(&format!(
                "{{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {{name: tiny}}, spec: {{{source}}}}}"
            ))
            .unwrap()
        };
        let stream = |policies: &str| {
            gateway(&format!(
                "nats: {{servers: ['nats://nats']}}, stream: {{name: TINY, subjects: ['tiny.>'], {policies}}}"
            ))
        };
        assert!(is_wanted(&stream("deletionPolicy: Delete")));
        assert!(!is_wanted(&stream("deletionPolicy: Retain")));
        assert!(!is_wanted(&stream("deletionPolicy: Delete, adoptionPolicy: Observe")));
        assert!(!is_wanted(&gateway("redis: {servers: ['redis://redis'], channels: [a]}")));
    }
}
