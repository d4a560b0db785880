//! What is said about a stream: verdicts, the status, metrics.

use wsgateway_crds::{Ownership, StreamStatus, ValidGateway, ValidNats};
use wsgateway_nats::{Change, Observed, Owner, Plan, StreamError};

use super::Outcome;
use super::corrections::{MOST, WINDOW};
use crate::dialing;
use crate::metrics::{Deed, Metrics};
use crate::nats::Trouble;
use crate::status::Verdict;

/// Of fields that differ, as many as a message has room for.
const MOST_CHANGES: usize = 12;

pub(super) fn listed(changes: &[Change]) -> String {
    let mut words: Vec<String> =
        changes.iter().take(MOST_CHANGES).map(ToString::to_string).collect();
    if changes.len() > MOST_CHANGES {
        words.push(format!("and {} more", changes.len() - MOST_CHANGES));
    }
    words.join(", ")
}

/// An observed stream, and what is not as specified in it.
pub(super) fn observing(stream: &str, differing: &[Change]) -> Verdict {
    let mut message = format!("stream {stream} is read as it is");
    if !differing.is_empty() {
        let fields = listed(differing);
        message.push_str("; what the specification says otherwise is not written with Observe: ");
        message.push_str(&fields);
    }
    Verdict::yes("StreamObserved", message)
}

/// Somebody changes the stream back as often as we correct it.
pub(super) fn contested(changes: &[Change], seconds: u64) -> Verdict {
    Verdict::no(
        "StreamContested",
        format!(
            "somebody else has changed the stream back {MOST} times within {} minutes ({}): it is left alone for {seconds} s. \
             If an operator in another cluster keeps it, give the clusters different names (--cluster) or the WsGateways \
             different streams; if a tool keeps it, set stream.adoptionPolicy to Observe, or take the stream out of the tool",
            WINDOW.as_secs() / 60,
            listed(changes)
        ),
    )
}

pub(super) fn count(plan: &Plan, stream: &str, metrics: &Metrics) {
    match plan {
        Plan::Create(_) => {
            tracing::info!(stream, "stream created");
            metrics.stream(Deed::StreamCreated);
        }
        Plan::Update { changes, .. } | Plan::StepWise { changes, .. } => {
            tracing::info!(stream, changes = listed(changes), "stream updated");
            metrics.stream(Deed::StreamUpdated);
        }
        Plan::Noop(_) | Plan::Refuse(_) => {}
    }
}

/// The most pods that a WsGateway has at a time: a rollout starts all new ones beside the old ones, see the Deployment.
pub(super) fn most_pods(gateway: &ValidGateway) -> u64 {
    let pods = gateway.autoscaling.as_ref().map_or(gateway.replicas, |bounds| bounds.max);
    let pods = u64::try_from(pods).unwrap_or_default();
    pods.saturating_mul(2)
}

/// Each gateway needs a consumer. NATS does not change how many a stream may have.
pub(super) fn enough_consumers(outcome: Outcome, pods: u64, metrics: &Metrics) -> Outcome {
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
pub(super) fn problem(error: &StreamError, trouble: &Trouble, nats: &ValidNats) -> Verdict {
    match (error, trouble) {
        (StreamError::NoAnswer, Trouble { complaint: Some(complaint), .. })
            if complaint.to_ascii_lowercase().contains("permissions") =>
        {
            Verdict::no(
                "NatsPermissionDenied",
                format!(
                    "NATS refuses the operator ({complaint}): allow STREAM.* of its API ($JS.API.STREAM.* unless nats.domain or \
                     nats.apiPrefix is set) and its inboxes (_INBOX.> unless nats.inboxPrefix is set) for its account; where others \
                     keep the stream, set stream.adoptionPolicy to Observe, for which STREAM.INFO is enough"
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

pub(super) fn report(observed: &Observed, owner: &Owner) -> StreamStatus {
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
        let sample = include_str!("../../../manifests/samples/odin.yaml");
        validate(&parse(sample).unwrap()).unwrap().source.nats().unwrap().clone()
    }

    fn outcome(max_consumers: Option<u64>) -> Outcome {
        let verdict = Verdict::yes("StreamAsSpecified", "");
        Outcome { max_consumers, ..Outcome::of(verdict) }
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
        assert_eq!(
            problem(&StreamError::NoAnswer, &trouble, &nats()).reason,
            "NatsPermissionDenied"
        );
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
