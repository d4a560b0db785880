//! Marks that are given up: on a NATS that a WsGateway has left, and after its deletion.

use std::time::{Duration, Instant};

use wsgateway_nats::{Ending, StreamError, Streams};

use super::Work;
use super::records::Kept;
use crate::context::Context;
use crate::metrics::Deed;
use crate::wake::Name;

/// A mark that stays is a nuisance, and not worth a long wait.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Releases the streams on NATS servers that the WsGateway no longer names.
pub(super) async fn left(work: &Work<'_>) {
    let (records, uid) = (&work.context.records, &work.gateway.uid);
    for kept in records.with(uid, |record| record.releasable(Instant::now())) {
        match release(&kept, work.context).await {
            Err(error) if error.retry() => {
                tracing::debug!(%error, stream = kept.stream, "a stream that was left is not released yet");
            }
            done => {
                tracing::info!(stream = kept.stream, servers = ?kept.place.servers, ?done, "left a stream on another NATS");
                records.with(uid, |record| record.released(&kept));
            }
        }
    }
}

/// After the end of a WsGateway: its stream, if it stays and NATS can be reached now, may be adopted by anybody, and remembers
/// who had it. If this fails the mark stays, and whoever wants the stream finds out that its owner is gone.
pub(crate) async fn farewell(uid: &str, name: &Name, context: &Context) {
    context.forget(name);
    context.records.end_look(uid).await;
    // What is kept holds its own connection.
    context.links.leave(name).await;
    let Some(kept) = context.records.forget(uid).filter(|kept| kept.link.is_up()) else { return };
    match tokio::time::timeout(TIMEOUT, release(&kept, context)).await {
        Ok(Ok(ending)) => tracing::info!(stream = kept.stream, ?ending, "a WsGateway was deleted"),
        Ok(Err(error)) => tracing::info!(stream = kept.stream, %error, "a mark stays on a stream"),
        Err(_late) => tracing::info!(stream = kept.stream, "a mark stays on a stream"),
    }
}

async fn release(kept: &Kept, context: &Context) -> Result<Ending, StreamError> {
    let streams = Streams::new(kept.link.client.clone(), kept.api_prefix.as_deref());
    let ending = context.lead.while_held(streams.release(&kept.stream, &kept.owner)).await;
    let ending =
        ending.unwrap_or_else(|lost| Err(StreamError::Temporary { answer: lost.to_string() }))?;
    if ending == Ending::Released {
        context.metrics.stream(Deed::StreamReleased);
    }
    Ok(ending)
}
