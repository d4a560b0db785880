//! Stage: dereference. What a WsGateway names or depends on, fetched once, before anything is judged.

use std::time::{Duration, Instant};

use wsgateway_crds::{ValidGateway, ValidNats};
use wsgateway_nats::ConnectError;

use crate::build::child_name;
use crate::children::seen;
use crate::context::Context;
use crate::discovery::Known;
use crate::nats::Link;
use crate::secrets::{self, SecretTrouble};
use crate::wake::Name;

/// Right after a start the watches have not told yet what exists; a watch that never does must not hold us up for ever.
const FIRST_LIST: Duration = Duration::from_secs(5);
/// The store wakes only the one that asked last; of several that wait, the others look again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The surroundings of a WsGateway.
pub(crate) struct World {
    /// The connection to its NATS servers, if messages come from there; it may be down.
    pub(crate) link: Option<Result<Link, NoLink>>,
    /// Which optional kinds the cluster knows.
    pub(crate) known: Known,
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
pub(crate) async fn link(
    user: &Name,
    nats: &ValidNats,
    context: &Context,
) -> Result<Link, NoLink> {
    let access = secrets::access(&user.namespace, nats, context).await?;
    Ok(context.links.get(user, &access, Instant::now()).await?)
}

pub(crate) async fn look(gateway: &ValidGateway, context: &Context) -> World {
    let deployments = &context.children.deployments;
    let told = tokio::time::timeout(FIRST_LIST, async {
        while tokio::time::timeout(ASK_AGAIN, deployments.wait_until_ready()).await.is_err() {}
    });
    if told.await.is_err() {
        tracing::warn!("Deployments are not listed yet");
    }
    let link = match gateway.source.nats() {
        Some(nats) => {
            let user = Name::new(&gateway.namespace, &gateway.name);
            Some(link(&user, nats, context).await)
        }
        None => None,
    };
    World {
        link,
        known: *context.known.borrow(),
        deployed: seen(
            &context.children.deployments,
            &gateway.namespace,
            &child_name(&gateway.name),
        )
        .is_some(),
    }
}
