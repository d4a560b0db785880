//! The files that the operator gives the pods of the sample, as their gateway reads them.

use anyhow::{Context as _, Result};
use harness::wait_until_some;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use wsgateway_config::{GatewayConfig, fingerprint};

use crate::world::{SOON, World};

/// What a pod of the newest template is given.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Names of the ConfigMaps: of the restart part and of the live part.
    pub(crate) maps: [String; 2],
    pub(crate) restart: String,
    pub(crate) live: String,
}

impl Files {
    pub(crate) fn config(&self) -> Result<GatewayConfig> {
        let loaded = GatewayConfig::load(&self.restart, Some(&self.live))?;
        anyhow::ensure!(loaded.unknown.is_empty(), "{:?}", loaded.unknown);
        Ok(loaded.config)
    }

    /// The hash by which a gateway names the live part.
    pub(crate) fn live_hash(&self) -> String {
        fingerprint(&[&self.live])
    }
}

/// The ConfigMaps that the Deployment's pods mount.
pub(crate) fn mounted(deployment: &Deployment) -> Option<[String; 2]> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let volume = pod.volumes.as_ref()?.iter().find(|volume| volume.name == "config")?;
    let sources = volume.projected.as_ref()?.sources.as_ref()?.iter();
    let names: Vec<String> =
        sources.filter_map(|source| Some(source.config_map.as_ref()?.name.clone())).collect();
    names.try_into().ok()
}

impl World {
    /// What the newest pods are given, once it is all there and passes.
    pub(crate) async fn files(&self, passes: impl Fn(&Files) -> bool) -> Result<Files> {
        let (deployments, maps) = (self.api::<Deployment>(), self.api::<ConfigMap>());
        wait_until_some(SOON, "the pods' files", async || {
            let names = mounted(&deployments.get_opt("odin-gateway").await.ok()??)?;
            let text = async |name: &str, key: &str| {
                maps.get_opt(name).await.ok()??.data?.get(key).cloned()
            };
            let restart = text(&names[0], "gateway.yaml").await?;
            let live = text(&names[1], "live.yaml").await?;
            Some(Files { maps: names, restart, live }).filter(&passes)
        })
        .await
    }

    /// The configuration of the newest pods.
    pub(crate) async fn config(&self) -> Result<GatewayConfig> {
        self.files(|_| true).await?.config().context("what the operator has written")
    }
}
