//! A namespace with an operator and a NATS, and what tests do in it.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, stream::Info};
use harness::{ControlPlane, Identity, Nats, merge, wait_until, wait_until_some};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, CustomResourceExt as _, Resource, ResourceExt as _};
use operator::Options;
use operator::app::Ended;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wsgateway_config::yaml;
use wsgateway_crds::{WsGateway, WsGatewayStatus};

/// Far above what anything here needs, for a machine that compiles at the same time.
pub(crate) const SOON: Duration = Duration::from_secs(60);
pub(crate) const SAMPLE: &str = include_str!("../../../manifests/samples/odin.yaml");
/// Name of the WsGateway of [`SAMPLE`].
pub(crate) const ODIN: &str = "odin";

pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) nats: Nats,
    /// How long this world waits for anything: [`SOON`], but where the odds decide how often the operator has to try.
    pub(crate) patience: Duration,
    operator: Option<Running>,
}

struct Running {
    admin: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

/// The kind ServiceMonitor, without rules of its own.
pub(crate) fn service_monitors() -> Result<CustomResourceDefinition> {
    Ok(serde_json::from_value(json!({
        "metadata": { "name": "servicemonitors.monitoring.coreos.com" },
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": { "kind": "ServiceMonitor", "plural": "servicemonitors" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }]
        }
    }))?)
}

/// Options of an operator for tests: alone in its namespace, it looks again every second, and gives up soon.
pub(crate) fn options(namespace: &str) -> Options {
    use clap::Parser as _;
    let arguments = [
        "operator",
        "--gateway-image",
        "example.com/gateway:test",
        "--admin",
        "127.0.0.1:0",
        "--namespace",
        namespace,
        "--resync-seconds",
        "1",
        "--discovery-seconds",
        "1",
        "--leader-elect=false",
        "--poll-seconds",
        "1",
        "--numbers-seconds",
        "1",
    ];
    operator::Cli::parse_from(arguments).options
}

impl World {
    /// With a running operator.
    pub(crate) async fn new(name: &str) -> Result<Self> {
        let mut world = Self::without_operator(name).await?;
        world.start_operator().await?;
        Ok(world)
    }

    pub(crate) async fn without_operator(name: &str) -> Result<Self> {
        let plane = ControlPlane::shared().await?;
        plane.apply_crd(&WsGateway::crd()).await?;
        Self::on(plane, name).await
    }

    pub(crate) async fn on(plane: &'static ControlPlane, name: &str) -> Result<Self> {
        let client = plane.client().await?;
        let namespace = plane.namespace(name).await?;
        let nats = Nats::start().await?;
        Ok(Self { plane, client, namespace, nats, patience: SOON, operator: None })
    }

    pub(crate) async fn start_operator(&mut self) -> Result<()> {
        self.start_operator_with(options(&self.namespace), self.client.clone()).await
    }

    pub(crate) async fn start_operator_with(
        &mut self,
        options: Options,
        client: Client,
    ) -> Result<()> {
        let stop = CancellationToken::new();
        let app = operator::app::start(options, client)?;
        let admin = app.admin_address();
        let task = tokio::spawn(app.run(stop.clone()));
        self.operator = Some(Running { admin, stop, task });
        Ok(())
    }

    /// A client to which RBAC applies.
    pub(crate) async fn client_as(&self, identity: &Identity) -> Result<Client> {
        let file = kube::config::Kubeconfig::read_from(self.plane.kubeconfig_as(identity)?)?;
        let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
        Ok(Client::try_from(config)?)
    }

    pub(crate) async fn stop_operator(&mut self) -> Result<()> {
        if let Some(running) = self.operator.take() {
            running.stop.cancel();
            anyhow::ensure!(running.task.await? == Ended::Stopped, "the operator lost its Lease");
        }
        Ok(())
    }

    /// Where the operator's admin port is.
    pub(crate) fn admin_address(&self) -> Result<SocketAddr> {
        Ok(self.operator.as_ref().context("no operator runs")?.admin)
    }

    /// An answer of the operator's admin port, head and body.
    pub(crate) async fn admin(&self, path: &str) -> Result<String> {
        asked(self.admin_address()?, path).await
    }

    /// Sum of all series of one of the operator's counters.
    pub(crate) async fn counter(&self, name: &str) -> Result<f64> {
        let answer = self.admin("/metrics").await?;
        let series = answer.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.trim().parse::<f64>().ok()).sum())
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The sample, at this world's NATS, changed.
    pub(crate) fn manifest(&self, change: &Value) -> Value {
        let mut manifest: Value = yaml::from_str(SAMPLE).expect("the sample is YAML");
        merge(&mut manifest, &json!({ "spec": { "nats": { "servers": [self.nats.url()] } } }));
        merge(&mut manifest, change);
        manifest
    }

    pub(crate) async fn create(&self, change: &Value) -> Result<WsGateway> {
        let gateway = serde_json::from_value(self.manifest(change))?;
        Ok(self.api::<WsGateway>().create(&PostParams::default(), &gateway).await?)
    }

    pub(crate) async fn edit(&self, change: &Value) -> Result<WsGateway> {
        Ok(self
            .api::<WsGateway>()
            .patch(ODIN, &PatchParams::default(), &Patch::Merge(change))
            .await?)
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.api::<WsGateway>().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn status(&self, name: &str) -> Option<WsGatewayStatus> {
        self.api::<WsGateway>().get_opt(name).await.ok()??.status
    }

    /// Waits for a condition of a WsGateway with this status and reason, and returns its message.
    pub(crate) async fn condition(
        &self,
        name: &str,
        kind: &str,
        state: &str,
        reason: &str,
    ) -> Result<String> {
        let what = format!("{name}: {kind}={state} {reason}");
        let found = wait_until_some(self.patience, &what, async || {
            let conditions = self.status(name).await?.conditions;
            let found = |c: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                c.type_ == kind && c.status == state && c.reason == reason
            };
            conditions.iter().find(found).map(|condition| condition.message.clone())
        })
        .await;
        match found {
            Ok(message) => Ok(message),
            Err(error) => Err(error.context(format!("{:#?}", self.status(name).await))),
        }
    }

    pub(crate) async fn stream_ready(&self) -> Result<()> {
        self.condition(ODIN, "StreamReady", "True", "StreamAsSpecified").await.map(drop)
    }

    /// Waits until an object passes, and returns it.
    pub(crate) async fn object<K>(&self, name: &str, passes: impl Fn(&K) -> bool) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>();
        wait_until_some(self.patience, &format!("{} {name}", K::kind(&())), async || {
            api.get_opt(name).await.ok().flatten().filter(&passes)
        })
        .await
    }

    pub(crate) async fn gone<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>();
        wait_until(self.patience, &format!("the end of {} {name}", K::kind(&())), async || {
            api.get_opt(name).await.is_ok_and(|object| object.is_none())
        })
        .await
    }

    pub(crate) async fn jetstream(&self) -> Result<jetstream::Context> {
        Ok(jetstream::new(self.nats.client().await?))
    }

    /// The stream as NATS reports it.
    pub(crate) async fn stream(&self) -> Result<Info> {
        Ok(self.jetstream().await?.get_stream("ODIN_TOKENS").await?.cached_info().clone())
    }

    /// What the mark of a stream says that the WsGateway `name` of this namespace keeps.
    pub(crate) async fn mark(&self, name: &str, uid: &str) -> Result<String> {
        let system = Api::<Namespace>::all(self.client.clone()).get("kube-system").await?;
        let cluster = system.uid().context("no UID")?;
        Ok(format!("{cluster}/{}/{name}/{uid}", self.namespace))
    }

    /// Creates a stream of the sample's name with this mark, and somebody else's settings.
    pub(crate) async fn marked_stream(&self, mark: &str) -> Result<()> {
        let theirs = jetstream::stream::Config {
            name: "ODIN_TOKENS".to_owned(),
            subjects: vec!["theirs.>".to_owned()],
            metadata: [("wsgateway.dev/owner".to_owned(), mark.to_owned())].into(),
            ..Default::default()
        };
        self.jetstream().await?.create_stream(theirs).await?;
        Ok(())
    }

    pub(crate) async fn stream_becomes(
        &self,
        what: &str,
        passes: impl Fn(&Info) -> bool,
    ) -> Result<Info> {
        wait_until_some(self.patience, what, async || self.stream().await.ok().filter(&passes))
            .await
    }

    /// Type and reason of all events on WsGateways.
    pub(crate) async fn events(&self) -> Result<Vec<(String, String)>> {
        let events = self.api::<Event>().list(&ListParams::default()).await?;
        let of_ours = |event: &Event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|object| object.kind.as_deref() == Some("WsGateway"))
        };
        let told = events.items.into_iter().filter(of_ours);
        Ok(told
            .map(|event| (event.type_.unwrap_or_default(), event.reason.unwrap_or_default()))
            .collect())
    }

    /// Waits until the operator has reconciled this many times more.
    pub(crate) async fn more_reconciles(&self, times: f64) -> Result<()> {
        const RECONCILES: &str = "wsgateway_operator_reconciles_total";
        let enough = self.counter(RECONCILES).await? + times;
        wait_until(self.patience, "more reconciliations", async || {
            self.counter(RECONCILES).await.is_ok_and(|now| now >= enough)
        })
        .await
    }

    /// Names of the pods of the sample, once there are `count` of them.
    pub(crate) async fn pods(&self, count: usize) -> Result<Vec<String>> {
        let pods = self.api::<Pod>();
        let selector = ListParams::default().labels("app.kubernetes.io/instance=odin");
        let found = wait_until_some(self.patience, &format!("{count} pods"), async || {
            let list = pods.list(&selector).await.ok()?;
            (list.items.len() == count)
                .then(|| list.items.iter().map(|pod| pod.name_any()).collect::<Vec<_>>())
        })
        .await;
        match found {
            Ok(names) => Ok(names),
            Err(error) => Err(error.context(self.what_is_there().await)),
        }
    }

    /// For whoever reads of a failure.
    async fn what_is_there(&self) -> String {
        let all = ListParams::default();
        let pods = self.api::<Pod>().list(&all).await.map(|list| {
            let name =
                |pod: Pod| format!("{} {:?}", pod.name_any(), pod.metadata.deletion_timestamp);
            list.items.into_iter().map(name).collect::<Vec<_>>()
        });
        let deployment = self.api::<Deployment>().get_opt("odin-gateway").await;
        let deployment = deployment.map(|found| found.map(|found| (found.spec, found.status)));
        let conditions = self.status(ODIN).await.map(|status| status.conditions);
        format!("pods {pods:?}; Deployment {deployment:?}; conditions {conditions:?}")
    }

    /// Sets the status of a pod as a kubelet would once it is ready.
    pub(crate) async fn run_pod(&self, name: &str, address: &str) -> Result<()> {
        let status = json!({ "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        }});
        let parameters = PatchParams::default();
        self.api::<Pod>().patch_status(name, &parameters, &Patch::Merge(&status)).await?;
        Ok(())
    }

    /// Sets the status of a pod as a kubelet would while its container does not run.
    pub(crate) async fn break_pod(&self, name: &str, state: &Value, last: &Value) -> Result<()> {
        let status = json!({ "status": {
            "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{ "name": "gateway", "image": "i", "imageID": "", "ready": false,
                "restartCount": 3, "state": state, "lastState": last }],
        }});
        let parameters = PatchParams::default();
        self.api::<Pod>().patch_status(name, &parameters, &Patch::Merge(&status)).await?;
        Ok(())
    }

    /// As [`World::run_pod`] for all pods of the sample, once there are `count` of them.
    pub(crate) async fn run_pods(&self, count: usize, address: &str) -> Result<()> {
        for name in self.pods(count).await? {
            self.run_pod(&name, address).await?;
        }
        Ok(())
    }
}

/// An answer of an admin port, head and body.
pub(crate) async fn asked(address: SocketAddr, path: &str) -> Result<String> {
    let mut socket = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A loopback address for a pod, of this run alone: the admin port is the same for all gateways.
pub(crate) fn pod_address(number: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0.x.x is for everybody.
    Ipv4Addr::new(127, high.max(1), low, number).into()
}
