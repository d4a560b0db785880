//! The end of a stream: over the connection that its WsGateway names, or the one that is still open.

use kube::ResourceExt as _;
use wsgateway_crds::{WsGateway, reachable};
use wsgateway_nats::{Ending, Streams};

use crate::context::Context;
use crate::dereference;
use crate::metrics::Deed;
use crate::nats::Link;
use crate::wake::Name;

/// Deletes the stream of a WsGateway if it is its own.
pub(super) async fn delete(
    gateway: &WsGateway,
    stream: &str,
    context: &Context,
) -> Result<Ending, String> {
    let name = Name::new(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
    let uid = gateway.uid().unwrap_or_default();
    let owner = crate::stream::owner(&name, &uid, context).await;
    let owner = owner.map_err(|error| error.to_string())?;
    let (link, api_prefix) = reach(gateway, &name, &uid, context).await?;
    let streams = Streams::new(link.client.clone(), api_prefix.as_deref());
    let ending = context.lead.while_held(streams.delete_if_owned(stream, &owner)).await;
    let ending = ending.map_err(|lost| lost.to_string())?.map_err(|error| error.to_string())?;
    if ending == Ending::Deleted {
        context.metrics.stream(Deed::StreamDeleted);
    }
    Ok(ending)
}

/// A connection to the NATS of a WsGateway. It is made with the credentials that are named, or not at all: without them it
/// would be somebody else's, to whom the server may show other streams. Where the Secret was deleted first, or what is named
/// cannot be used, the connection over which the stream was kept serves for as long as it is open.
async fn reach(
    gateway: &WsGateway,
    name: &Name,
    uid: &str,
    context: &Context,
) -> Result<(Link, Option<String>), String> {
    let open = context.records.kept(uid).filter(|kept| kept.link.is_up());
    let open = open.map(|kept| (kept.link, kept.api_prefix));
    let Some(nats) = reachable(gateway) else {
        return open.ok_or_else(|| "spec.nats is not valid, and no connection is open".to_owned());
    };
    match dereference::link(name, &nats, context).await {
        Ok(link) if link.is_up() => Ok((link, nats.api_prefix)),
        Ok(link) => Ok(open.unwrap_or((link, nats.api_prefix))),
        Err(error) => open.ok_or_else(|| error.to_string()),
    }
}
