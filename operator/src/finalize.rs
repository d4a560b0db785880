//! The end of a WsGateway whose stream goes with it: the gateways stop and send their clients away, then the stream is
//! deleted, then the finalizer is removed; owned objects follow by garbage collection. NATS being away delays this for a
//! while, never for ever. A WsGateway whose stream stays has no finalizer: see `stream/release.rs`.

mod drain;
mod ending;
pub(crate) mod guard;
mod timeout;
mod unreadable;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use wsgateway_crds::{Stream, WsGateway};
use wsgateway_nats::Ending;

use crate::FORCE_DELETE;
use crate::context::Context;
use crate::error::Error;
use crate::status::{self, Findings, READY, STREAM_READY, Verdict};
use crate::wake::Name;

pub(crate) use unreadable::unreadable;

/// Between two attempts to reach NATS.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at pods that drain.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// Adds the finalizer before anything exists that it has to look after, or removes one that is not needed: it is the
/// deletion policy that counts at the end.
pub(crate) async fn guard(gateway: &WsGateway, context: &Context) -> Result<(), Error> {
    let wanted = guard::is_wanted(gateway);
    if guard::is_set(&gateway.metadata) == wanted {
        return Ok(());
    }
    guard::set(&context.client, &gateway.metadata, wanted).await
}

/// Takes one step towards the end of a WsGateway that is being deleted.
pub(crate) async fn run(gateway: &WsGateway, context: &Context) -> Result<Action, Error> {
    context.records.end_look(&gateway.uid().unwrap_or_default()).await;
    if !guard::is_set(&gateway.metadata) {
        return Ok(Action::await_change());
    }
    let Some(stream) = gateway.spec.stream.as_ref().filter(|_| guard::is_wanted(gateway)) else {
        return unguard(gateway, context).await;
    };
    if gateway.annotations().get(FORCE_DELETE).is_some_and(|value| value == "true") {
        let note = format!("{} was left as it is: {FORCE_DELETE} is set", words(stream));
        context.events.tell(gateway, false, "StreamLeftBehind", &note).await;
        return leave(gateway, context).await;
    }
    let namespace = gateway.namespace().unwrap_or_default();
    let usual = Duration::from_secs(u64::from(context.options.deletion_patience_seconds));
    // Its pods go with the namespace, whatever we do.
    let terminating = timeout::is_terminating(&context.client, &namespace).await;
    let limit = timeout::limit(usual, terminating);
    let now = Timestamp::now();
    let since = gateway.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let left = timeout::left(since, now, limit);
    if !terminating && !left.is_zero() {
        let pods = drain::step(gateway, now, context).await?;
        if pods > 0 {
            let message =
                format!("{pods} pods send their clients away, then the stream is deleted");
            report(gateway, "Draining", message, context).await?;
            return Ok(Action::requeue(DRAIN_PAUSE));
        }
    }
    match ending::delete(gateway, &stream.name, context).await {
        Ok(ending) => {
            let (reason, what) = match ending {
                Ending::Deleted => ("StreamDeleted", "was deleted with its messages"),
                Ending::Released => ("StreamRetained", "stays and is free to be adopted"),
                Ending::NotFound => ("StreamNotFound", "did not exist any more"),
                Ending::NotOurs => {
                    ("StreamNotOurs", "belongs to somebody else and was not touched")
                }
            };
            let note = format!("{} {what}", words(stream));
            context.events.tell(gateway, true, reason, &note).await;
            leave(gateway, context).await
        }
        Err(trouble) if left.is_zero() => {
            let note = format!(
                "{} was left as it is, after {limit:?} of trying: {trouble}",
                words(stream)
            );
            tracing::warn!(gateway = gateway.name_any(), trouble, "deleting without the stream");
            context.events.tell(gateway, false, "StreamLeftBehind", &note).await;
            leave(gateway, context).await
        }
        Err(trouble) => wait(gateway, &trouble, limit, PAUSE.min(left), context).await,
    }
}

fn words(stream: &Stream) -> String {
    format!("stream {}", stream.name)
}

/// Lets the WsGateway go. Its stream is as it should be.
async fn leave(gateway: &WsGateway, context: &Context) -> Result<Action, Error> {
    context.records.forget(&gateway.uid().unwrap_or_default());
    unguard(gateway, context).await
}

async fn unguard(gateway: &WsGateway, context: &Context) -> Result<Action, Error> {
    guard::set(&context.client, &gateway.metadata, false).await?;
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    context.forget(&Name::new(&namespace, &name));
    Ok(Action::await_change())
}

async fn wait(
    gateway: &WsGateway,
    trouble: &str,
    limit: Duration,
    pause: Duration,
    context: &Context,
) -> Result<Action, Error> {
    context.metrics.problem("finalize", "StreamNotEnded");
    let message = format!(
        "deletion waits for NATS, at most {limit:?} ({trouble}); to delete it now and leave the stream as it is: \
         kubectl annotate wsgw {} {FORCE_DELETE}=true",
        gateway.name_any()
    );
    report(gateway, "DeletionWaitsForNats", message, context).await?;
    Ok(Action::requeue(pause))
}

async fn report(
    gateway: &WsGateway,
    reason: &'static str,
    message: String,
    context: &Context,
) -> Result<(), Error> {
    let findings = Findings::of(gateway)
        .with(STREAM_READY, Verdict::no(reason, message.clone()))
        .with(READY, Verdict::no("Deleting", message));
    let previous = gateway.status.as_ref();
    let status = status::compute(&findings, previous, Timestamp::now(), Duration::ZERO);
    if previous != Some(&status) {
        status::write(&context.client, gateway, &status).await?;
    }
    Ok(())
}
