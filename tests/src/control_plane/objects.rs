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
        let crds = Api::<CustomResourceDefinition>::all(self.client().await?);
        let name = crd.name_any();
        crds.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(crd))
            .await
            .with_context(|| format!("the API server refused {name}"))?;
        let what = format!("{name} to be established");
        wait_until(CONTROLLERS, &what, async || {
            crds.get(&name).await.is_ok_and(|crd| established(&crd))
        })
        .await
    }
}

fn established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}
