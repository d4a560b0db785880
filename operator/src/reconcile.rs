//! The pipeline, top to bottom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use wsgateway_crds::{FieldError, ValidGateway, WsGateway, validate};

use crate::apply::Applier;
use crate::build::{objects, selector_text};
use crate::context::Context;
use crate::dereference::World;
use crate::error::{Error, Stage};
use crate::status::{self, Findings, Verdict};
use crate::stream::Outcome;
use crate::{TAKE_OVER, configs, dereference, finalize, fleet, live, secrets, stream};

/// While something is not ready, the next look comes this early.
const NOT_READY: Duration = Duration::from_secs(5);

/// Reconciles one WsGateway, and counts it.
pub(crate) async fn reconcile(
    guarded: Arc<DeserializeGuard<WsGateway>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let gateway = match &guarded.0 {
        Ok(gateway) => gateway,
        Err(_) => return finalize::unreadable(&guarded, &context).await,
    };
    let begun = Instant::now();
    let result = if gateway.metadata.deletion_timestamp.is_some() {
        finalize::run(gateway, &context).await.map(|action| (action, true))
    } else {
        converge(gateway, &context).await
    };
    let outcome = match &result {
        Ok((_, true)) => "ok",
        Ok((_, false)) => "not_ready",
        Err(_) => "error",
    };
    context.metrics.reconciled(outcome, begun.elapsed().as_secs_f64());
    result.map(|(action, _)| action)
}

/// What to do after an error: wait, longer each time.
pub(crate) fn after_error(
    guarded: Arc<DeserializeGuard<WsGateway>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let (namespace, name) = (guarded.namespace().unwrap_or_default(), guarded.name_any());
    context.metrics.problem(error.stage.as_str(), error.reason);
    let wait = context.backoff.failed(&namespace, &name, fastrand::f64());
    tracing::warn!(
        namespace,
        name,
        stage = error.stage.as_str(),
        reason = error.reason,
        error = error.message,
        ?wait,
        "will try again"
    );
    Action::requeue(wait)
}

/// dereference → validate → stream → build → apply → status. True: ready.
async fn converge(gateway: &WsGateway, context: &Context) -> Result<(Action, bool), Error> {
    finalize::guard(gateway, context).await?;
    let valid = match validate(gateway) {
        Ok(valid) => valid,
        Err(errors) => return refuse(gateway, &errors, context).await,
    };
    let world = dereference::look(&valid, context).await;
    let stream = make_stream(gateway, &valid, &world, context).await;
    let deployed = if stream.refused && !world.deployed {
        // Somebody else's stream: its gateways are not ours to start.
        Ok(Err(Verdict::no("WaitingForStream", "gateways start once the stream is ours")))
    } else {
        deploy(&valid, &world, context).await
    };
    let findings = findings(&valid, &world, &stream, &deployed, context).await;
    let ready = report(gateway, findings, context).await?;
    drop(deployed?);
    Ok((next_look(&valid, ready, stream.retry, context), ready))
}

/// An invalid spec is a condition; only its change helps.
async fn refuse(
    gateway: &WsGateway,
    errors: &[FieldError],
    context: &Context,
) -> Result<(Action, bool), Error> {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    context.metrics.problem("validate", "SpecInvalid");
    let findings = Findings {
        generation: gateway.metadata.generation.unwrap_or_default(),
        selector: selector_text(&gateway.name_any()),
        stream: None,
        gateway: None,
        ready: Some(Verdict::no("SpecInvalid", lines.join("; "))),
        stream_status: None,
        fleet: None,
    };
    report(gateway, findings, context).await?;
    Ok((Action::await_change(), false))
}

async fn make_stream(
    gateway: &WsGateway,
    valid: &ValidGateway,
    world: &World,
    context: &Context,
) -> Outcome {
    match &world.link {
        None => stream::not_applicable(),
        Some(Ok(link)) => {
            let yields = gateway.annotations().get(TAKE_OVER).map(String::as_str);
            stream::reconcile(valid, yields, link, context).await
        }
        Some(Err(error)) => {
            context.metrics.problem("dereference", error.reason());
            Outcome::of(Verdict::no(error.reason(), error.to_string()))
        }
    }
}

/// The gateways' Deployment, or why nothing of theirs is changed.
type Deployed = Result<Deployment, Verdict>;

async fn deploy(
    valid: &ValidGateway,
    world: &World,
    context: &Context,
) -> Result<Deployed, Error> {
    let network = context.network.as_ref();
    let objects = objects(valid, &context.options.gateway_image, world.known, network)
        .map_err(|error| Error::new(Stage::Build, "ConfigNotRendered", error.to_string()))?;
    if let Some(verdict) = secrets_withheld(&objects.deployment, valid, world, context).await {
        return Ok(Err(verdict));
    }
    let applier = Applier {
        client: &context.client,
        children: &context.children,
        written: &context.written,
        metrics: &context.metrics,
        gateway: valid,
        known: world.known,
    };
    let deployment = applier.all(&objects).await?;
    configs::prune(&applier, &objects.config, context).await;
    live::spread(valid, &objects.live_hash, context).await;
    Ok(Ok(deployment))
}

/// Pods get a Secret only if it is for WsGateways: they send it to whatever servers the WsGateway names.
async fn secrets_withheld(
    deployment: &Deployment,
    valid: &ValidGateway,
    world: &World,
    context: &Context,
) -> Option<Verdict> {
    let template = &deployment.spec.as_ref()?.template;
    let proven = match (&world.link, valid.source.nats()) {
        (Some(Ok(_)), Some(nats)) => nats.files().into_iter().map(|file| file.source.name).collect(),
        _ => BTreeSet::new(),
    };
    let trouble = secrets::withheld(template, &proven, &valid.namespace, context).await?;
    context.metrics.problem("dereference", trouble.reason);
    let kept = if world.deployed { "; the pods that run stay as they are" } else { "" };
    Some(Verdict::no(trouble.reason, format!("{trouble}{kept}")))
}

/// Connections are told when they can be had: their absence keeps nobody from the rest of the status.
async fn load(valid: &ValidGateway, context: &Context) -> Option<(i64, i64)> {
    let load = context.asker.load(&context.client, &valid.namespace, &valid.name).await;
    load.unwrap_or_else(|error| {
        context.metrics.problem(error.stage.as_str(), error.reason);
        tracing::warn!(%error, "cannot list the pods of a gateway");
        None
    })
}

async fn findings(
    valid: &ValidGateway,
    world: &World,
    stream: &Outcome,
    deployed: &Result<Deployed, Error>,
    context: &Context,
) -> Findings {
    let (gateway, fleet) = match deployed {
        Ok(Ok(deployment)) => {
            let load = load(valid, context).await;
            (
                fleet::verdict(deployment, valid.effective_replicas()),
                Some(fleet::count(deployment, load)),
            )
        }
        Ok(Err(verdict)) => (verdict.clone(), None),
        Err(error) => (Verdict::no(error.reason, error.message.clone()), None),
    };
    // The rest comes first: what is missing in front of pods matters once there are pods.
    let works = stream.verdict.holds && gateway.holds;
    let ready = world.known.lacks(valid).filter(|_| works);
    Findings {
        generation: valid.generation,
        selector: selector_text(&valid.name),
        stream: Some(stream.verdict.clone()),
        gateway: Some(gateway),
        ready,
        stream_status: stream.status.clone(),
        fleet,
    }
}

/// Writes the status if it changed, tells of transitions, and returns whether the WsGateway is ready.
async fn report(gateway: &WsGateway, findings: Findings, context: &Context) -> Result<bool, Error> {
    let previous = gateway.status.as_ref();
    let status = status::compute(findings, previous, Timestamp::now());
    if previous != Some(&status) {
        status::write(&context.client, gateway, &status).await?;
        for condition in status::transitions(previous, &status) {
            let good = condition.status == "True";
            tracing::info!(
                namespace = gateway.namespace(),
                name = gateway.name_any(),
                condition = condition.type_,
                status = condition.status,
                reason = condition.reason,
                message = condition.message,
                "condition"
            );
            // Ready repeats what the others say.
            if condition.type_ != status::READY || condition.reason == "SpecInvalid" {
                context.events.tell(gateway, good, &condition.reason, &condition.message).await;
            }
        }
    }
    Ok(status
        .conditions
        .iter()
        .any(|condition| condition.type_ == status::READY && condition.status == "True"))
}

fn next_look(valid: &ValidGateway, ready: bool, retry: bool, context: &Context) -> Action {
    let (namespace, name) = (&valid.namespace, &valid.name);
    let wait = if retry {
        context.backoff.failed(namespace, name, fastrand::f64())
    } else {
        context.backoff.succeeded(namespace, name);
        let rest = Duration::from_secs(u64::from(context.options.resync_seconds.get()));
        let wait = if ready { rest } else { rest.min(NOT_READY) };
        // Spread, so that a fleet that started together does not ask together for ever.
        wait.mul_f64(0.9 + 0.2 * fastrand::f64())
    };
    let pods = context.spread.wait(namespace, name, Instant::now());
    Action::requeue(pods.map_or(wait, |pods| pods.min(wait)))
}
