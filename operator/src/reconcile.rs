//! The pipeline, top to bottom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use tracing::{Instrument as _, Span};
use wsgateway_crds::{ValidGateway, WsGateway, validate};

use crate::apply::{Applied, Applier};
use crate::build::{Objects, Surroundings, admin_name, objects};
use crate::context::Context;
use crate::dereference::World;
use crate::error::{Error, Stage};
use crate::handover::Leaving;
use crate::moves::Plan;
use crate::report::{Deployed, Look, outcomes, tell};
use crate::standstill::{paused, refused, stand_still};
use crate::status::Verdict;
use crate::stream::Outcome;
use crate::wake::Name;
use crate::{
    RECONCILE_AT, TAKE_OVER, apply, configs, dereference, disconnects, evictions, finalize, live,
    moves, rollout, secrets, stream, traces,
};

/// While something is not ready, the next look comes this early.
const NOT_READY: Duration = Duration::from_secs(5);

/// Between two steps of which the second need not wait.
const AT_ONCE: Duration = Duration::from_millis(100);

/// While clients move, the next look comes this early.
const MOVING: Duration = Duration::from_secs(2);

/// A server that hangs must not hold the place of others for longer.
const LONGEST: Duration = Duration::from_secs(60);

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
    let step = async {
        if gateway.metadata.deletion_timestamp.is_some() {
            finalize::run(gateway, &context).await.map(|action| (action, true))
        } else {
            converge(gateway, &context).await
        }
    };
    let span = span(gateway);
    let step = tokio::time::timeout(LONGEST, Box::pin(step)).instrument(span.clone());
    let result = match step.await {
        Ok(result) => result,
        // Each of its steps may be repeated.
        Err(_late) => Err(Error::new(
            Stage::Apply,
            "TimedOut",
            format!("the API server or NATS did not answer within {LONGEST:?}"),
        )),
    };
    let outcome = match &result {
        Ok((_, true)) => "ok",
        Ok((_, false)) => "not_ready",
        Err(_) => "error",
    };
    span.record("result", outcome);
    if let Err(error) = &result {
        traces::failed(&span, error);
    }
    context.metrics.reconciled(outcome, begun.elapsed().as_secs_f64());
    result.map(|(action, _)| action)
}

fn span(gateway: &WsGateway) -> Span {
    traces::span!(
        "reconcile",
        k8s.namespace.name = gateway.namespace(),
        wsgateway.name = gateway.name_any(),
        wsgateway.generation = gateway.metadata.generation,
        result = tracing::field::Empty
    )
}

/// What to do after an error: wait, longer each time.
pub(crate) fn after_error(
    guarded: Arc<DeserializeGuard<WsGateway>>,
    error: &Error,
    context: Arc<Context>,
) -> Action {
    let (namespace, name) = (guarded.namespace().unwrap_or_default(), guarded.name_any());
    context.metrics.problem(error.stage.as_str(), error.reason);
    let wait = match error.is_temporary() {
        true => context.backoff.server_failed(&namespace, &name, fastrand::f64()),
        false => context.backoff.failed(&namespace, &name, fastrand::f64()),
    };
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

/// dereference → validate → stream → build → apply → status. True: all is as specified.
async fn converge(gateway: &WsGateway, context: &Arc<Context>) -> Result<(Action, bool), Error> {
    let key = Name::new(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
    if gateway.spec.paused {
        return stand_still(gateway, &key, paused(), context).await;
    }
    finalize::guard(gateway, context).await?;
    let defaults = &context.options.defaults;
    let mut valid = match validate(&defaults.fill(gateway)) {
        Ok(valid) => valid.at(Timestamp::now()),
        Err(errors) => {
            let errors = defaults.explain(gateway, errors);
            return stand_still(gateway, &key, refused(&errors), context).await;
        }
    };
    context.written.ask(&key, gateway.annotations().get(RECONCILE_AT).map(String::as_str));
    let over = disconnects::settle(gateway, &mut valid, context).await?;
    let world = dereference::look(&valid, context).instrument(traces::span!("read")).await;
    let nats = traces::span!("stream", messaging.system = "nats", verdict = tracing::field::Empty);
    let stream = make_stream(gateway, &valid, &world, context).instrument(nats.clone()).await;
    nats.record("verdict", stream.verdict.reason);
    let deployed = if stream.refused && !world.deployed {
        // Somebody else's stream: its gateways are not ours to start.
        let why = Verdict::no("WaitingForStream", "gateways start once the stream is ours");
        Ok(Deployed::Held(why.planned()))
    } else {
        let work = Box::pin(deploy(gateway, &valid, &world, context));
        traces::step(traces::span!("deploy"), work).await
    };
    let failures = context.backoff.failures(&key.namespace, &key.name);
    let outcomes = outcomes(&valid, &world, &stream, &deployed, failures);
    let written = deployed.as_ref().ok().and_then(Deployed::applied);
    let deployment = written.and_then(|applied| applied.deployment.clone());
    let rollout = written.map(|applied| applied.stage).unwrap_or_default();
    let soon = written.and_then(|applied| soon(applied, context));
    let is_busy = written.and_then(|applied| applied.moves.as_ref()).is_some_and(Plan::is_busy);
    let look = Look {
        deployment: deployment.or_else(|| dereference::deployment(&key, context)),
        wanted: written
            .and_then(|applied| applied.wanted)
            .unwrap_or_else(|| valid.effective_replicas()),
        bounds: valid.autoscaling.as_ref().map(|bounds| (bounds.min, bounds.max)),
        rollout,
        moves: written.and_then(|applied| applied.moves.clone()),
        contract: written.and_then(|applied| applied.contract.clone()),
        stream: Some(&stream),
        internal: Some(format!("{}.{}.svc:{}", valid.name, valid.namespace, valid.port)),
    };
    let told = Box::pin(tell(gateway, &key, look, outcomes, context));
    let settled = traces::step(traces::span!("status"), told).await?;
    if let Some(error) = deployed?.into_broken() {
        return Err(error);
    }
    if let Some(soon) = soon {
        return Ok((Action::requeue(soon), settled));
    }
    if is_busy {
        // The next step depends on what the pods have.
        context.pods.ask_at(&key, Instant::now());
        return Ok((Action::requeue(MOVING), settled));
    }
    Ok((next_look(&valid, settled, &stream, over, context), settled))
}

async fn make_stream(
    gateway: &WsGateway,
    valid: &ValidGateway,
    world: &World,
    context: &Arc<Context>,
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

async fn deploy(
    gateway: &WsGateway,
    valid: &ValidGateway,
    world: &World,
    context: &Context,
) -> Result<Deployed, Error> {
    let mut objects = traces::span!("plan").in_scope(|| build(valid, world, context))?;
    if let Some(verdict) = secrets_withheld(&objects.deployment, valid, world, context).await {
        evictions::release(&Name::new(&valid.namespace, &valid.name), context).await?;
        return Ok(Deployed::Held(verdict));
    }
    let template = objects.template().unwrap_or_default().to_owned();
    let rollout = rollout::look(gateway, valid, &template, context).await?;
    rollout.fit(&mut objects);
    let moves = moves::look(gateway, valid, &rollout, context);
    moves.fit(&mut objects, &rollout, valid, context);
    evictions::fit(&mut objects, &rollout, valid, context);
    let desired = objects
        .desired()
        .map_err(|error| Error::new(Stage::Build, "NotSerializable", error.to_string()))?;
    let applier = Applier {
        client: &context.client,
        inventory: &context.inventory,
        kinds: &world.kinds,
        written: &context.written,
        metrics: &context.metrics,
        wake: &context.wake,
        gateway: valid,
        keeps_deployment: rollout.keeps_deployment(),
    };
    let mut applied = applier.all(&desired).instrument(traces::span!("apply")).await;
    applied.stage = rollout.plan.stage;
    applied.wanted = Some(moves.replicas);
    if applied.broken().is_none() {
        if rollout.keeps_deployment() {
            keep_number(valid, moves.replicas, context).await?;
        }
        rollout.step(valid, context).await?;
        applied.goes_on = rollout.goes_on();
        moves::step(&moves, valid, context).await?;
        configs::prune(&applier, &objects.config, context).await;
        live::spread(valid, &objects.live_hash, context).await;
    }
    let mut contract = rollout.contract;
    if rollout.pods.is_some() {
        contract.settle(&rollout.plan.stage, &moves.stage);
    }
    applied.contract = Some(contract);
    applied.moves = Some(moves);
    Ok(Deployed::Applied(Box::new(applied)))
}

/// When the next step is due that nobody wakes us for.
fn soon(applied: &Applied, context: &Context) -> Option<Duration> {
    // What leaves wakes nobody before its watch has told of it.
    let is_untold = |left: &Leaving| !context.inventory.is_listed(left.kind);
    let waits = applied.leaving.as_ref().is_some_and(is_untold);
    applied.goes_on.then_some(AT_ONCE).or_else(|| waits.then_some(MOVING))
}

/// A Deployment that keeps its template still has as many pods as are wanted.
async fn keep_number(valid: &ValidGateway, wanted: i32, context: &Context) -> Result<(), Error> {
    let key = Name::new(&valid.namespace, &valid.name);
    let Some(deployment) = dereference::deployment(&key, context) else { return Ok(()) };
    if deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted) {
        return Ok(());
    }
    apply::scale(&context.client, &deployment, wanted).await
}

fn build(valid: &ValidGateway, world: &World, context: &Context) -> Result<Objects, Error> {
    let is_taken = |name: &str| context.exists(&Name::new(&valid.namespace, name));
    let surroundings = Surroundings {
        default_image: &context.options.gateway_image,
        kinds: &world.kinds,
        network: context.network.as_ref(),
        admin_name: admin_name(&valid.name, is_taken),
    };
    objects(valid, &surroundings)
        .map_err(|error| Error::new(Stage::Build, "ConfigNotRendered", error.to_string()))
}

/// Pods get a Secret only if it is for WsGateways: they send it to whatever servers the WsGateway names, accept the tokens
/// that it verifies, or are to clients who it says that they are.
async fn secrets_withheld(
    deployment: &Deployment,
    valid: &ValidGateway,
    world: &World,
    context: &Context,
) -> Option<Verdict> {
    let template = &deployment.spec.as_ref()?.template;
    let mut proven = match (&world.link, valid.source.nats()) {
        (Some(Ok(_)), Some(nats)) => {
            nats.files().into_iter().map(|file| file.source.name).collect()
        }
        _ => BTreeSet::new(),
    };
    let trouble = match secrets::of_clients(valid, context).await {
        Ok(mut names) => {
            proven.append(&mut names);
            secrets::withheld(template, &proven, &valid.namespace, context).await?
        }
        Err(trouble) => trouble,
    };
    context.metrics.problem("dereference", trouble.reason);
    let kept = if world.deployed { "; the pods that run stay as they are" } else { "" };
    Some(Verdict::no(trouble.reason, format!("{trouble}{kept}")))
}

fn next_look(
    valid: &ValidGateway,
    ready: bool,
    stream: &Outcome,
    over: Option<Duration>,
    context: &Context,
) -> Action {
    let (namespace, name) = (&valid.namespace, &valid.name);
    let wait = if stream.retry {
        context.backoff.failed(namespace, name, fastrand::f64())
    } else if stream.is_pending {
        // The answer wakes it. Whether that is a failure is not known yet.
        rest(context)
    } else {
        context.backoff.succeeded(namespace, name);
        let rest = rest(context);
        let wait = if ready { rest } else { rest.min(NOT_READY) };
        // Spread, so that a fleet that started together does not ask together for ever.
        wait.mul_f64(0.9 + 0.2 * fastrand::f64())
    };
    let pods = context.spread.wait(namespace, name, Instant::now());
    Action::requeue([pods, over].into_iter().flatten().fold(wait, Duration::min))
}

/// Time between two reconciliations of a WsGateway at which nothing changes.
pub(crate) fn rest(context: &Context) -> Duration {
    Duration::from_secs(u64::from(context.options.resync_seconds.get()))
}
