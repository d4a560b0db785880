//! Whether the owner that a stream's mark names still exists. A WsGateway that keeps its stream is deleted without a word to
//! NATS, so whoever comes next has to find out.

use kube::Api;
use wsgateway_crds::WsGateway;
use wsgateway_nats::Owner;

use crate::context::Context;

/// True only if the mark is of this cluster and the API server says that there is no such object any more. In doubt it
/// exists: it may be in a namespace that the operator cannot read.
pub(super) async fn is_gone(mark: &str, cluster: &str, context: &Context) -> bool {
    let Some(owner) = Owner::parse(mark).filter(|owner| owner.cluster() == cluster) else {
        return false;
    };
    // From the API server itself: a watch may not have seen an object that was created a moment ago.
    let api: Api<WsGateway> = Api::namespaced(context.client.clone(), owner.namespace());
    match api.get_metadata_opt(owner.name()).await {
        Ok(None) => true,
        Ok(Some(object)) => object.metadata.uid.as_deref() != Some(owner.uid()),
        Err(error) => {
            tracing::debug!(%error, mark, "cannot find out whether the owner of a stream exists");
            false
        }
    }
}
