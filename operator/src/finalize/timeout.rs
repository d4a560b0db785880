//! How long the end of a WsGateway may take.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

/// A namespace that goes takes NATS and Secrets along in any order: what does not work at once will not work later.
const TERMINATING: Duration = Duration::from_secs(10);

/// Whether the namespace of an object is being deleted. Asked without a right to read namespaces: the API server refuses
/// whatever is created in such a namespace, also what is not meant.
pub(super) async fn is_terminating(client: &Client, namespace: &str) -> bool {
    let probe = ConfigMap {
        metadata: ObjectMeta {
            generate_name: Some("wsgateway-probe-".to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let dry = PostParams { dry_run: true, field_manager: None };
    match api.create(&dry, &probe).await {
        Err(kube::Error::Api(status)) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}

/// The longest that a deletion may take, `usual` unless the namespace goes, too.
pub(super) fn limit(usual: Duration, terminating: bool) -> Duration {
    if terminating { usual.min(TERMINATING) } else { usual }
}

/// What is left of it.
pub(super) fn left(since: Option<Timestamp>, now: Timestamp, limit: Duration) -> Duration {
    let waited = since.map_or(Duration::ZERO, |since| now.duration_since(since).unsigned_abs());
    limit.saturating_sub(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_ends_and_that_of_a_namespace_soon() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let usual = Duration::from_secs(30);
        assert_eq!(left(Some(at(100)), at(110), usual), Duration::from_secs(20));
        assert_eq!(left(Some(at(100)), at(130), usual), Duration::ZERO);
        assert_eq!(left(Some(at(100)), at(9_999), usual), Duration::ZERO);
        assert_eq!(limit(usual, false), usual);
        assert_eq!(limit(usual, true), TERMINATING);
        assert_eq!(limit(Duration::ZERO, true), Duration::ZERO);
    }
}
