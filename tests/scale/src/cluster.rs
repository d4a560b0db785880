//! What a person does with `kubectl`, and what the cluster says of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::Value;
use wsgateway_crds::{DisruptionStatus, WsGateway, WsGatewayStatus};

use crate::host::{get, kill, kubectl, pids_of, threads};
use crate::squeeze::{Squeeze, refused};

/// Longest wait for what the cluster is to do.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The admin port of the gateways.
const ADMIN: u16 = 9090;
/// Port of the clients.
pub const CLIENTS: u16 = 8080;
/// The annotation by which pods hand clients over.
const SHED: &str = "wsgateway.dev/shed";

/// One WsGateway on a cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// Of the WsGateway and of NATS.
    pub namespace: String,
    /// Of the WsGateway.
    pub name: String,
    /// Of the operator.
    pub system: String,
}

/// A pod that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Of the pod.
    pub name: String,
    /// Where it says what it does.
    pub admin: SocketAddr,
}

impl Cluster {
    /// The cluster of KUBECONFIG.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect(namespace: &str, name: &str, system: &str) -> Result<Self> {
        harness::init_tls();
        let client = Client::try_default().await.context("no cluster: set KUBECONFIG")?;
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            system: system.to_owned(),
        })
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Where clients find a port of a Service of the namespace.
    ///
    /// # Errors
    /// When there is no such Service or port.
    pub async fn service(&self, name: &str, port: u16) -> Result<SocketAddr> {
        let service = self.api::<Service>().get(name).await?;
        let spec = service.spec.with_context(|| format!("Service {name} has no spec"))?;
        let has_port = spec.ports.iter().flatten().any(|found| found.port == i32::from(port));
        ensure!(has_port, "Service {name} has no port {port}");
        let ip: IpAddr = spec.cluster_ip.context("a cluster IP")?.parse()?;
        Ok((ip, port).into())
    }

    /// Changes the WsGateway.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn edit(&self, patch: &Value) -> Result<()> {
        let api = self.api::<WsGateway>();
        api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// The pods of the WsGateway, with those that end.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let labels =
            format!("app.kubernetes.io/name=wsgateway,app.kubernetes.io/instance={}", self.name);
        let list = self.api::<Pod>().list(&ListParams::default().labels(&labels)).await?;
        Ok(list.items)
    }

    /// Those that have an address.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn gateways(&self) -> Result<Vec<Gateway>> {
        let gateway = |pod: &Pod| {
            let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
            Some(Gateway { name: pod.name_any(), admin: (ip, ADMIN).into() })
        };
        Ok(self.pods().await?.iter().filter_map(gateway).collect())
    }

    /// The status of the WsGateway.
    ///
    /// # Errors
    /// When there is none.
    pub async fn status(&self) -> Result<WsGatewayStatus> {
        let found = self.api::<WsGateway>().get(&self.name).await?;
        found.status.context("the WsGateway has no status")
    }

    /// What clients were put to, as the operator says it.
    ///
    /// # Errors
    /// When there is no status.
    pub async fn disruptions(&self) -> Result<Vec<DisruptionStatus>> {
        Ok(self.status().await?.disruptions)
    }

    /// Waits until so many pods serve, none comes or goes, and no client is moved.
    ///
    /// # Errors
    /// When that does not happen; with what the status says.
    pub async fn settled(&self, pods: usize) -> Result<()> {
        let mut last = Vec::new();
        let settled = wait_until(PATIENCE, "pods at rest", async || {
            match self.unsettled(pods).await {
                Ok(reasons) => last = reasons,
                Err(error) => last = vec![format!("{error:#}")],
            }
            last.is_empty()
        });
        settled.await.with_context(|| format!("{pods} pods are not at rest: {}", last.join("; ")))
    }

    /// What keeps it from being at rest.
    async fn unsettled(&self, wanted: usize) -> Result<Vec<String>> {
        let mut reasons = Vec::new();
        let pods = self.pods().await?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if pods.len() != wanted || ready != wanted {
            reasons.push(format!("{} pods, {ready} of them ready", pods.len()));
        }
        let deployment = self.api::<Deployment>().get(&format!("{}-gateway", self.name)).await?;
        let replicas = deployment.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        if usize::try_from(replicas).ok() != Some(wanted) {
            reasons.push(format!("a Deployment of {replicas}"));
        }
        let found = self.api::<WsGateway>().get(&self.name).await?;
        let status = found.status.clone().unwrap_or_default();
        if status.observed_generation != found.metadata.generation {
            reasons.push("the operator has not seen the last change".to_owned());
        }
        let progressing = status.conditions.iter().find(|found| found.type_ == "Progressing");
        if progressing.is_none_or(|condition| condition.reason != "Settled") {
            let told =
                progressing.map(|condition| format!("{}: {}", condition.reason, condition.message));
            reasons.push(told.unwrap_or_else(|| "no condition Progressing".to_owned()));
        }
        if status.disruptions.iter().any(|disruption| disruption.ended.is_none()) {
            reasons.push("a disruption goes on".to_owned());
        }
        Ok(reasons)
    }

    /// Whether a pod is told to hand its clients over because it is not needed any more.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn is_draining(&self) -> Result<bool> {
        let told =
            |pod: &Pod| pod.annotations().get(SHED).is_some_and(|text| text.contains("drain"));
        Ok(self.pods().await?.iter().any(told))
    }

    /// Takes the node on which NATS is not out of service, and waits until that is done; returns its name.
    ///
    /// # Errors
    /// When `kubectl drain` fails.
    pub async fn drain_node(&self) -> Result<String> {
        let home = self.node_of_nats().await?;
        let pods = self.pods().await?;
        let nodes = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
        let node = nodes.into_iter().find(|node| *node != home);
        let node = node.context("all pods are on the node of NATS")?;
        let limit = format!("--timeout={}s", PATIENCE.as_secs());
        kubectl(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", &limit]).await?;
        Ok(node)
    }

    /// Takes it into service again.
    ///
    /// # Errors
    /// When `kubectl uncordon` fails.
    pub async fn uncordon(&self, node: &str) -> Result<()> {
        kubectl(&["uncordon", node]).await
    }

    async fn node_of_nats(&self) -> Result<String> {
        let pod = self.nats().await?;
        pod.spec.and_then(|spec| spec.node_name).context("NATS is on no node")
    }

    async fn nats(&self) -> Result<Pod> {
        let list = self.api::<Pod>().list(&ListParams::default().labels("app=nats")).await?;
        list.items.into_iter().next().context("no pod with the label app=nats")
    }

    /// Kills the process of a gateway's pod at once, so that it can tell nobody, and waits until it is started again.
    ///
    /// # Errors
    /// When the process is not on this machine, or is not started again.
    pub async fn kill_pod(&self) -> Result<()> {
        let pods = self.pods().await?;
        let before = pods.first().context("no pod")?;
        kill(before).await?;
        let again = wait_until(PATIENCE, "the container to start again", async || {
            let now = self.api::<Pod>().get(&before.name_any()).await;
            now.is_ok_and(|now| restarts(&now) > restarts(before) && is_ready(&now))
        });
        again.await
    }

    /// Kills the process of NATS, and waits until it is started again in its pod, with the same store.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart_nats(&self) -> Result<()> {
        let before = self.nats().await?;
        kill(&before).await?;
        wait_until(PATIENCE, "NATS", async || {
            let pod = self.nats().await;
            pod.is_ok_and(|pod| restarts(&pod) > restarts(&before) && is_ready(&pod))
        })
        .await
    }

    /// Takes CPU from every pod, until what is returned is dropped.
    pub(crate) async fn squeeze(&self) -> Result<Vec<Squeeze>> {
        let mut squeezes = Vec::new();
        for pod in self.pods().await? {
            let pids = pids_of(&pod.uid().unwrap_or_default())?;
            // What holds the namespaces of a pod has a single thread, and a cgroup of its own.
            let gateway = pids.into_iter().find(|pid| threads(*pid) > 1);
            let pid = gateway.context("the processes of a pod are not on this machine")?;
            squeezes.push(Squeeze::begin(pid)?);
        }
        Ok(squeezes)
    }

    /// Waits until guards act in every pod, or in none.
    pub(crate) async fn guarded(&self, wanted: bool) -> Result<()> {
        wait_until(PATIENCE, "what guards do", async || {
            let Ok(gateways) = self.gateways().await else { return false };
            for gateway in gateways {
                let health = get::<Value>(gateway.admin, "/health").await;
                let warnings = health.map(|health| health["warnings"].to_string());
                let acts = warnings.map(|text| text.contains("new clients are refused"));
                if acts.ok() != Some(wanted) {
                    return false;
                }
            }
            true
        })
        .await
    }

    /// So many clients come; how many of them are refused.
    pub(crate) async fn crowd(&self, clients: u32) -> Result<usize> {
        Ok(refused(self.service(&self.name, CLIENTS).await?, clients).await)
    }

    /// Kills the pod of the operator that leads, and waits until the other one does.
    ///
    /// # Errors
    /// When nobody leads, or nobody takes over.
    pub async fn kill_leader(&self) -> Result<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.system);
        let holder = async || -> Result<String> {
            let lease = leases.get("wsgateway-operator").await?;
            lease.spec.and_then(|spec| spec.holder_identity).context("nobody leads")
        };
        let leader = holder().await?;
        let pod = leader.split('_').next().unwrap_or(&leader);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.system);
        pods.delete(pod, &DeleteParams::default().grace_period(0)).await?;
        wait_until(PATIENCE, "another leader", async || {
            holder().await.is_ok_and(|now| !now.is_empty() && now != leader)
        })
        .await
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

fn restarts(pod: &Pod) -> i32 {
    let containers =
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}
