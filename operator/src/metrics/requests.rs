//! Requests to the API server by verb, resource and status code. What is counted is what is sent: the layer stands around
//! the client. Every label has few values: a resource that is not one of ours is `other`.

use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use kube::Client;
use kube::client::Body;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use tower_service::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that the operator reads or writes.
const RESOURCES: [&str; 24] = [
    "apiservices",
    "clusterroles",
    "configmaps",
    "customresourcedefinitions",
    "deployments",
    "events",
    "horizontalpodautoscalers",
    "httproutes",
    "ingresses",
    "leases",
    "namespaces",
    "networkpolicies",
    "nodes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "scaledobjects",
    "secrets",
    "serviceaccounts",
    "servicemonitors",
    "services",
    "subjectaccessreviews",
    "wsgateways",
    "discovery",
];
const OTHER: &str = "other";
/// Without an answer.
const ERROR: &str = "error";
/// What the API server answers.
const CODES: [u16; 16] =
    [200, 201, 202, 204, 400, 401, 403, 404, 409, 410, 415, 422, 429, 500, 503, 504];

/// Series of requests. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    count: IntCounterVec,
    seconds: HistogramVec,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    verb: &'static str,
    resource: &'static str,
}

impl Requests {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = IntCounterVec::new(
            Opts::new(
                "wsgateway_operator_api_requests_total",
                "Requests to the Kubernetes API server by verb, resource and status code.",
            ),
            &["verb", "resource", "code"],
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "wsgateway_operator_api_request_duration_seconds",
                "Time until the API server answered, by verb; not of watches.",
            )
            .buckets(super::SECONDS.to_vec()),
            &["verb"],
        )?;
        registry.register(Box::new(count.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { count, seconds })
    }

    /// `client`, whose requests are counted.
    pub(crate) fn around(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(Metered { client, requests: self.clone() }, namespace)
    }

    fn answered(&self, asked: Asked, status: Option<StatusCode>, seconds: f64) {
        let code = status.map(|status| status.as_u16());
        let known = code.filter(|code| CODES.contains(code)).map(|code| code.to_string());
        let code = match (&known, code) {
            (Some(known), _) => known.as_str(),
            (None, Some(_)) => OTHER,
            (None, None) => ERROR,
        };
        self.count.with_label_values(&[asked.verb, asked.resource, code]).inc();
        if asked.verb != "watch" {
            self.seconds.with_label_values(&[asked.verb]).observe(seconds);
        }
    }
}

impl Asked {
    fn of(method: &Method, uri: &Uri) -> Self {
        let (resource, is_named) = target(uri.path());
        let verb = match method.as_str() {
            "GET" if uri.query().is_some_and(is_watch) => "watch",
            "GET" if is_named => "get",
            "GET" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => OTHER,
        };
        Self { verb, resource }
    }
}

fn is_watch(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

/// The resource that a path names, and whether it names an object of it.
fn target(path: &str) -> (&'static str, bool) {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let rest = match parts.next() {
        Some("api") => parts.next().map(|_version| parts),
        Some("apis") => parts.nth(1).map(|_version| parts),
        _ => return (OTHER, true),
    };
    let rest: Vec<&str> = rest.into_iter().flatten().collect();
    // A namespace is a resource, too, unless something within it follows.
    let (resource, name) = match rest.as_slice() {
        ["namespaces", _, resource, name @ ..] => (*resource, name.first()),
        [resource, name @ ..] => (*resource, name.first()),
        [] => return ("discovery", true),
    };
    let known = RESOURCES.into_iter().find(|known| *known == resource);
    (known.unwrap_or(OTHER), name.is_some())
}

struct Metered {
    client: Client,
    requests: Requests,
}

impl Service<Request<Body>> for Metered {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, requests) = (self.client.clone(), self.requests.clone());
        let (asked, begun) = (Asked::of(request.method(), request.uri()), Instant::now());
        async move {
            let result = client.send(request).await;
            let status = result.as_ref().ok().map(Response::status);
            requests.answered(asked, status, begun.elapsed().as_secs_f64());
            Ok(result?)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/pods?watch=true&resourceVersion=1", "watch", "pods")]
    #[case("GET", "/api/v1/namespaces/a/secrets/b", "get", "secrets")]
    #[case("GET", "/api/v1/namespaces/a", "get", "namespaces")]
    #[case("GET", "/api/v1/nodes?limit=500", "list", "nodes")]
    #[case("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "patch", "deployments")]
    #[case("POST", "/apis/events.k8s.io/v1/namespaces/a/events", "create", "events")]
    #[case("DELETE", "/api/v1/namespaces/a/services/b", "delete", "services")]
    #[case("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "update", "leases")]
    #[case("GET", "/apis/a.stranger.dev/v1/inventions", "list", "other")]
    #[case("GET", "/apis/keda.sh/v1alpha1", "get", "discovery")]
    #[case("GET", "/version", "get", "other")]
    #[case("OPTIONS", "/", "other", "other")]
    fn a_request_is_named_by_its_verb_and_resource(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] verb: &str,
        #[case] resource: &str,
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let asked = Asked::of(&method, &uri.parse().unwrap());
        assert_eq!((asked.verb, asked.resource), (verb, resource));
    }

    #[test]
    fn an_answer_of_any_status_is_one_of_few_codes() {
        let requests = Requests::new(&Registry::new()).unwrap();
        let asked = Asked { verb: "get", resource: "pods" };
        let codes = (100..600).map(|code| StatusCode::from_u16(code).ok());
        codes.chain([None]).for_each(|status| requests.answered(asked, status, 0.1));
        use prometheus::core::Collector as _;
        let counted = requests.count.collect();
        assert_eq!(counted[0].get_metric().len(), CODES.len() + 2);
        assert_eq!(requests.seconds.with_label_values(&["get"]).get_sample_count(), 501);
    }
}
