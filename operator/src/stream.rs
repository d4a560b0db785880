//! Stage: the stream. Observe, plan (pure, in `wsgateway-nats`), apply; the outcome is a verdict, never an error, so
//! that NATS being away does not keep the pods from being looked after.
//!
//! A stream that was found as specified is not looked at again while its advisories are heard, but for a slow poll.

mod advisories;
mod corrections;
mod ignored;
mod look;
mod records;
mod release;
mod rival;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use wsgateway_crds::{AdoptionPolicy, StreamStatus, ValidGateway, ValidNats};
use wsgateway_nats::{
    Adoption, Claim, Observed, Owner, Ownership, Plan, Refusal, Rival, StreamError, Streams,
    fresh_epoch, plan,
};

use self::advisories::Advisories;
use self::ignored::Ignored;
use self::records::Place;
use self::verdict::{contested, enough_consumers, most_pods, observing, problem, report};
use crate::context::Context;
use crate::identity::NoIdentity;
use crate::nats::Link;
use crate::status::Verdict;
use crate::wake::Name;

pub(crate) use self::records::{Kept, Records};
pub(crate) use self::release::farewell;

/// Where changes of a stream are heard of, it is looked at once in this many polls.
const POLLS: u32 = 20;

/// What became of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The stream as NATS reports it, if it could be asked and there is one.
    pub(crate) status: Option<StreamStatus>,
    /// For the condition StreamReady.
    pub(crate) verdict: Verdict,
    /// Somebody has to decide before anything is done with this stream.
    pub(crate) refused: bool,
    /// Looking again soon may help.
    pub(crate) retry: bool,
    /// NATS is being asked, and its answer wakes the WsGateway; until then this is what was known.
    pub(crate) is_pending: bool,
    /// Most consumers that the stream may have, if that is limited.
    pub(crate) max_consumers: Option<u64>,
}

impl Outcome {
    /// A stream about which nothing more is known.
    pub(crate) fn of(verdict: Verdict) -> Self {
        Self {
            status: None,
            verdict,
            refused: false,
            retry: false,
            is_pending: false,
            max_consumers: None,
        }
    }
}

/// One reconciliation of one stream.
pub(crate) struct Work<'a> {
    gateway: &'a ValidGateway,
    nats: &'a ValidNats,
    /// The owner whose stream a person has given to this WsGateway.
    yields: Option<&'a str>,
    /// Gateways at a time.
    pods: u64,
    link: &'a Link,
    context: &'a Context,
}

/// Where messages come from Redis there is nothing to create and nothing to own.
pub(crate) fn not_applicable() -> Outcome {
    Outcome::of(Verdict::yes("NotApplicable", "messages come from Redis, which has no stream"))
}

/// The owner that a WsGateway is in a stream's metadata.
pub(crate) async fn owner(name: &Name, uid: &str, context: &Context) -> Result<Owner, NoIdentity> {
    let cluster = context.identity.cluster(&context.client).await?;
    Ok(Owner::new(cluster, &name.namespace, &name.name, uid))
}

/// Makes the stream as specified. `yields` is an owner, as the stream's mark names it, whose stream a person has given to
/// this WsGateway. Returns soon, whatever NATS does.
pub(crate) async fn reconcile(
    gateway: &ValidGateway,
    yields: Option<&str>,
    link: &Link,
    context: &Arc<Context>,
) -> Outcome {
    let Some(nats) = gateway.source.nats() else { return not_applicable() };
    let work = Work { gateway, nats, yields, pods: most_pods(gateway), link, context };
    let now = Instant::now();
    let resting = context.records.with(&gateway.uid, |record| {
        // A look that goes on, or whose end was not heard, knows better.
        if record.look.is_some() { None } else { record.resting(&work, now) }
    });
    if let Some(outcome) = resting {
        return outcome;
    }
    look::at(gateway, nats, yields, link, context).await
}

/// Asks NATS and makes the stream as specified, however long that takes.
async fn look(work: &Work<'_>) -> Outcome {
    let Work { gateway, nats, link, context, .. } = work;
    let (records, now) = (&context.records, Instant::now());
    let up = link.up();
    listen(work).await;
    let outcome = match stage(work).await {
        Ok(outcome) => enough_consumers(outcome, work.pods, &context.metrics),
        Err(error) => {
            let verdict = problem(&error, &link.trouble(), nats);
            context.metrics.problem("stream", verdict.reason);
            Outcome { retry: error.retry(), ..Outcome::of(verdict) }
        }
    };
    release::left(work).await;
    if let Some(up) = up.filter(|_| outcome.verdict.holds && !outcome.retry) {
        let until = now + poll(context.options.resync_seconds.get(), fastrand::f64());
        records.with(&gateway.uid, |record| record.rest(work, up, until, &outcome));
    } else {
        records.with(&gateway.uid, |record| record.rest = None);
    }
    outcome
}

/// The pause between two slow polls: spread by `jitter` (0 to 1), so that a fleet does not ask together.
fn poll(resync_seconds: u32, jitter: f64) -> Duration {
    (Duration::from_secs(u64::from(resync_seconds)) * POLLS).mul_f64(0.8 + 0.4 * jitter)
}

/// Subscribes to the advisories of the stream, before it is looked at: what happens later is heard.
async fn listen(work: &Work<'_>) {
    let stream = &work.nats.stream.name;
    let (records, uid) = (&work.context.records, &work.gateway.uid);
    let subscribed = records.with(uid, |record| {
        record.advisories.as_ref().is_some_and(|advisories| {
            advisories.take();
            advisories.are_of(work.link, stream)
        })
    });
    // Without a connection the subscription would wait in a queue.
    if subscribed || !work.link.is_up() {
        return;
    }
    let name = Name::new(&work.gateway.namespace, &work.gateway.name);
    let advisories = Advisories::of(work.link, stream, name, work.context.wake.clone()).await;
    records.with(uid, |record| record.advisories = advisories);
}

async fn stage(work: &Work<'_>) -> Result<Outcome, StreamError> {
    let name = Name::new(&work.gateway.namespace, &work.gateway.name);
    match owner(&name, &work.gateway.uid, work.context).await {
        Ok(owner) => converge(work, &owner).await,
        // Whoever only reads claims nothing.
        Err(_unknown) if work.nats.adoption == AdoptionPolicy::Observe => {
            let nobody = Owner::new("", &name.namespace, &name.name, &work.gateway.uid);
            converge(work, &nobody).await
        }
        Err(error) => {
            work.context.metrics.problem("stream", "ClusterUnknown");
            let verdict = Verdict::no("ClusterUnknown", error.to_string());
            Ok(Outcome { retry: error.retry, ..Outcome::of(verdict) })
        }
    }
}

async fn converge(work: &Work<'_>, owner: &Owner) -> Result<Outcome, StreamError> {
    let (nats, context) = (work.nats, work.context);
    let desired = &nats.stream;
    let adoption = adoption(nats.adoption);
    let streams = Streams::new(work.link.client.clone(), nats.api_prefix.as_deref());
    let observed = streams.observe(&desired.name).await?;
    let plan = decide(work, owner, adoption, observed.as_ref()).await;
    if let Plan::Refuse(refusal) = &plan {
        context.metrics.problem("stream", refusal.reason());
        return Ok(Outcome {
            status: observed.as_ref().map(|observed| report(observed, owner)),
            refused: true,
            ..Outcome::of(Verdict::no(refusal.reason(), refusal.to_string()))
        });
    }
    if let Some(verdict) = held_back(work, &plan)? {
        context.metrics.problem("stream", verdict.reason);
        let status = observed.as_ref().map(|observed| report(observed, owner));
        return Ok(Outcome { status, ..Outcome::of(verdict) });
    }
    let applied = context.lead.while_held(streams.apply(&plan)).await;
    let applied =
        applied.unwrap_or_else(|lost| Err(StreamError::Temporary { answer: lost.to_string() }));
    remember(work, &plan, applied.as_ref().err());
    let found = applied?.or(observed);
    verdict::count(&plan, &desired.name, &context.metrics);
    let verdict = match &plan {
        Plan::Noop(differing) if adoption == Adoption::Observe => {
            observing(&desired.name, differing)
        }
        _ => Verdict::yes("StreamAsSpecified", format!("stream {} is as specified", desired.name)),
    };
    if let Some(found) = found.as_ref().filter(|_| adoption != Adoption::Observe) {
        keep(work, owner.clone(), found);
    }
    Ok(Outcome {
        status: found.as_ref().map(|observed| report(observed, owner)),
        max_consumers: found.as_ref().and_then(|observed| observed.config.max_consumers()),
        ..Outcome::of(verdict)
    })
}

fn adoption(policy: AdoptionPolicy) -> Adoption {
    match policy {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
        AdoptionPolicy::Observe => Adoption::Observe,
    }
}

/// The plan, with what the API server knows about another owner.
async fn decide(
    work: &Work<'_>,
    owner: &Owner,
    adoption: Adoption,
    observed: Option<&Observed>,
) -> Plan {
    let fresh = fresh_epoch(SystemTime::now(), fastrand::u64(..));
    let desired = &work.nats.stream;
    let rival = work.yields.map_or(Rival::Unknown, Rival::Yields);
    let first = plan(desired, &Claim { owner, adoption, rival }, observed, &fresh);
    let Plan::Refuse(Refusal::OwnedByOther { owner: mark }) = &first else { return first };
    if !rival::is_gone(mark, owner.cluster(), work.context).await {
        return first;
    }
    plan(desired, &Claim { owner, adoption, rival: Rival::Gone(mark) }, observed, &fresh)
}

/// Why a plan is not carried out now: it would be the next blow of a fight, or has been in vain.
fn held_back(work: &Work<'_>, plan: &Plan) -> Result<Option<Verdict>, StreamError> {
    let changes = plan.changes();
    if changes.is_empty() {
        return Ok(None);
    }
    let version = work.link.client.server_info().version;
    work.context.records.with(&work.gateway.uid, |record| {
        if let Err(wait) = record.corrections.allow(&work.nats.stream, Instant::now()) {
            return Ok(Some(contested(changes, wait.as_secs())));
        }
        if record.ignored.is_certain(changes, &version) {
            return Err(StreamError::Ignored { changes: changes.to_vec() });
        }
        Ok(None)
    })
}

/// Notes what became of a plan, for the next reconciliation.
fn remember(work: &Work<'_>, plan: &Plan, error: Option<&StreamError>) {
    let version = work.link.client.server_info().version;
    let desired = &work.nats.stream;
    work.context.records.with(&work.gateway.uid, |record| match (plan, error) {
        (_, Some(StreamError::Ignored { changes })) => {
            record.ignored.saw(changes, &version);
            record.corrections.written(desired, Instant::now());
        }
        // A blow of a fight, too.
        (_, Some(StreamError::ClaimedByOther { .. })) => {
            record.corrections.written(desired, Instant::now());
        }
        (_, Some(_)) => {}
        (Plan::Update { .. } | Plan::StepWise { .. }, None) => {
            record.ignored = Ignored::default();
            record.corrections.written(desired, Instant::now());
        }
        (_, None) => record.corrections.found(desired),
    });
}

/// Remembers that the stream carries our mark, and over which connection.
fn keep(work: &Work<'_>, owner: Owner, found: &Observed) {
    if owner.of(&found.config.metadata()) != Ownership::Ours {
        return;
    }
    let kept = Kept {
        link: work.link.clone(),
        api_prefix: work.nats.api_prefix.clone(),
        stream: work.nats.stream.name.clone(),
        owner,
        place: Place::new(work.nats, work.link.client.server_info()),
        epoch: found.epoch.clone(),
    };
    work.context.records.with(&work.gateway.uid, |record| record.keep(kept, Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_polls_are_spread() {
        assert_eq!(poll(15, 0.0), Duration::from_secs(240));
        assert_eq!(poll(15, 1.0), Duration::from_secs(360));
    }
}
