//! The metrics by which a HorizontalPodAutoscaler scales, in custom.metrics.k8s.io: what the gateways answer the operator,
//! without any adapter.
//!
//! ```text
//! API server ─ TLS with its own certificate ─ headers: for whom ─ may they? ─ what the pods answered of late
//! ```
//!
//! Every operator answers; the leader alone keeps the certificate (a Secret) and the registration (an APIService). A
//! group that somebody else serves stays theirs, and the WsGateways' condition Autoscaling says so.

mod access;
mod answer;
mod certificate;
mod front;
mod keep;
mod path;
mod registration;
mod selector;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Uri};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::build::labels;
use crate::cli::MetricsApiOptions;
use crate::context::Context;
use crate::election::Lead;
use crate::fleet::{Aged, Pods};
use crate::metrics::Certificates;
use access::{Access, Question};
use answer::{Known, NoValues};
use front::User;
pub(crate) use path::GROUP;
use path::{Asked, Metric, Subject};
use registration::Service;
use selector::Selector;

pub(crate) use registration::Registered;

/// A pod that has missed so many polls has not answered of late.
const POLLS: u32 = 3;
/// At least so long: a poll may take seconds.
const LEAST: Duration = Duration::from_secs(15);

/// Everything that an answer needs.
struct Api {
    access: Access,
    pods: Arc<Pods>,
    /// Answers of pods are good for so long.
    fresh: Duration,
}

/// What it is given.
struct Given {
    options: MetricsApiOptions,
    /// The operator's own namespace.
    home: String,
    /// Asks in its own name, also while another operator leads.
    client: Client,
    /// Writes only while this operator leads.
    fenced: Client,
    lead: Lead,
    pods: Arc<Pods>,
    certificates: Certificates,
    /// Between two questions to a pod.
    poll: Duration,
    /// Says who serves the group.
    registered: watch::Sender<Registered>,
}

/// The API on a port that is bound.
pub(crate) struct MetricsApi {
    listener: std::net::TcpListener,
    address: SocketAddr,
    given: Given,
}

impl MetricsApi {
    /// Binds the port, if the API is to be served. `plain` is a client that candidates may use, too.
    pub(crate) fn bind(
        context: &Context,
        plain: Client,
        home: String,
        registered: watch::Sender<Registered>,
    ) -> std::io::Result<Option<Self>> {
        let options = &context.options.metrics_api;
        if !options.metrics_api {
            return Ok(None);
        }
        let listener = serve::bind(options.metrics_api_address)?;
        let address = listener.local_addr()?;
        tracing::info!(%address, "metrics for autoscalers listening");
        registered.send_replace(Registered::Unknown("the operator has just started".to_owned()));
        let given = Given {
            options: options.clone(),
            home,
            client: plain,
            fenced: context.client.clone(),
            lead: context.lead.clone(),
            pods: Arc::clone(&context.pods),
            certificates: context.metrics.certificates().clone(),
            poll: Duration::from_secs(context.options.poll_seconds.get().into()),
            registered,
        };
        Ok(Some(Self { listener, address, given }))
    }

    /// The bound address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until dropped.
    pub(crate) async fn run(self) {
        let Self { listener, given, .. } = self;
        let api = Api {
            access: Access::new(given.client.clone()),
            pods: Arc::clone(&given.pods),
            fresh: (given.poll * POLLS).max(LEAST),
        };
        let (terms, current) = watch::channel(None);
        let service = Service {
            namespace: given.home.clone(),
            name: given.options.metrics_api_service.clone(),
            port: given.options.metrics_api_service_port,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve::run(listener, current, Arc::new(api)));
        tasks.spawn(keep::run(service, given, terms));
        // Neither ends by itself, unless it panics.
        while let Some(ended) = tasks.join_next().await {
            tracing::error!(?ended, "a part of the metrics for autoscalers ended");
        }
    }
}

impl Api {
    /// Status code and body.
    async fn answer(&self, method: &Method, uri: &Uri, user: User) -> (u16, Value) {
        if method != Method::GET {
            return refused(405, "MethodNotAllowed", "metrics are only read");
        }
        match path::parse(uri.path(), uri.query()) {
            Some(Asked::Group) => (200, answer::group()),
            Some(Asked::Resources) => (200, answer::resources()),
            Some(Asked::Value { namespace, subject, metric }) => {
                self.value(&namespace, &subject, &metric, user).await
            }
            None => refused(404, "NotFound", "there is nothing at this path"),
        }
    }

    async fn value(
        &self,
        namespace: &str,
        subject: &Subject,
        metric: &str,
        user: User,
    ) -> (u16, Value) {
        let name = user.name.clone();
        match self.access.allows(Question::new(user, namespace, subject, metric)).await {
            Ok(true) => {}
            Ok(false) => {
                let why = format!(
                    "user {name:?} may not get {metric} in {}, namespace {namespace:?}",
                    GROUP
                );
                return refused(403, "Forbidden", &why);
            }
            Err(error) => {
                tracing::warn!(error, "cannot ask whether somebody may read metrics");
                return refused(
                    503,
                    "ServiceUnavailable",
                    "the API server does not say who may ask",
                );
            }
        }
        let Some(metric) = Asked::metric(metric) else {
            let names = Metric::ALL.map(Metric::as_str).join(" and ");
            return refused(404, "NotFound", &format!("the metrics are {names}"));
        };
        match self.values(namespace, subject, metric) {
            Ok(values) => (200, values),
            Err(Unanswered::Selector) => refused(400, "BadRequest", "labelSelector is no selector"),
            Err(Unanswered::NotListed) => {
                refused(503, "ServiceUnavailable", "the operator has just started")
            }
            Err(Unanswered::NoValues(why @ NoValues::Nothing)) => {
                refused(404, "NotFound", &why.to_string())
            }
            Err(Unanswered::NoValues(why @ NoValues::TooFew { .. })) => {
                refused(503, "ServiceUnavailable", &why.to_string())
            }
        }
    }

    fn values(
        &self,
        namespace: &str,
        subject: &Subject,
        metric: Metric,
    ) -> Result<Value, Unanswered> {
        if !*self.pods.listed().borrow() {
            return Err(Unanswered::NotListed);
        }
        let selector = match subject {
            Subject::Pods { selector } => Selector::parse(selector).ok_or(Unanswered::Selector)?,
            Subject::Pod(_) | Subject::WsGateway(_) => Selector::default(),
        };
        let is_asked = |gateway: &str| match subject {
            Subject::WsGateway(name) => gateway == name,
            Subject::Pods { .. } | Subject::Pod(_) => selector.matches(&labels(gateway)),
        };
        let (now, clock) = (Instant::now(), Timestamp::now());
        let known = |pod: &Aged| {
            let at = pod.answered.and_then(|at| {
                let age = now.saturating_duration_since(at);
                (age <= self.fresh).then(|| clock.saturating_sub(age).ok()).flatten()
            });
            Known::of(&pod.facts, at)
        };
        let mut pods: Vec<Known> =
            self.pods.within(namespace, is_asked).iter().map(known).collect();
        if let Subject::Pod(name) = subject {
            pods.retain(|pod| pod.pod == *name);
        }
        let values = match subject {
            Subject::WsGateway(name) => answer::of_all(namespace, name, metric, &pods),
            Subject::Pods { .. } | Subject::Pod(_) => answer::of_each(namespace, metric, &pods),
        };
        values.map_err(Unanswered::NoValues)
    }
}

/// Why there is no answer.
enum Unanswered {
    Selector,
    NotListed,
    NoValues(NoValues),
}

fn refused(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (code, answer::status(code, reason, message))
}
