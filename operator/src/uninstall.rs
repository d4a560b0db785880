//! The last work before operators are removed for good, so that nothing is left that only an operator could do. The chart's
//! pre-delete hook runs it, with rights of its own.
//!
//! 1. Where the definition goes, too, the WsGateways whose streams go with them are deleted while an operator can do that.
//! 2. The operators stop: they would set finalizers anew.
//! 3. The finalizers are removed. Pods serve on, streams stay; an operator that comes later sets them again.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::Instant;
use wsgateway_crds::WsGateway;

use crate::FIELD_MANAGER;
use crate::cli::{Options, UninstallOptions};
use crate::error::{Error, Stage};
use crate::finalize::guard;
use crate::scope::Scope;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// WsGateways listed at a time.
const PAGE: u32 = 500;
/// Finalizers that were removed and came back this often are somebody's will.
const ATTEMPTS: usize = 5;
/// Names in a message.
const NAMED: usize = 10;

/// Why operators could not be removed without leaving anything behind.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UninstallError(String);

impl From<Error> for UninstallError {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}

/// Does it for the WsGateways that operators with these options keep.
///
/// # Errors
/// When the API server refuses a step, or somebody sets the finalizers anew.
pub async fn uninstall(
    options: &Options,
    how: &UninstallOptions,
    client: Client,
) -> Result<(), UninstallError> {
    let scope =
        Scope::new(&options.namespaces).map_err(|error| UninstallError(error.to_string()))?;
    let patience = Duration::from_secs(how.patience_seconds.get().into());
    let kept = Kept { client: &client, scope: &scope, class: &options.class };
    if how.delete {
        kept.delete(patience).await?;
    }
    if !kept.guarded().await?.is_empty() {
        let home = crate::app::home(options, &client);
        stop_operators(&client, &home, &how.deployment, patience).await?;
    }
    kept.release().await?;
    tracing::info!("no WsGateway waits for an operator any more");
    Ok(())
}

/// The WsGateways that an operator keeps.
struct Kept<'a> {
    client: &'a Client,
    scope: &'a Scope,
    class: &'a str,
}

impl Kept<'_> {
    /// Those with our finalizer, also if this version cannot read them.
    async fn guarded(&self) -> Result<Vec<ObjectMeta>, Error> {
        let resource = ApiResource::erase::<WsGateway>(&());
        let mut found = Vec::new();
        for (_, api) in self.scope.apis_of::<DynamicObject>(self.client, &resource) {
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let list = match api.list(&page).await {
                    Ok(list) => list,
                    // Neither the definition nor any WsGateway exists.
                    Err(kube::Error::Api(status)) if status.is_not_found() => break,
                    Err(error) => return Err(Error::kube(Stage::Finalize, "WsGateways", &error)),
                };
                let ours = list.items.into_iter().filter(|object| self.is_guarded(object));
                found.extend(ours.map(|object| object.metadata));
                match list.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => page = page.continue_token(&token),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    fn is_guarded(&self, object: &DynamicObject) -> bool {
        let class = object.data["spec"]["class"].as_str().unwrap_or_default();
        class == self.class && guard::is_set(&object.metadata)
    }

    /// Deletes them, and waits for the operator to do the rest.
    async fn delete(&self, patience: Duration) -> Result<(), Error> {
        for object in self.guarded().await? {
            let name = object.name.as_deref().unwrap_or_default();
            let namespace = object.namespace.as_deref().unwrap_or_default();
            let api: Api<WsGateway> = Api::namespaced(self.client.clone(), namespace);
            let uid = Preconditions { uid: object.uid.clone(), resource_version: None };
            let parameters = DeleteParams::background().preconditions(uid);
            match api.delete(name, &parameters).await {
                Ok(_) => tracing::info!(namespace, name, "deleted, with its stream"),
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => {
                    return Err(Error::kube(Stage::Finalize, &words(&object), &error));
                }
            }
        }
        let end = Instant::now() + patience;
        loop {
            let left = self.guarded().await?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                let gateways = names(&left);
                tracing::warn!(gateways, "not gone within {patience:?}: their streams stay");
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Removes the finalizers.
    async fn release(&self) -> Result<(), UninstallError> {
        let mut left = self.guarded().await?;
        for _ in 0..ATTEMPTS {
            for object in &left {
                match guard::set(self.client, object, false).await {
                    Ok(()) => tracing::info!(
                        namespace = object.namespace,
                        name = object.name,
                        "finalizer removed: its stream stays when it is deleted now"
                    ),
                    // Somebody has changed it meanwhile: it is looked at again.
                    Err(error) if error.is_temporary() => tokio::time::sleep(PAUSE).await,
                    Err(error) => return Err(error.into()),
                }
            }
            left = self.guarded().await?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(UninstallError(format!(
            "somebody sets the finalizer {} again and again: {}; is another operator of this class running?",
            crate::FINALIZER,
            names(&left)
        )))
    }
}

/// Scales the operators to nothing, and waits until they are gone.
async fn stop_operators(
    client: &Client,
    namespace: &str,
    name: &str,
    patience: Duration,
) -> Result<(), Error> {
    let failed = |error: kube::Error| {
        Error::kube(Stage::Finalize, &format!("Deployment {namespace}/{name}"), &error)
    };
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let Some(deployment) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
    let patch = json!({ "spec": { "replicas": 0 } });
    let parameters =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &Patch::Merge(&patch)).await.map_err(failed)?;
    tracing::info!(namespace, name, "the operators stop");
    let labels = deployment.spec.and_then(|spec| spec.selector.match_labels).unwrap_or_default();
    let selector: Vec<String> =
        labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&selector.join(","));
    let end = Instant::now() + patience;
    loop {
        let list = pods.list(&selector).await.map_err(failed)?;
        if list.items.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            // On a lost node: it cannot write, or it would be told to stop.
            tracing::warn!(namespace, name, "its pods are not gone within {patience:?}");
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn words(object: &ObjectMeta) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("WsGateway {}/{}", part(&object.namespace), part(&object.name))
}

fn names(objects: &[ObjectMeta]) -> String {
    let mut named: Vec<String> = objects.iter().take(NAMED).map(words).collect();
    if objects.len() > NAMED {
        named.push(format!("{} more", objects.len() - NAMED));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_few_and_counts_the_rest() {
        let object = |number: usize| ObjectMeta {
            namespace: Some("trading".to_owned()),
            name: Some(format!("g{number}")),
            ..ObjectMeta::default()
        };
        let objects: Vec<ObjectMeta> = (0..12).map(object).collect();
        assert_eq!(names(&objects[..2]), "WsGateway trading/g0, WsGateway trading/g1");
        assert!(names(&objects).ends_with("WsGateway trading/g9, 2 more"));
    }
}
