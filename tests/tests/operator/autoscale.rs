//! Autoscaling out of the box: the real autoscaler reads the connections of real gateways from the operator, through the
//! API server's aggregation. Each test has a plane of its own, since there is one such group in a cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use gateway::app::Running;
use harness::{ControlPlane, Identity, free_port, wait_until, wait_until_some};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, CustomResourceExt as _, ResourceExt as _};
use operator::Options;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wsgateway_crds::WsGateway;

use crate::reload::start_pod;
use crate::rights::granted_by;
use crate::world::{ODIN, SOON, World, options, pod_address};

const GROUP: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const API_SERVICE: &str = "v1beta2.custom.metrics.k8s.io";
/// The autoscaler learns of a kind up to half a minute late.
const LATE: Duration = Duration::from_secs(120);

pub(crate) async fn plane_of_its_own() -> Result<&'static ControlPlane> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    plane.apply_crd(&WsGateway::crd()).await?;
    Ok(plane)
}

pub(crate) fn api_services(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// Options of an operator that serves metrics, and the Service that leads the API server to it.
pub(crate) async fn served(world: &World) -> Result<Options> {
    let port = free_port()?;
    let service = json!({
        "metadata": { "name": "metrics-api" },
        "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "port": port }] },
    });
    let services = world.api::<Service>();
    services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let mut options = options(&world.namespace);
    options.election.own_namespace = Some(world.namespace.clone());
    let api = &mut options.metrics_api;
    api.metrics_api = true;
    api.metrics_api_address = ([127, 0, 0, 1], port).into();
    api.metrics_api_service = "metrics-api".to_owned();
    api.metrics_api_service_port = port;
    Ok(options)
}

pub(crate) async fn available(client: &Client) -> Result<DynamicObject> {
    let api = api_services(client);
    wait_until_some(SOON, "the API to be available", async || {
        let found = api.get_opt(API_SERVICE).await.ok()??;
        let conditions = found.data["status"]["conditions"].as_array()?.clone();
        let is = |c: &Value| c["type"] == "Available" && c["status"] == "True";
        conditions.iter().any(is).then_some(found)
    })
    .await
}

/// An answer of the API server, or the code by which it refuses.
pub(crate) async fn raw(client: &Client, path: &str) -> Result<Value, u16> {
    let request =
        http::Request::get(format!("{GROUP}{path}")).body(Vec::new()).map_err(|_| 0_u16)?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    })
}

/// Gateways in the place of pods.
#[derive(Default)]
pub(crate) struct Kubelet(pub(crate) Vec<(String, Running)>);

impl Kubelet {
    /// Starts a gateway for each pod that has none.
    pub(crate) async fn sync(&mut self, world: &World) -> Result<()> {
        let files = world.files(|_| true).await?;
        let pods = world.api::<Pod>().list(&ListParams::default()).await?.items;
        for pod in pods {
            let name = pod.name_any();
            let is_known = self.0.iter().any(|(known, _)| *known == name);
            if is_known || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let address = pod_address(u8::try_from(60 + self.0.len())?);
            let gateway = start_pod(world, &files, &name, address).await?;
            self.0.push((name, gateway));
        }
        Ok(())
    }

    pub(crate) async fn end(self) -> Result<()> {
        for (_, gateway) in self.0 {
            tokio::task::spawn_blocking(move || gateway.abort()).await?;
        }
        Ok(())
    }
}

/// Clients that read, and so answer pings: a silent one is closed after half a minute. They leave when this is dropped.
pub(crate) async fn connect(gateway: &Running, count: usize) -> Result<JoinSet<()>> {
    let url = format!("ws://{}/ws", gateway.client_addr);
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let mut socket = tokio_tungstenite::connect_async(&url).await?.0;
        clients.spawn(async move { while socket.next().await.is_some_and(|read| read.is_ok()) {} });
    }
    Ok(clients)
}

pub(crate) async fn replicas(world: &World, wanted: i32, kubelet: &mut Kubelet) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        kubelet.sync(world).await?;
        let gateway = world.api::<WsGateway>().get(ODIN).await?;
        if gateway.spec.replicas == wanted {
            return Ok(());
        }
        ensure!(begun.elapsed() < LATE, "{wanted} replicas: {:#?}", gateway.status);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until something has five connections: the operator asks pods now and then, perhaps when three were there.
async fn shows_five(world: &World, path: &str) -> Result<()> {
    wait_until(SOON, "five connections", async || {
        let answer = raw(&world.client, path).await.unwrap_or_default();
        answer["items"]
            .as_array()
            .is_some_and(|items| items.iter().any(|item| item["value"] == "5"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_follows_real_connections_up_and_down_with_the_rights_of_the_chart()
-> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "autoscale").await?;
    let mut options = served(&world).await?;
    let client = granted_by("templates/rbac.yaml", &world, &[], "").await?;
    granted_by("templates/metricsapi.yaml", &world, &[], "").await?;
    let role = format!("rights-{}-wsgateway-operator-metrics-api", world.namespace);
    options.metrics_api.metrics_api_secret.clone_from(&role);
    options.metrics_api.metrics_api_owner.clone_from(&role);
    world.start_operator_with(options, client).await?;
    let autoscaling = json!({
        "minReplicas": 1, "maxReplicas": 3, "targetConnectionsPerPod": 2,
        "scaleDown": { "stabilization": "1s" },
    });
    world.create(&json!({ "spec": { "replicas": 1, "autoscaling": autoscaling } })).await?;
    let registered = available(&world.client).await?;
    assert_eq!(registered.owner_references()[0].name, role, "it would outlive the chart");
    let metrics = world.admin("/metrics").await?;
    let expires = metrics.lines().find_map(|line| {
        let value = line.strip_prefix(
            "wsgateway_operator_certificate_expiry_timestamp_seconds{certificate=\"metrics_api\"} ",
        )?;
        value.parse::<i64>().ok()
    });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64;
    let days = expires.context("when its certificate expires")?.saturating_sub(now) / 86_400;
    assert!((364..=365).contains(&days), "{days} days");

    let mut kubelet = Kubelet::default();
    kubelet.sync(&world).await?;
    wait_until(SOON, "a pod", async || kubelet.sync(&world).await.is_ok() && !kubelet.0.is_empty())
        .await?;
    let clients = connect(&kubelet.0[0].1, 5).await?;
    replicas(&world, 3, &mut kubelet).await?;
    world.condition(ODIN, "Autoscaling", "True", "Active").await?;

    let path = format!("/namespaces/{}/pods/*/wsgateway_connections", world.namespace);
    shows_five(&world, &path).await?;
    let nobody = world.plane.client_as("nobody", &[]).await?;
    assert_eq!(raw(&nobody, &path).await, Err(403));
    let sum = path.replace("pods/*", "wsgateways.wsgateway.dev/odin");
    shows_five(&world, &sum).await?;
    assert_eq!(raw(&world.client, &path.replace("connections", "secrets")).await, Err(404));

    drop(clients);
    replicas(&world, 1, &mut kubelet).await?;
    kubelet.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_somebody_else_serves_is_theirs_until_they_go() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "taken").await?;
    let api = api_services(&world.client);
    let theirs = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": "v1beta1.custom.metrics.k8s.io" },
        "spec": {
            "group": "custom.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100,
            "versionPriority": 100, "insecureSkipTLSVerify": true,
            "service": { "namespace": "monitoring", "name": "adapter" },
        },
    });
    api.create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    let options = served(&world).await?;
    world.start_operator_with(options, world.client.clone()).await?;
    world
        .create(&json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 3 } } }))
        .await?;
    world.run_pods(1, "127.0.0.1").await?;

    let message = world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    ensure!(message.contains("is served by Service monitoring/adapter"), "{message}");
    assert!(api.get_opt(API_SERVICE).await?.is_none(), "taken from somebody else");

    api.delete("v1beta1.custom.metrics.k8s.io", &DeleteParams::default()).await?;
    available(&world.client).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_or_deletes_is_put_back_and_strangers_get_no_answer() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "guarded").await?;
    let options = served(&world).await?;
    let address = options.metrics_api.metrics_api_address;
    world.start_operator_with(options, world.client.clone()).await?;
    let api = api_services(&world.client);
    let registered = available(&world.client).await?;

    let spoilt = json!({ "spec": { "caBundle": null, "insecureSkipTLSVerify": true } });
    api.patch(API_SERVICE, &PatchParams::default(), &Patch::Merge(&spoilt)).await?;
    wait_until(SOON, "the registration as it was", async || {
        api.get(API_SERVICE)
            .await
            .is_ok_and(|now| now.data["spec"]["caBundle"] == registered.data["spec"]["caBundle"])
    })
    .await?;
    api.delete(API_SERVICE, &DeleteParams::default()).await?;
    available(&world.client).await?;

    // A client of the cluster is not the API server, whatever it says of itself.
    let kubeconfig = world.plane.kubeconfig_as(&Identity::admin())?;
    let file = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    config.cluster_url = format!("https://{address}").parse()?;
    config.accept_invalid_certs = true;
    config.headers.push((
        http::HeaderName::from_static("x-remote-user"),
        http::HeaderValue::from_static("system:admin"),
    ));
    let stranger = Client::try_from(config)?;
    assert_eq!(raw(&stranger, "").await, Err(0), "no TLS without a certificate of the API server");

    // Many who connect and say nothing make way for whoever comes, before their time is over.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await?);
    }
    let mut talking = TcpStream::connect(address).await?;
    talking.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, talking.read_to_end(&mut answer)).await??;
    assert!(!answer.is_empty(), "an alert of TLS");
    let still_there = silent[60].try_read(&mut [0]);
    assert!(still_there.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    assert_eq!(silent[0].read(&mut [0]).await?, 0, "the first had to go");
    Ok(())
}
