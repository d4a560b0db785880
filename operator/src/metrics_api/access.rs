//! Whether somebody may read a metric: the API server decides, and an answer holds for a few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::front::User;
use super::path::{GROUP, Subject, VERSION};

/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(10);
/// Answers remembered; beyond that all are forgotten.
const MOST: usize = 1_000;
/// The API server answers at once, or somebody asks again later.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) user: User,
    pub(super) namespace: String,
    /// As rules name it: `pods` or `wsgateways.wsgateway.dev`.
    resource: &'static str,
    name: String,
    metric: String,
}

impl Question {
    pub(super) fn new(user: User, namespace: &str, subject: &Subject, metric: &str) -> Self {
        let (resource, name) = match subject {
            Subject::Pods { .. } => ("pods", "*"),
            Subject::Pod(name) => ("pods", name.as_str()),
            Subject::WsGateway(name) => ("wsgateways.wsgateway.dev", name.as_str()),
        };
        Self {
            user,
            namespace: namespace.to_owned(),
            resource,
            name: name.to_owned(),
            metric: metric.to_owned(),
        }
    }

    fn review(&self) -> SubjectAccessReview {
        let text = |text: &str| Some(text.to_owned());
        let attributes = ResourceAttributes {
            group: text(GROUP),
            version: text(VERSION),
            resource: text(self.resource),
            subresource: text(&self.metric),
            name: text(&self.name),
            namespace: text(&self.namespace),
            verb: text("get"),
            ..ResourceAttributes::default()
        };
        let user = &self.user;
        let spec = SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            user: text(&user.name),
            uid: user.uid.clone(),
            groups: (!user.groups.is_empty()).then(|| user.groups.clone()),
            extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        SubjectAccessReview { spec, ..SubjectAccessReview::default() }
    }
}

/// Asks the API server, and remembers what it said.
pub(super) struct Access {
    client: Client,
    answers: Mutex<HashMap<Question, (bool, Instant)>>,
}

impl Access {
    pub(super) fn new(client: Client) -> Self {
        Self { client, answers: Mutex::default() }
    }

    /// Whether it is allowed; an error when the API server does not say.
    pub(super) async fn allows(&self, question: Question) -> Result<bool, String> {
        if let Some(known) = self.known(&question, Instant::now()) {
            return Ok(known);
        }
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let (parameters, review) = (PostParams::default(), question.review());
        let asked = tokio::time::timeout(TIMEOUT, api.create(&parameters, &review));
        let answer = asked.await.map_err(|_late| format!("no answer within {TIMEOUT:?}"))?;
        let answer = answer.map_err(|error| error.to_string())?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let mut answers = self.lock();
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (allowed, Instant::now()));
        Ok(allowed)
    }

    fn known(&self, question: &Question, now: Instant) -> Option<bool> {
        let answers = self.lock();
        let (allowed, at) = answers.get(question)?;
        (now.saturating_duration_since(*at) < HOLDS).then_some(*allowed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, (bool, Instant)>> {
        // Valid after any panic: at worst the API server is asked once more.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
