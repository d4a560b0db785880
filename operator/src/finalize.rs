//! The end of a WsGateway: its stream is deleted or released, then the finalizer goes; owned objects follow by garbage
//! collection. NATS being away delays this for a while, never for ever.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::{AdoptionPolicy, DeletionPolicy, Nats, Stream, WsGateway, validate};
use wsgateway_nats::{Access, Ending, Streams};

use crate::context::Context;
use crate::error::{Error, Stage};
use crate::metrics::Deed;
use crate::status::{self, Findings, READY, STREAM_READY, Verdict};
use crate::wake::Name;
use crate::{FINALIZER, FORCE_DELETE, dereference};

/// To give up a claim on a stream that stays is a courtesy: it is not worth a long wait.
const RETAIN_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether the finalizer is there.
pub(crate) fn is_guarded(gateway: &WsGateway) -> bool {
    gateway.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Adds the finalizer, before anything exists that it has to look after. Without a stream there is no such thing.
pub(crate) async fn guard(gateway: &WsGateway, context: &Context) -> Result<(), Error> {
    if is_guarded(gateway) || gateway.spec.stream.is_none() {
        return Ok(());
    }
    let mut finalizers = gateway.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    set(gateway, &finalizers, context).await
}

async fn unguard(gateway: &WsGateway, context: &Context) -> Result<Action, Error> {
    let finalizers: Vec<String> =
        gateway.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    set(gateway, &finalizers, context).await?;
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
    context.written.forget(&Name::new(&namespace, &name));
    context.backoff.succeeded(&namespace, &name);
    Ok(Action::await_change())
}

async fn set(gateway: &WsGateway, finalizers: &[String], context: &Context) -> Result<(), Error> {
    let api: Api<WsGateway> =
        Api::namespaced(context.client.clone(), &gateway.namespace().unwrap_or_default());
    let name = gateway.name_any();
    // With the version: a finalizer that somebody else adds at the same moment must not be lost.
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": gateway.resource_version() } });
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            Err(Error::kube(Stage::Finalize, &format!("finalizer of WsGateway {name}"), &error))
        }
    }
}

/// Takes one step towards the end of a WsGateway that is being deleted.
pub(crate) async fn run(gateway: &WsGateway, context: &Context) -> Result<Action, Error> {
    if !is_guarded(gateway) {
        return Ok(Action::await_change());
    }
    let (Some(nats), Some(stream)) = (&gateway.spec.nats, &gateway.spec.stream) else {
        return unguard(gateway, context).await;
    };
    if stream.adoption_policy == AdoptionPolicy::Observe {
        return unguard(gateway, context).await;
    }
    let forced = gateway.annotations().get(FORCE_DELETE).is_some_and(|value| value == "true");
    if forced {
        let note = format!("{} was left as it is: {FORCE_DELETE} is set", stream_words(gateway));
        context.events.tell(gateway, false, "StreamLeftBehind", &note).await;
        return unguard(gateway, context).await;
    }
    match end_stream(gateway, nats, stream, context).await {
        Ok(ending) => {
            let (reason, what) = match ending {
                Ending::Deleted => ("StreamDeleted", "was deleted with its messages"),
                Ending::Released => ("StreamRetained", "stays and is free to be adopted"),
                Ending::NotFound => ("StreamNotFound", "did not exist any more"),
                Ending::NotOurs => {
                    ("StreamNotOurs", "belongs to somebody else and was not touched")
                }
            };
            let note = format!("{} {what}", stream_words(gateway));
            context.events.tell(gateway, true, reason, &note).await;
            unguard(gateway, context).await
        }
        Err(trouble) => wait_or_leave(gateway, stream.deletion_policy, &trouble, context).await,
    }
}

fn stream_words(gateway: &WsGateway) -> String {
    let name = gateway.spec.stream.as_ref().map_or("", |stream| stream.name.as_str());
    format!("stream {name}")
}

async fn end_stream(
    gateway: &WsGateway,
    nats_spec: &Nats,
    stream: &Stream,
    context: &Context,
) -> Result<Ending, String> {
    let key = Name::new(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
    let owner = crate::stream::owner(
        &context.options.cluster,
        &key.namespace,
        &key.name,
        &gateway.uid().unwrap_or_default(),
    );
    let valid = validate(gateway).ok();
    let valid = valid.as_ref().and_then(|valid| Some((valid, valid.source.nats()?)));
    let link = match valid {
        Some((valid, nats)) => {
            dereference::link(valid, nats, context).await.map_err(|error| error.to_string())?
        }
        // What is wrong elsewhere need not keep us from the stream.
        None => context
            .links
            .get(&key, &open(nats_spec), Instant::now())
            .await
            .map_err(|error| error.to_string())?,
    };
    let streams = Streams::new(link.client.clone(), nats_spec.given_api_prefix().as_deref());
    let ending = match stream.deletion_policy {
        DeletionPolicy::Delete => streams.delete_if_owned(&stream.name, &owner).await,
        DeletionPolicy::Retain => streams.release(&stream.name, &owner).await,
    };
    match ending {
        Ok(Ending::Deleted) => context.metrics.stream(Deed::StreamDeleted),
        Ok(Ending::Released) => context.metrics.stream(Deed::StreamReleased),
        _ => {}
    }
    ending.map_err(|error| error.to_string())
}

/// Without credentials: what is known of a manifest that is not valid.
fn open(nats: &Nats) -> Access {
    Access { inbox_prefix: nats.inbox_prefix.clone(), ..Access::open(nats.servers.clone()) }
}

async fn wait_or_leave(
    gateway: &WsGateway,
    policy: DeletionPolicy,
    trouble: &str,
    context: &Context,
) -> Result<Action, Error> {
    context.metrics.problem("finalize", "StreamNotEnded");
    let patience = match policy {
        DeletionPolicy::Delete => {
            Duration::from_secs(u64::from(context.options.deletion_patience_seconds))
        }
        DeletionPolicy::Retain => RETAIN_PATIENCE,
    };
    let since = gateway.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let now = Timestamp::now();
    if left(since, now, patience).is_zero() {
        let note = format!(
            "{} was left as it is, after {patience:?} of trying: {trouble}",
            stream_words(gateway)
        );
        tracing::warn!(gateway = gateway.name_any(), trouble, "deleting without the stream");
        context.events.tell(gateway, false, "StreamLeftBehind", &note).await;
        return unguard(gateway, context).await;
    }
    let message = format!(
        "deletion waits for NATS, at most {patience:?} ({trouble}); to go at once and leave the stream as it is: \
         kubectl annotate wsgw {} {FORCE_DELETE}=true",
        gateway.name_any()
    );
    let findings = Findings::of(gateway)
        .with(STREAM_READY, Verdict::no("DeletionWaitsForNats", message.clone()))
        .with(READY, Verdict::no("Deleting", message));
    let status = status::compute(&findings, gateway.status.as_ref(), now, Duration::ZERO);
    if gateway.status.as_ref() != Some(&status) {
        status::write(&context.client, gateway, &status).await?;
    }
    Ok(Action::requeue(PAUSE.min(left(since, now, patience))))
}

/// What is left of the patience.
fn left(since: Option<Timestamp>, now: Timestamp, patience: Duration) -> Duration {
    let waited = since.map_or(Duration::ZERO, |since| now.duration_since(since).unsigned_abs());
    patience.saturating_sub(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let patience = Duration::from_secs(30);
        assert_eq!(left(Some(at(100)), at(110), patience), Duration::from_secs(20));
        assert_eq!(left(Some(at(100)), at(130), patience), Duration::ZERO);
        assert_eq!(left(Some(at(100)), at(9_999), patience), Duration::ZERO);
    }
}
