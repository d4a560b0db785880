//! Batch after batch: created, waited for, watched for a while, deleted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::client::Body;
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use super::Hostile;
use super::generate::generate;
use crate::counts::Tally;
use crate::environment::{AT_ONCE, Environment};
use crate::gateways::sound;
use crate::kubelet::Kubelet;
use crate::observer::{Observer, Seen};
use crate::operator::Operator;
use crate::plan::Plan;
use crate::progress::{Show, until};

/// A stream whose NATS is away is waited for that long at the deletion of its WsGateway.
const PATIENCE: &str = "--deletion-patience-seconds=5";
/// Number of the sound WsGateway that comes in the end.
const AFTERWARDS: usize = 0;

/// What the API server refuses with 500 by mistake: an object that etcd does not take, and one with a version.
const MISTAKEN: [&str; 2] = ["request is too large", "resourceVersion should not be set"];

/// An accepted WsGateway.
#[derive(Clone, Debug)]
struct Accepted {
    number: usize,
    kind: &'static str,
    namespace: String,
    name: String,
}

impl Accepted {
    fn words(&self) -> String {
        format!("{} ({}), {}", self.number, self.kind, self.name)
    }
}

/// The answer of the API server.
enum Answer {
    Accepted { namespace: String, name: String },
    Refused { code: u16, message: String },
}

/// Creates as many hostile WsGateways as the plan says.
///
/// # Errors
/// When something of ours fails, or the operator ends.
pub async fn run(plan: &Plan, environment: &Environment, show: Show<'_>) -> Result<Hostile> {
    let (home, battlefield) = environment.namespaces.split_first().context("no namespace")?;
    for namespace in battlefield {
        forbid_pods(&environment.client, namespace).await?;
    }
    let observer = Observer::start(&environment.client, &environment.namespaces);
    let operator = Operator::start(plan, environment, &[PATIENCE]).await?;
    let begin = Timestamp::now();
    let mut result = Hostile { seed: plan.seed, made: plan.hostile, ..Hostile::default() };
    let field =
        Field { plan, environment, battlefield, observer: &observer, operator: &operator, show };
    for first in (0..plan.hostile).step_by(plan.batch.max(1)) {
        let numbers = first..(first + plan.batch.max(1)).min(plan.hostile);
        field.batch(numbers, &mut result).await?;
    }
    result.sound_afterwards = field.is_sound(home).await?;
    result.reconciles = operator.reconciles().await?;
    let users = [operator.user.as_str()];
    let events = environment.plane.audit_until_now(&users).await?;
    let tally = Tally::of(events.iter().filter(|event| event.received >= begin));
    let written = tally.written();
    result.writes = written.done + written.refused;
    result.most_writes = tally.most();
    let most = tally.writes.iter().max_by_key(|(_, writes)| writes.done + writes.refused);
    result.most_written = most.map(|((_, name), _)| name.clone()).unwrap_or_default();
    (result.panics, result.memory) = (operator.panics(), operator.resident());
    result.memory_peak = operator.peak();
    operator.check_alive()?;
    operator.stop().await?;
    Ok(result)
}

/// Nobody runs the pods of hostile WsGateways, of which one may ask for a thousand.
async fn forbid_pods(client: &Client, namespace: &str) -> Result<()> {
    let quota: ResourceQuota = serde_json::from_value(json!({
        "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } },
    }))?;
    let api = Api::<ResourceQuota>::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &quota).await?;
    Ok(())
}

struct Field<'a> {
    plan: &'a Plan,
    environment: &'a Environment,
    battlefield: &'a [String],
    observer: &'a Observer,
    operator: &'a Operator,
    show: Show<'a>,
}

impl Field<'_> {
    async fn batch(&self, numbers: std::ops::Range<usize>, result: &mut Hostile) -> Result<()> {
        let what = |step: &str| format!("hostile {} to {}: {step}", numbers.start, numbers.end);
        (self.show)(&what("creating"));
        let accepted = self.create(numbers.clone(), result).await?;
        result.accepted += accepted.len();
        let count = accepted.len();
        // Those that never are told are in the result.
        drop(
            until(self.show, &what("told"), count, self.plan.limit, async || {
                self.operator.check_alive()?;
                Ok(accepted.iter().filter(|one| self.told(one).is_some()).count())
            })
            .await,
        );
        self.operator.check_alive()?;
        // A hot loop shows in this time.
        let before = self.operator.reconciles().await?;
        let rounds = count * usize::try_from(self.plan.rounds)?;
        drop(
            until(self.show, &what("reconciled again"), rounds, self.plan.watch, async || {
                Ok(usize::try_from(self.operator.reconciles().await?.saturating_sub(before))?)
            })
            .await,
        );
        for one in &accepted {
            match self.told(one) {
                Some(reason) => *result.reasons.entry(reason).or_default() += 1,
                None => {
                    let seen = self.observer.get(&one.namespace, &one.name);
                    result.silent.push(format!("{}: {seen:?}", one.words()));
                }
            }
        }
        self.delete(&accepted, &what("deleted"), result).await
    }

    /// The reason of a condition that speaks of the newest generation and says something.
    fn told(&self, one: &Accepted) -> Option<String> {
        let seen: Seen = self.observer.get(&one.namespace, &one.name)?;
        let ready = seen.conditions.get("Ready")?;
        let is_told = seen.observed == seen.generation && !ready.message.is_empty();
        is_told.then(|| ready.reason.clone())
    }

    async fn create(
        &self,
        numbers: std::ops::Range<usize>,
        result: &mut Hostile,
    ) -> Result<Vec<Accepted>> {
        let found = Mutex::new((Vec::new(), BTreeMap::<u16, usize>::new(), Vec::new()));
        let (seed, nats) = (self.plan.seed, self.environment.nats.url());
        let mut kinds = BTreeMap::<&'static str, (usize, usize)>::new();
        let one = async |number: usize| {
            let made = generate(seed, number, &nats);
            let namespace = &self.battlefield[number % self.battlefield.len()];
            let answer = post(&self.environment.client, namespace, &made.manifest).await;
            let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            match answer {
                Ok(Answer::Accepted { namespace, name }) => {
                    found.0.push(Accepted { number, kind: made.kind, namespace, name });
                    (made.kind, true)
                }
                Ok(Answer::Refused { code, message }) => {
                    *found.1.entry(code).or_default() += 1;
                    let is_fault =
                        code >= 500 && !MISTAKEN.iter().any(|known| message.contains(known));
                    if is_fault || message.is_empty() {
                        found.2.push(format!("{number} ({}): {code} {message}", made.kind));
                    }
                    (made.kind, false)
                }
                Err(error) => {
                    found.2.push(format!("{number} ({}): {error:#}", made.kind));
                    (made.kind, false)
                }
            }
        };
        let mut answers = Box::pin(stream::iter(numbers).map(one).buffer_unordered(AT_ONCE));
        while let Some((kind, is_accepted)) = answers.next().await {
            let (made, accepted) = kinds.entry(kind).or_default();
            *made += 1;
            *accepted += usize::from(is_accepted);
        }
        drop(answers);
        let (accepted, refused, unanswered) =
            found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (kind, (made, taken)) in kinds {
            let sum = result.kinds.entry(kind.to_owned()).or_default();
            (sum.0, sum.1) = (sum.0 + made, sum.1 + taken);
        }
        for (code, count) in refused {
            *result.refused.entry(code).or_default() += count;
        }
        result.unanswered.extend(unanswered);
        Ok(accepted)
    }

    async fn delete(&self, accepted: &[Accepted], what: &str, result: &mut Hostile) -> Result<()> {
        for namespace in self.battlefield {
            let api = Api::<WsGateway>::namespaced(self.environment.client.clone(), namespace);
            let all = ListParams::default();
            api.delete_collection(&DeleteParams::background(), &all)
                .await
                .map(drop)
                .or_else(unread)?;
        }
        let is_gone = |one: &&Accepted| self.observer.get(&one.namespace, &one.name).is_none();
        drop(
            until(self.show, what, accepted.len(), self.plan.limit, async || {
                Ok(accepted.iter().filter(is_gone).count())
            })
            .await,
        );
        result.undeleted.extend(accepted.iter().filter(|one| !is_gone(one)).map(Accepted::words));
        Ok(())
    }

    /// Whether a sound WsGateway is served after all that.
    async fn is_sound(&self, home: &String) -> Result<bool> {
        let _kubelet = Kubelet::start(&self.environment.client, std::slice::from_ref(home));
        let manifest = sound(AFTERWARDS, self.plan.pods, &self.environment.nats);
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let gateway: WsGateway = serde_json::from_value(manifest)?;
        let api = Api::namespaced(self.environment.client.clone(), home);
        api.create(&PostParams::default(), &gateway).await?;
        let is_served =
            until(self.show, "a sound one afterwards", 1, self.plan.limit, async || {
                self.operator.check_alive()?;
                let seen = self.observer.get(home, &name);
                Ok(usize::from(seen.is_some_and(|seen| seen.as_specified.is_some())))
            });
        Ok(is_served.await.is_ok())
    }
}

/// The answer to a deletion holds what our types may not.
fn unread(error: kube::Error) -> Result<()> {
    match error {
        kube::Error::SerdeError(_) => Ok(()),
        error => Err(error.into()),
    }
}

/// Sends a manifest as it is.
async fn with_many_warnings(client: &Client, namespace: &str, manifest: &Value) -> Result<Answer> {
    let name =
        manifest["metadata"]["name"].as_str().context("a manifest without a name was taken")?;
    let api = Api::<DeserializeGuard<WsGateway>>::namespaced(client.clone(), namespace);
    Ok(match api.get_opt(name).await? {
        Some(_) => Answer::Accepted { namespace: namespace.to_owned(), name: name.to_owned() },
        None => Answer::Refused {
            code: 422,
            message: "with more warnings than a client reads".to_owned(),
        },
    })
}

async fn post(client: &Client, namespace: &str, manifest: &Value) -> Result<Answer> {
    let path = format!("/apis/wsgateway.dev/v1alpha1/namespaces/{namespace}/wsgateways");
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(manifest.to_string().into_bytes()))?;
    let response = match client.send(request).await {
        // One warning for each of thousands of fields: more than a client reads. What became of it is there to be seen.
        Err(error) if format!("{error:?}").contains("message head is too large") => {
            return with_many_warnings(client, namespace, manifest).await;
        }
        answered => answered?,
    };
    let code = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if (200..300).contains(&code) {
        let metadata = &answer["metadata"];
        return Ok(Answer::Accepted {
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
        });
    }
    Ok(Answer::Refused { code, message: text(&answer["message"]) })
}
