//! Stage: the stream. Observe, plan (pure, in `wsgateway-nats`), apply; the outcome is a verdict, never an error, so
//! that NATS being away does not keep the pods from being looked after.

use std::time::SystemTime;

use wsgateway_crds::{AdoptionPolicy, Ownership, StreamStatus, ValidGateway, ValidNats};
use wsgateway_nats::{
    Adoption, Observed, Owner, Plan, StreamError, Streams, fresh_epoch, plan,
};

use crate::context::Context;
use crate::dialing;
use crate::metrics::{Deed, Metrics};
use crate::nats::{Link, Trouble};
use crate::status::Verdict;

/// What became of the stream.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The stream as NATS reports it, if it could be asked and there is one.
    pub(crate) status: Option<StreamStatus>,
    /// For the condition StreamReady.
    pub(crate) verdict: Verdict,
    /// Somebody has to decide before anything is done with this stream.
    pub(crate) refused: bool,
    /// Looking again soon may help.
    pub(crate) retry: bool,
    /// Most consumers that the stream may have, if that is limited.
    pub(crate) max_consumers: Option<u64>,
}

/// The owner that a WsGateway is in a stream's metadata.
pub(crate) fn owner(cluster: &str, namespace: &str, name: &str, uid: &str) -> Owner {
    Owner::new(cluster, namespace, name, uid)
}

/// Where messages come from Redis there is nothing to make and nothing to own.
pub(crate) fn not_applicable() -> Outcome {
    Outcome {
        status: None,
        verdict: Verdict::yes("NotApplicable", "messages come from Redis, which has no stream"),
        refused: false,
        retry: false,
        max_consumers: None,
    }
}

/// Makes the stream as specified, for up to `pods` gateways at a time.
pub(crate) async fn reconcile(
    nats: &ValidNats,
    pods: u64,
    owner: &Owner,
    link: &Link,
    context: &Context,
) -> Outcome {
    let metrics = &context.metrics;
    match converge(nats, owner, link, context).await {
        Ok(outcome) => enough_consumers(outcome, pods, metrics),
        Err(error) => {
            let verdict = problem(&error, &link.trouble(), nats);
            metrics.problem("stream", verdict.reason);
            let retry = error.retry();
            Outcome { status: None, verdict, refused: false, retry, max_consumers: None }
        }
    }
}

async fn converge(
    nats: &ValidNats,
    owner: &Owner,
    link: &Link,
    context: &Context,
) -> Result<Outcome, StreamError> {
    let metrics = &context.metrics;
    let desired = &nats.stream;
    let adoption = match nats.adoption {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
        AdoptionPolicy::Observe => Adoption::Observe,
    };
    let streams = Streams::new(link.client.clone(), nats.api_prefix.as_deref());
    let observed = streams.observe(&desired.name).await?;
    let fresh = fresh_epoch(SystemTime::now(), fastrand::u64(..));
    let plan = plan(desired, owner, adoption, observed.as_ref(), &fresh);
    if let Plan::Refused(refusal) = &plan {
        metrics.problem("stream", refusal.reason());
        return Ok(Outcome {
            status: observed.as_ref().map(|observed| report(observed, owner)),
            verdict: Verdict::no(refusal.reason(), refusal.to_string()),
            refused: true,
            retry: false,
            max_consumers: None,
        });
    }
    let applied = context.lead.while_held(streams.apply(&plan)).await;
    let applied = applied.map_err(|error| StreamError::Temporary { answer: error.to_string() })??;
    count(&plan, &desired.name, metrics);
    let verdict = match adoption {
        Adoption::Observe => {
            Verdict::yes("StreamObserved", format!("stream {} is read as it is", desired.name))
        }
        Adoption::Fail | Adoption::Adopt => {
            Verdict::yes("StreamAsSpecified", format!("stream {} is as specified", desired.name))
        }
    };
    let found = applied.or(observed);
    Ok(Outcome {
        status: found.as_ref().map(|observed| report(observed, owner)),
        verdict,
        refused: false,
        retry: false,
        max_consumers: found.as_ref().and_then(|observed| observed.config.max_consumers()),
    })
}

fn count(plan: &Plan, stream: &str, metrics: &Metrics) {
    match plan {
        Plan::Create(_) => {
            tracing::info!(stream, "stream created");
            metrics.stream(Deed::StreamCreated);
        }
        Plan::Update { changes, .. } => {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            tracing::info!(stream, changes = changes.join(", "), "stream updated");
            metrics.stream(Deed::StreamUpdated);
        }
        Plan::InSync | Plan::Refused(_) => {}
    }
}

/// The most pods that a WsGateway has at a time: one in four more while it is rolled out.
pub(crate) fn most_pods(gateway: &ValidGateway) -> u64 {
    let pods = gateway.autoscaling.map_or(gateway.replicas, |bounds| bounds.max);
    let pods = u64::try_from(pods).unwrap_or_default();
    pods + pods.div_ceil(4)
}

/// Each gateway needs a consumer. NATS does not change how many a stream may have.
fn enough_consumers(outcome: Outcome, pods: u64, metrics: &Metrics) -> Outcome {
    let Some(limit) = outcome.max_consumers.filter(|limit| *limit < pods) else { return outcome };
    let verdict = Verdict::no(
        "MaxConsumersTooLow",
        format!(
            "the stream has max_consumers {limit}, and up to {pods} gateways need one each, rollouts included: lower \
             autoscaling.maxReplicas or replicas, or create the stream again with a higher max_consumers, which NATS does \
             not change"
        ),
    );
    metrics.problem("stream", verdict.reason);
    Outcome { verdict, ..outcome }
}

/// A missing permission shows as silence; the server's complaint tells.
fn problem(error: &StreamError, trouble: &Trouble, nats: &ValidNats) -> Verdict {
    match (error, trouble) {
        (StreamError::NoAnswer, Trouble { complaint: Some(complaint), .. })
            if complaint.to_ascii_lowercase().contains("permissions") =>
        {
            Verdict::no(
                "NatsPermissionDenied",
                format!(
                    "NATS refuses the operator ({complaint}): allow STREAM.* of its API ($JS.API.STREAM.* unless nats.domain or \
                     nats.apiPrefix is set) and its inboxes (_INBOX.> unless nats.inboxPrefix is set) for its account"
                ),
            )
        }
        (StreamError::Unreachable, Trouble { failure, .. }) => {
            let (reason, message) = dialing::in_status(failure.as_ref(), nats);
            Verdict::no(reason, message)
        }
        _ => Verdict::no(error.reason(), error.to_string()),
    }
}

fn report(observed: &Observed, owner: &Owner) -> StreamStatus {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    StreamStatus {
        name: observed.config.name().to_owned(),
        epoch: observed.epoch.clone(),
        messages: count(observed.messages),
        bytes: count(observed.bytes),
        first_sequence: count(observed.first_sequence),
        last_sequence: count(observed.last_sequence),
        consumers: i32::try_from(observed.consumers).unwrap_or(i32::MAX),
        ownership: match owner.of(&observed.config.metadata()) {
            wsgateway_nats::Ownership::Ours => Ownership::Owned,
            _ => Ownership::Foreign,
        },
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};
    use wsgateway_nats::{Failure, FailureKind};

    use super::*;

    fn nats() -> ValidNats {
        let sample = include_str!("../../manifests/samples/odin.yaml");
        validate(&parse(sample).unwrap()).unwrap().source.nats().unwrap().clone()
    }

    fn outcome(max_consumers: Option<u64>) -> Outcome {
        let verdict = Verdict::yes("StreamAsSpecified", "");
        Outcome { status: None, verdict, refused: false, retry: false, max_consumers }
    }

    #[test]
    fn a_stream_for_too_few_consumers_is_told_by_the_name_of_the_field() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        for (limit, holds) in [(None, true), (Some(7), true), (Some(6), false), (Some(1), false)] {
            let verdict = enough_consumers(outcome(limit), 7, &metrics).verdict;
            assert_eq!(verdict.holds, holds, "{limit:?}");
            assert!(holds || verdict.message.contains("max_consumers"), "{verdict:?}");
        }
    }

    #[test]
    fn a_missing_permission_is_told_from_silence() {
        let complaint = "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.X\"".to_owned();
        let trouble = Trouble { complaint: Some(complaint), ..Trouble::default() };
        assert_eq!(problem(&StreamError::NoAnswer, &trouble, &nats()).reason, "NatsPermissionDenied");
        let none = Trouble::default();
        assert_eq!(problem(&StreamError::NoAnswer, &none, &nats()).reason, "JetStreamNoAnswer");
    }

    #[test]
    fn a_connection_that_is_refused_is_no_server_that_is_away() {
        let trouble = |kind| {
            let failure = Failure { kind, message: "unsaid".to_owned() };
            Trouble { failure: Some(failure), ..Trouble::default() }
        };
        let (error, nats) = (StreamError::Unreachable, nats());
        let refused = problem(&error, &trouble(FailureKind::Authorization), &nats);
        assert_eq!(refused.reason, "NatsUnauthorized");
        assert!(refused.message.contains("set spec.nats.credentials"), "{refused:?}");
        let away = problem(&error, &trouble(FailureKind::Unreachable), &nats);
        assert_eq!(away.reason, "NatsUnreachable");
        assert!(!away.message.contains("unsaid"), "{away:?}");
    }
}
