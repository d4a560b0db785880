//! A cluster as a command sees it: who is asked, in which namespaces, and what went wrong in words that say what to do.

mod trouble;
mod watch;

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, ObjectList};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use wsgateway_crds::WsGateway;

use crate::cli::{Reach, Select};

pub(crate) use trouble::{Asked, Trouble};
pub(crate) use watch::{Follow, follow};

/// A cluster that does not accept a connection within this is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// Objects in one answer; the API server has the rest on further pages.
const PAGE: u32 = 500;
/// Objects that are read at most: a screen that nobody reads to its end.
const MOST: usize = 20_000;

/// A cluster that can be asked.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Of the command line, or of the context.
    pub(crate) namespace: String,
    server: String,
}

impl Cluster {
    /// Reads the kubeconfig; nothing is asked yet.
    pub(crate) async fn new(reach: &Reach) -> Result<Self, Trouble> {
        // It fails when there is one already, which is as good.
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut config = config(reach).await?;
        config.connect_timeout = Some(CONNECT);
        let namespace = reach.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client =
            Client::try_from(config).map_err(|error| Trouble::Config(error.to_string()))?;
        Ok(Self { client, namespace, server })
    }

    /// The objects of a kind in the namespace, or in all of them.
    pub(crate) fn api<K>(&self, all: bool) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        if all {
            Api::all(self.client.clone())
        } else {
            Api::namespaced(self.client.clone(), &self.namespace)
        }
    }

    /// In which of the namespaces a selection is, for messages.
    pub(crate) fn place(&self, all: bool) -> Option<&str> {
        (!all).then_some(self.namespace.as_str())
    }

    /// What an error means when this was asked.
    pub(crate) fn trouble(&self, error: kube::Error, asked: Asked<'_>) -> Trouble {
        Trouble::of(error, asked, &self.server)
    }

    /// All pages of a list.
    pub(crate) async fn list<K>(
        &self,
        all: bool,
        parameters: ListParams,
        resource: &'static str,
    ) -> Result<ObjectList<K>, Trouble>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>(all);
        let asked = Asked { verb: "list", resource, namespace: self.place(all) };
        let failed = |error| self.trouble(error, asked);
        let mut parameters = parameters.limit(PAGE);
        let mut list = api.list(&parameters).await.map_err(failed)?;
        while let Some(next) = list.metadata.continue_.take().filter(|next| !next.is_empty()) {
            if list.items.len() >= MOST {
                return Err(Trouble::TooMany { resource, most: MOST });
            }
            parameters = parameters.continue_token(&next);
            let page = api.list(&parameters).await.map_err(failed)?;
            list.metadata = page.metadata;
            list.items.extend(page.items);
        }
        Ok(list)
    }

    /// The WsGateways that are selected, by namespace and name. One that is named and is not there is an error.
    pub(crate) async fn gateways(&self, select: &Select) -> Result<Vec<WsGateway>, Trouble> {
        let list = self.gateway_list(select).await?;
        let Some(name) = &select.name else { return Ok(list.items) };
        if list.items.is_empty() { Err(self.no_gateway(name).await) } else { Ok(list.items) }
    }

    /// The same, with the version that a watch begins at, and no error when one is not there.
    pub(crate) async fn gateway_list(
        &self,
        select: &Select,
    ) -> Result<ObjectList<WsGateway>, Trouble> {
        let mut list =
            self.list::<WsGateway>(select.all_namespaces, selection(select), GATEWAYS).await?;
        list.items.sort_by_key(|gateway| (gateway.namespace(), gateway.name_any()));
        Ok(list)
    }

    /// That there is no WsGateway of a name, and which there are.
    pub(crate) async fn no_gateway(&self, name: &str) -> Trouble {
        let all = self.list::<WsGateway>(false, ListParams::default(), GATEWAYS).await;
        let names = match all {
            Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
            Err(trouble) => return trouble,
        };
        Trouble::not_found("WsGateway", name, &self.namespace, names)
    }
}

/// As rules name them.
pub(crate) const GATEWAYS: &str = "wsgateways.wsgateway.dev";

/// What of a selection the API server decides.
pub(crate) fn selection(select: &Select) -> ListParams {
    let mut parameters = ListParams::default();
    if let Some(name) = &select.name {
        parameters = parameters.fields(&format!("metadata.name={name}"));
    }
    match &select.selector {
        Some(selector) => parameters.labels(selector),
        None => parameters,
    }
}

/// The kubeconfig, or what a pod has.
async fn config(reach: &Reach) -> Result<Config, Trouble> {
    let options = KubeConfigOptions { context: reach.context.clone(), ..Default::default() };
    let wrong = |error: kube::config::KubeconfigError| Trouble::Config(error.to_string());
    if let Some(path) = &reach.kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(wrong)?;
        return Config::from_custom_kubeconfig(file, &options).await.map_err(wrong);
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        // Who names a context means a kubeconfig.
        Err(error) if reach.context.is_some() => Err(wrong(error)),
        Err(error) => Config::incluster().map_err(|_outside| wrong(error)),
    }
}
