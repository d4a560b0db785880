//! What nearly every test does first: a namespace of its own, a CRD that is served.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};

use super::ControlPlane;
use crate::wait_until;

/// The controllers need about 5 s after the API server is ready, more while the machine compiles.
const CONTROLLERS: Duration = Duration::from_secs(60);
const FIELD_MANAGER: &str = "wsgateway-tests";

static NEXT: AtomicU32 = AtomicU32::new(0);

impl ControlPlane {
    /// A new namespace whose name begins with `prefix`. Ready when its default service account exists,
    /// without which the API server refuses pods.
    ///
    /// # Errors
    /// When the API server refuses it, or the controllers are not there.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = self.client().await?;
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts = Api::<ServiceAccount>::namespaced(client, &name);
        wait_until(CONTROLLERS, "the default service account", async || {
            accounts.get_opt("default").await.is_ok_and(|account| account.is_some())
        })
        .await?;
        Ok(name)
    }

    /// Applies a CRD and waits until its kind is served. The same CRD again changes nothing.
    ///
    /// # Errors
    /// When the API server refuses it; the error says which rule.
    pub async fn apply_crd(&self, crd: &CustomResourceDefinition) -> Result<()> {
        let client = self.client().await?;
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        let name = crd.name_any();
        crds.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(crd))
            .await
            .with_context(|| format!("the API server refused {name}"))?;
        for version in crd.spec.versions.iter().filter(|version| version.served) {
            let group = format!("{}/{}", crd.spec.group, version.name);
            let what = format!("{name} to be served in {group}");
            wait_until(CONTROLLERS, &what, async || {
                serves(&client, &group, &crd.spec.names.plural).await
            })
            .await?;
        }
        Ok(())
    }
}

/// Discovery names a kind a moment after its CRD is established, and only then clients find it.
async fn serves(client: &kube::Client, group: &str, plural: &str) -> bool {
    let resources = client.list_api_group_resources(group).await;
    resources.is_ok_and(|list| list.resources.iter().any(|resource| resource.name == plural))
}
