//! Stage: the stream. Observe, plan (pure, in `wsgateway-nats`), apply; the outcome is a verdict, never an error, so
//! that NATS being away does not keep the pods from being looked after.

use wsgateway_crds::{AdoptionPolicy, Ownership, StreamStatus, ValidNats};
use wsgateway_nats::{
    Adoption, FailureKind, Observed, Owner, Plan, StreamError, apply, observe, plan,
};

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
    }
}

/// Makes the stream as specified.
pub(crate) async fn reconcile(
    nats: &ValidNats,
    owner: &Owner,
    link: &Link,
    metrics: &Metrics,
) -> Outcome {
    match converge(nats, owner, link, metrics).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let verdict = problem(&error, &link.trouble());
            metrics.problem("stream", verdict.reason);
            Outcome { status: None, verdict, refused: false, retry: error.retry() }
        }
    }
}

async fn converge(
    nats: &ValidNats,
    owner: &Owner,
    link: &Link,
    metrics: &Metrics,
) -> Result<Outcome, StreamError> {
    let desired = &nats.stream;
    let adoption = match nats.adoption {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
    };
    let observed = observe(&link.client, &desired.name).await?;
    let plan = plan(desired, owner, adoption, observed.as_ref());
    if let Plan::Refused(refusal) = &plan {
        metrics.problem("stream", refusal.reason());
        return Ok(Outcome {
            status: observed.as_ref().map(|observed| report(observed, owner)),
            verdict: Verdict::no(refusal.reason(), refusal.to_string()),
            refused: true,
            retry: false,
        });
    }
    let applied = apply(&link.client, &plan).await?;
    match &plan {
        Plan::Create(_) => {
            tracing::info!(stream = desired.name, "stream created");
            metrics.stream(Deed::StreamCreated);
        }
        Plan::Update { changes, .. } => {
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            tracing::info!(stream = desired.name, changes = changes.join(", "), "stream updated");
            metrics.stream(Deed::StreamUpdated);
        }
        Plan::InSync | Plan::Refused(_) => {}
    }
    Ok(Outcome {
        status: applied.or(observed).as_ref().map(|observed| report(observed, owner)),
        verdict: Verdict::yes(
            "StreamAsSpecified",
            format!("stream {} is as specified", desired.name),
        ),
        refused: false,
        retry: false,
    })
}

/// A missing permission shows as silence; the server's complaint tells.
fn problem(error: &StreamError, trouble: &Trouble) -> Verdict {
    match (error, trouble) {
        (StreamError::NoAnswer, Trouble { complaint: Some(complaint), .. })
            if complaint.to_ascii_lowercase().contains("permissions") =>
        {
            Verdict::no(
                "NatsPermissionDenied",
                format!(
                    "NATS refuses the operator ({complaint}): allow $JS.API.STREAM.* and _INBOX.> for its account"
                ),
            )
        }
        (StreamError::Unreachable, Trouble { failure: Some(failure), .. }) => {
            let message = match failure.kind {
                FailureKind::Unreachable => format!("{error}; last seen: {}", failure.message),
                _ => failure.message.clone(),
            };
            Verdict::no(failure.kind.reason(), message)
        }
        _ => Verdict::no(error.reason(), error.to_string()),
    }
}

fn report(observed: &Observed, owner: &Owner) -> StreamStatus {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    StreamStatus {
        name: observed.config.name.clone(),
        epoch: observed.epoch.clone(),
        messages: count(observed.messages),
        bytes: count(observed.bytes),
        first_sequence: count(observed.first_sequence),
        last_sequence: count(observed.last_sequence),
        consumers: i32::try_from(observed.consumers).unwrap_or(i32::MAX),
        ownership: match owner.of(&observed.config.metadata) {
            wsgateway_nats::Ownership::Ours => Ownership::Owned,
            _ => Ownership::Foreign,
        },
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_nats::Failure;

    use super::*;

    #[test]
    fn a_missing_permission_is_told_from_silence() {
        let complaint = "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.X\"".to_owned();
        let trouble = Trouble { complaint: Some(complaint), ..Trouble::default() };
        assert_eq!(problem(&StreamError::NoAnswer, &trouble).reason, "NatsPermissionDenied");
        let none = Trouble::default();
        assert_eq!(problem(&StreamError::NoAnswer, &none).reason, "JetStreamNoAnswer");
    }

    #[test]
    fn a_connection_that_is_refused_is_no_server_that_is_away() {
        let trouble = |kind| {
            let failure = Failure { kind, message: "set spec.nats.credentials".to_owned() };
            Trouble { failure: Some(failure), ..Trouble::default() }
        };
        let refused = problem(&StreamError::Unreachable, &trouble(FailureKind::Authorization));
        assert_eq!(
            (refused.reason, refused.message.as_str()),
            ("NatsUnauthorized", "set spec.nats.credentials")
        );
        let away = problem(&StreamError::Unreachable, &trouble(FailureKind::Unreachable));
        assert_eq!(away.reason, "NatsUnreachable");
    }
}
