//! Stage: rollout. Pods of another template come and go by connections, not by pods: what is seen, what follows (`plan.rs`,
//! pure), whose turn it is (`turns.rs`), and the steps that are no apply.

mod plan;
mod progress;
mod turns;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use wsgateway_crds::{ValidGateway, WsGateway};

use crate::FIELD_MANAGER;
use crate::build::{Objects, TEMPLATE_LABEL, child_name, owner_of, selector_text};
use crate::context::Context;
use crate::dereference;
use crate::error::{Error, Stage as Step};
use crate::fleet::{self, PodFacts, gateway_of};
use crate::halt::{self, Contract, Trial};
use crate::kinds::Kind;
use crate::wake::Name;
use plan::{Action, Current, Observed, Owner, Set, Template, Wanted, plan};

pub(crate) use plan::{Plan, Stage};
pub(crate) use progress::{about, time, words};
pub(crate) use turns::{Cause, TURN, Turns};

/// Above the time that its clients take, each pod has so long to come and to go.
const EACH_POD: Duration = Duration::from_secs(20);

/// What to do, and what the Deployment says of it.
#[derive(Debug)]
pub(crate) struct Rollout {
    pub(crate) plan: Plan,
    /// Until when it holds its place among those that a new operator began.
    turn: Option<String>,
    /// A ReplicaSet has not chosen yet which pods it ends.
    is_choosing: bool,
    /// The Service is limited to pods of one template.
    pub(crate) is_pinned: bool,
    /// What was looked at.
    pub(crate) deployment: Option<Arc<Deployment>>,
    pub(crate) pods: Option<Vec<PodFacts>>,
    /// What clients have been put to by now.
    pub(crate) contract: Contract,
}

/// Looks at the pods of a WsGateway, which are to have this template.
pub(crate) async fn look(
    gateway: &WsGateway,
    valid: &ValidGateway,
    template: &str,
    context: &Context,
) -> Result<Rollout, Error> {
    let key = Name::new(&valid.namespace, &valid.name);
    let deployment = found(&key, context).await?;
    let is_listed = *context.pods.listed().borrow();
    let pods = is_listed.then(|| context.pods.of(&key));
    let service = context.inventory.get(&key, Kind::Service, &valid.name);
    let mut observed = Observed {
        deployment: deployment.as_deref().map(current),
        sets: &[],
        pods: pods.as_deref(),
        pinned: service.and_then(|entry| entry.serves_only),
        now: Timestamp::now().as_second(),
    };
    let sets = match deployment.as_deref() {
        Some(deployment) if observed.needs_steps(template) => {
            sets(deployment, valid, context).await?
        }
        _ => Vec::new(),
    };
    observed.sets = &sets;
    let current = deployment.as_deref().and_then(template_of).unwrap_or_default();
    let contract = halt::look(gateway, valid, current, context);
    let wanted = Wanted {
        template,
        replicas: valid.effective_replicas(),
        per_minute: valid.rollout.connections_per_minute,
        may_begin: false,
        trial: contract.trial,
    };
    let mark = deployment.as_deref().and_then(|found| found.annotations().get(TURN)).cloned();
    let waiting = plan(&observed, wanted);
    let (plan, turn) = if waiting.template != Template::Keep {
        context.turns.forget_waiting(&key);
        (waiting, mark)
    } else {
        let is_new = gateway.metadata.generation
            > gateway.status.as_ref().and_then(|status| status.observed_generation);
        let turn = match context.turns.cause(&key, template, is_new) {
            Cause::Spec => Some(None),
            // One after the other.
            Cause::Operator if waiting.stage.is_rolling() => None,
            Cause::Operator => {
                let until = turn(&key, valid, pods.as_deref().unwrap_or_default(), context);
                until.map(|until| Some(until.to_string()))
            }
        };
        match turn {
            None => (waiting, mark),
            Some(turn) => {
                context.turns.forget_waiting(&key);
                (plan(&observed, Wanted { may_begin: true, ..wanted }), turn)
            }
        }
    };
    if contract.trial == Trial::Passed && plan.ends_pods() {
        // Who goes next is not waited for.
        context.ledger.pass(&key);
    }
    let is_choosing = observed.is_choosing();
    let is_pinned = observed.pinned.is_some();
    Ok(Rollout { plan, turn, is_choosing, is_pinned, deployment, pods, contract })
}

async fn found(key: &Name, context: &Context) -> Result<Option<Arc<Deployment>>, Error> {
    match dereference::deployment(key, context) {
        // The watch may be late, and a Deployment that is taken for none would be replaced without a pace.
        None => Ok(there(key, context).await?.map(Arc::new)),
        some => Ok(some),
    }
}

async fn there(key: &Name, context: &Context) -> Result<Option<Deployment>, Error> {
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), &key.namespace);
    let found = api.get_opt(&child_name(&key.name)).await;
    found.map_err(|error| Error::kube(Step::Apply, "the Deployment of the gateway", &error))
}

fn current(deployment: &Deployment) -> Current {
    let status = deployment.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let observed = status.and_then(|status| status.observed_generation);
    Current {
        template: template_of(deployment).map(str::to_owned),
        paused: deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true),
        is_observed: observed >= deployment.metadata.generation,
        is_refused: conditions
            .iter()
            .any(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True"),
    }
}

pub(crate) fn template_of(deployment: &Deployment) -> Option<&str> {
    let metadata = deployment.spec.as_ref()?.template.metadata.as_ref()?;
    metadata.labels.as_ref()?.get(TEMPLATE_LABEL).map(String::as_str)
}

/// The ReplicaSets of a WsGateway that the Deployment or we scale.
async fn sets(
    deployment: &Deployment,
    valid: &ValidGateway,
    context: &Context,
) -> Result<Vec<Set>, Error> {
    let selector = ListParams::default().labels(&selector_text(&valid.name));
    let api: Api<ReplicaSet> = Api::namespaced(context.client.clone(), &valid.namespace);
    let list = api.list(&selector).await;
    let list =
        list.map_err(|error| Error::kube(Step::Apply, "ReplicaSets of the gateway", &error))?;
    let of_us = |set: &ReplicaSet| {
        let owners = set.owner_references().iter();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true))?;
        let owner = if deployment.metadata.uid.as_ref() == Some(&controller.uid) {
            Owner::Deployment
        } else if controller.uid == valid.uid {
            Owner::Gateway
        } else {
            return None;
        };
        Some(Set {
            name: set.name_any(),
            uid: set.uid().unwrap_or_default(),
            template: set.labels().get(TEMPLATE_LABEL).cloned(),
            replicas: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            owner,
        })
    };
    Ok(list.items.iter().filter_map(of_us).collect())
}

/// Until when a WsGateway may hold a place, if there is one.
fn turn(
    key: &Name,
    valid: &ValidGateway,
    pods: &[PodFacts],
    context: &Context,
) -> Option<Timestamp> {
    let now = Timestamp::now();
    let patience = Duration::from_secs(context.options.rollout_patience_seconds.get().into());
    let clients = pods.iter().filter_map(PodFacts::report).map(|report| report.connections);
    let clients: u64 = clients.map(u64::from).sum();
    let pace = u64::from(valid.rollout.connections_per_minute.max(1));
    let moving = Duration::from_secs(clients.saturating_mul(60) / pace);
    let pods = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let longest = patience + 2 * moving + EACH_POD.saturating_mul(pods);
    let until = now.saturating_add(longest).ok()?;
    context.turns.ask(key, &running(now, context), until, Instant::now())
}

/// WsGateways of ours whose pods are replaced because a new operator makes other ones.
fn running(now: Timestamp, context: &Context) -> BTreeSet<Name> {
    let deployments = context.children.deployments.state();
    let is_running = |deployment: &Deployment, key: &Name| {
        let mark = deployment.annotations().get(TURN);
        mark.is_some_and(|mark| turns::holds(mark, now))
            && context.keeps(key)
            && is_unfinished(deployment, &context.pods.of(key))
    };
    deployments
        .iter()
        .filter_map(|deployment| {
            let key = gateway_of(&deployment.metadata)?;
            is_running(deployment, &key).then_some(key)
        })
        .collect()
}

fn is_unfinished(deployment: &Deployment, pods: &[PodFacts]) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    let verdict = fleet::verdict(deployment, wanted);
    let template = template_of(deployment);
    let has_old =
        pods.iter().any(|pod| pod.view.ended.is_none() && pod.view.template.as_deref() != template);
    // One that is stuck waits for people, not for time.
    verdict.reason != "RolloutStuck"
        && (current(deployment).paused || has_old || !(verdict.holds || wanted == 0))
}

impl Rollout {
    /// Fits the objects to the step that the rollout is at.
    pub(crate) fn fit(&self, objects: &mut Objects) {
        if let Some(template) = &self.plan.pin {
            objects.serve_only(template);
        }
        if self.plan.template == (Template::Apply { paused: true }) {
            objects.pause();
        }
        if let Some(turn) = &self.turn {
            let annotations = objects.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert(TURN.to_owned(), turn.clone());
        }
    }

    /// Whether old pods with clients end that have not been seen to do so yet.
    pub(crate) fn ends_pods(&self) -> bool {
        self.is_choosing || self.plan.ends_pods()
    }

    /// Whether the Deployment keeps its template.
    pub(crate) fn keeps_deployment(&self) -> bool {
        self.plan.template == Template::Keep
    }

    /// Whether the next step need not wait for anybody.
    pub(crate) fn goes_on(&self) -> bool {
        let prompt =
            |(_, action): &(Set, Action)| matches!(action, Action::Detach | Action::Attach);
        self.plan.sets.iter().any(prompt)
    }

    /// Takes the steps that are no apply.
    pub(crate) async fn step(&self, valid: &ValidGateway, context: &Context) -> Result<(), Error> {
        let api: Api<ReplicaSet> = Api::namespaced(context.client.clone(), &valid.namespace);
        for (set, action) in &self.plan.sets {
            let failed = |error: kube::Error| {
                Error::kube(Step::Apply, &format!("ReplicaSet {}", set.name), &error)
            };
            let done = match action {
                Action::Delete => {
                    let uid = Preconditions { uid: Some(set.uid.clone()), ..Default::default() };
                    let parameters = DeleteParams::background().preconditions(uid);
                    api.delete(&set.name, &parameters).await.map(drop)
                }
                _ => {
                    let patch = change(set, *action, valid);
                    let manager = Some(FIELD_MANAGER.to_owned());
                    let parameters = PatchParams { field_manager: manager, ..Default::default() };
                    api.patch(&set.name, &parameters, &Patch::Merge(&patch)).await.map(drop)
                }
            };
            match done {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => other.map_err(failed)?,
            }
            let (namespace, name) = (&valid.namespace, &set.name);
            tracing::info!(namespace, name, ?action, "a step of a rollout");
        }
        if self.plan.stage.is_rolling() {
            // The next steps depend on what they have.
            context.pods.ask_at(&Name::new(&valid.namespace, &valid.name), Instant::now());
        }
        Ok(())
    }
}

/// The change of a ReplicaSet, and of no other that has its name meanwhile.
fn change(set: &Set, action: Action, valid: &ValidGateway) -> Value {
    match action {
        Action::Detach => {
            let owners = [owner_of(valid)];
            json!({ "metadata": { "uid": set.uid, "ownerReferences": owners } })
        }
        Action::Attach => json!({ "metadata": { "uid": set.uid, "ownerReferences": [] } }),
        Action::Scale(replicas) => {
            json!({ "metadata": { "uid": set.uid }, "spec": { "replicas": replicas } })
        }
        Action::Delete => Value::Null,
    }
}
