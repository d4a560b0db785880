//! A WsGateway that this version cannot read, since the CRD in the cluster is of another one: its condition says so, and it
//! can be deleted. Nothing is known of it but its metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams};
use kube::core::{ApiResource, DeserializeGuard};
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource as _};
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use super::guard;
use crate::FIELD_MANAGER;
use crate::context::Context;
use crate::error::{Error, Stage};
use crate::status::READY;

const REASON: &str = "Unreadable";
/// Of the error, which may quote the specification.
const LONGEST_ERROR: usize = 500;

/// Takes care of a WsGateway that could not be read.
pub(crate) async fn unreadable(
    object: &DeserializeGuard<WsGateway>,
    context: &Context,
) -> Result<Action, Error> {
    let Err(invalid) = &object.0 else { return Ok(Action::await_change()) };
    let metadata = &invalid.metadata;
    tracing::error!(
        namespace = metadata.namespace,
        name = metadata.name,
        error = invalid.error,
        "cannot read a WsGateway: apply the CRD of this version"
    );
    context.metrics.problem("dereference", REASON);
    context.records.end_look(metadata.uid.as_deref().unwrap_or_default()).await;
    if metadata.deletion_timestamp.is_none() {
        report(&context.client, metadata, &invalid.error).await?;
        return Ok(Action::await_change());
    }
    if guard::is_set(metadata) {
        let note = "the stream was left as it is, since this version cannot read the WsGateway";
        context.events.tell(object, false, "StreamLeftBehind", note).await;
        guard::set(&context.client, metadata, false).await?;
    }
    context.records.forget(metadata.uid.as_deref().unwrap_or_default());
    Ok(Action::await_change())
}

/// Writes the condition, if it is not there yet, next to the others.
async fn report(client: &Client, metadata: &ObjectMeta, error: &str) -> Result<(), Error> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let failed =
        |error: kube::Error| Error::kube(Stage::Status, &format!("WsGateway {name}"), &error);
    let resource = ApiResource::erase::<WsGateway>(&());
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let Some(object) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
    let before = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let generation = object.meta().generation.unwrap_or_default();
    let Some(conditions) = with_condition(before, error, generation, Timestamp::now()) else {
        return Ok(());
    };
    let patch = json!({ "status": { "conditions": conditions } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch_status(name, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// The conditions with ours; `None` when it is there.
fn with_condition(
    mut conditions: Vec<Value>,
    error: &str,
    generation: i64,
    now: Timestamp,
) -> Option<Vec<Value>> {
    let quoted: String = error.chars().take(LONGEST_ERROR).collect();
    let message = format!(
        "this version of the operator cannot read the WsGateway ({quoted}): apply the CRD of this version and correct the \
         WsGateway, or delete it; its pods go on as they are"
    );
    let at = conditions.iter().position(|condition| condition["type"] == READY);
    let old = at.map(|at| &conditions[at]);
    let said = |old: &Value| {
        old["reason"] == REASON
            && old["message"] == message.as_str()
            && old["observedGeneration"] == generation
    };
    if old.is_some_and(said) {
        return None;
    }
    let since =
        old.filter(|old| old["status"] == "False").map(|old| old["lastTransitionTime"].clone());
    let ours = json!({
        "type": READY, "status": "False", "reason": REASON, "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since.unwrap_or_else(|| json!(Time(now))),
    });
    match at {
        Some(at) => conditions[at] = ours,
        None => conditions.push(ours),
    }
    Some(conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_written_once_and_the_others_stay() {
        let now = Timestamp::from_second(7).unwrap();
        let others = vec![
            json!({ "type": "StreamReady", "status": "True" }),
            json!({ "type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:01Z" }),
        ];
        let written = with_condition(others.clone(), "no", 3, now).unwrap();
        assert_eq!((written.len(), &written[0]), (2, &others[0]));
        assert_eq!(
            (&written[1]["reason"], &written[1]["lastTransitionTime"]),
            (&json!(REASON), &json!("1970-01-01T00:00:07Z"))
        );
        assert_eq!(with_condition(written.clone(), "no", 3, now), None);
        let again = with_condition(written, "another", 4, Timestamp::from_second(9).unwrap());
        let since = &again.unwrap()[1]["lastTransitionTime"];
        assert_eq!(since, "1970-01-01T00:00:07Z", "it has been so since then");
    }

    #[test]
    fn a_long_error_is_cut() {
        let conditions = with_condition(Vec::new(), &"ä".repeat(9_000), 1, Timestamp::UNIX_EPOCH);
        let message = conditions.unwrap()[0]["message"].as_str().unwrap().chars().count();
        assert!(message < 1_000, "{message}");
    }
}
