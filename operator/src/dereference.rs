//! Stage: dereference. What a WsGateway names or depends on, fetched once, before anything is judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use wsgateway_crds::{MetricsSource, ValidGateway, ValidNats};
use wsgateway_nats::ConnectError;

use crate::build::{child_name, keda_name};
use crate::children::seen;
use crate::context::Context;
use crate::kinds::Kind;
use crate::nats::Link;
use crate::secrets::{self, SecretTrouble};
use crate::wake::Name;

/// Right after a start the watches have not told yet what exists; a watch that never does must not hold us up for ever.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// The surroundings of a WsGateway.
pub(crate) struct World {
    /// The connection to its NATS servers, if messages come from there; it may be down.
    pub(crate) link: Option<Result<Link, NoLink>>,
    /// Optional kinds that the cluster knows.
    pub(crate) kinds: BTreeSet<Kind>,
    /// Whether its gateways have been made before.
    pub(crate) deployed: bool,
}

/// Why there is no connection to NATS, not even one that is down.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLink {
    #[error(transparent)]
    Secret(#[from] SecretTrouble),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl NoLink {
    /// Static, for conditions and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Secret(trouble) => trouble.reason,
            Self::Connect(error) => error.reason(),
        }
    }
}

/// The connection to the NATS servers of a WsGateway, with what its Secrets hold now.
pub(crate) async fn link(user: &Name, nats: &ValidNats, context: &Context) -> Result<Link, NoLink> {
    let access = secrets::access(&user.namespace, nats, context).await?;
    Ok(context.links.get(user, &access, Instant::now()).await?)
}

/// Waits until the watches have told what exists, or for some seconds, once.
pub(crate) async fn first_lists(context: &Context) {
    context.listed.get_or_init(|| wait_for_lists(context)).await;
}

async fn wait_for_lists(context: &Context) {
    let (mut objects, mut pods) = (context.inventory.listed(), context.pods.listed());
    let built_in =
        |listed: &BTreeSet<Kind>| Kind::BUILT_IN.iter().all(|kind| listed.contains(kind));
    let told = tokio::time::timeout(FIRST_LIST, async {
        // An error means that nobody will tell any more.
        drop(objects.wait_for(built_in).await);
        drop(pods.wait_for(|listed| *listed).await);
    });
    if told.await.is_err() {
        tracing::warn!("objects or pods are not listed yet: may the operator list and watch them?");
    }
}

pub(crate) async fn look(gateway: &ValidGateway, context: &Context) -> World {
    first_lists(context).await;
    let key = Name::new(&gateway.namespace, &gateway.name);
    let link = match gateway.source.nats() {
        Some(nats) => Some(link(&key, nats, context).await),
        None => None,
    };
    let deployed = deployment(&key, context).is_some();
    World { link, kinds: context.kinds.borrow().clone(), deployed }
}

/// The Deployment of a WsGateway as the watch last saw it.
pub(crate) fn deployment(key: &Name, context: &Context) -> Option<Arc<Deployment>> {
    seen(&context.children.deployments, &key.namespace, &child_name(&key.name))
}

/// The autoscaler of a WsGateway as the watch last saw it: ours, or the one that KEDA makes, to which it gives our labels.
pub(crate) fn autoscaler(
    key: &Name,
    source: MetricsSource,
    context: &Context,
) -> Option<Arc<HorizontalPodAutoscaler>> {
    let name = match source {
        MetricsSource::Keda => keda_name(&key.name),
        MetricsSource::Operator | MetricsSource::Adapter => child_name(&key.name),
    };
    seen(&context.children.autoscalers, &key.namespace, &name)
}

/// What KEDA is asked for, with what KEDA says of it.
pub(crate) fn scaled_object(key: &Name, context: &Context) -> Option<Arc<DynamicObject>> {
    let reference = ObjectRef::new_with(&child_name(&key.name), Kind::ScaledObject.resource());
    context.children.scaled_objects.get(&reference.within(&key.namespace))
}
