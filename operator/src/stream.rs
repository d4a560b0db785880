//! Stage: the stream. Observe, plan (pure, in `wsgateway-nats`), apply; the outcome is a verdict, never an error, so
//! that NATS being away does not keep the pods from being looked after.

use wsgateway_crds::{AdoptionPolicy, Ownership, StreamStatus, ValidGateway, stream_config};
use wsgateway_nats::{Adoption, Observed, Owner, Plan, StreamError, apply, observe, plan};

use crate::metrics::{Deed, Metrics};
use crate::nats::Link;
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

/// Makes the stream as specified.
pub(crate) async fn reconcile(
    gateway: &ValidGateway,
    owner: &Owner,
    link: &Link,
    metrics: &Metrics,
) -> Outcome {
    match converge(gateway, owner, link, metrics).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let verdict = problem(&error, link.trouble().as_deref());
            metrics.problem("stream", verdict.reason);
            Outcome { status: None, verdict, refused: false, retry: error.retry() }
        }
    }
}

async fn converge(
    gateway: &ValidGateway,
    owner: &Owner,
    link: &Link,
    metrics: &Metrics,
) -> Result<Outcome, StreamError> {
    let desired = stream_config(gateway);
    let adoption = match gateway.adoption {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
    };
    let observed = observe(&link.client, &desired.name).await?;
    let plan = plan(&desired, owner, adoption, observed.as_ref());
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
fn problem(error: &StreamError, trouble: Option<&str>) -> Verdict {
    match (error, trouble) {
        (StreamError::NoAnswer, Some(trouble))
            if trouble.to_ascii_lowercase().contains("permissions") =>
        {
            Verdict::no(
                "NatsPermissionDenied",
                format!(
                    "NATS refuses the operator ({trouble}): allow $JS.API.STREAM.* and _INBOX.> for its account"
                ),
            )
        }
        (StreamError::Unreachable, Some(trouble)) => {
            Verdict::no(error.reason(), format!("{error}; last seen: {trouble}"))
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
    use super::*;

    #[test]
    fn a_missing_permission_is_told_from_silence() {
        let trouble = "Permissions Violation for Publish to \"$JS.API.STREAM.INFO.X\"";
        assert_eq!(problem(&StreamError::NoAnswer, Some(trouble)).reason, "NatsPermissionDenied");
        assert_eq!(problem(&StreamError::NoAnswer, None).reason, "JetStreamNoAnswer");
    }
}
