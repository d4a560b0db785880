//! What people see and do with `wsgw` on a cluster, with the rights that they have: real API server, real roles of
//! Kubernetes and of the chart, gateways that run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use harness::{ControlPlane, Identity, wait_until, wait_until_some};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::autoscale::{Kubelet, available, connect, plane_of_its_own, served};
use crate::crowd::{CLIENTS, running, under_load};
use crate::rights::created_by;
use crate::world::{ODIN, SOON, World};

/// Somebody with a kubeconfig.
pub(crate) struct Person {
    kubeconfig: PathBuf,
    namespace: String,
}

impl Person {
    /// Bound to a ClusterRole in the world's namespace, or to none.
    pub(crate) async fn new(world: &World, name: &str, role: Option<&str>) -> Result<Self> {
        if let Some(role) = role {
            let binding = json!({
                "metadata": { "name": name },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name }],
            });
            let bindings = world.api::<RoleBinding>();
            bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
        }
        let kubeconfig = world.plane.kubeconfig_as(&Identity::new(name, &[]))?;
        Ok(Self { kubeconfig, namespace: world.namespace.clone() })
    }

    /// Runs wsgw.
    async fn runs(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = harness::wsgw()?;
        command.env("KUBECONFIG", &self.kubeconfig).env_remove("NO_COLOR");
        command.args(arguments).args(["--namespace", &self.namespace]);
        Ok(command.output().await?)
    }

    /// What wsgw shows.
    pub(crate) async fn sees(&self, arguments: &[&str]) -> Result<String> {
        let output = self.runs(arguments).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wsgw {arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until it may look: roles that were given take a moment. The error has wsgw's own last words.
    pub(crate) async fn waits_for_its_role(&self) -> Result<()> {
        let mut last = None;
        let waited = wait_until(SOON, "a role", async || {
            last = self.sees(&["status"]).await.err();
            last.is_none()
        });
        waited.await.map_err(|error| match last {
            Some(last) => last.context(error),
            None => error,
        })
    }

    /// The same for programs.
    pub(crate) async fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let text = self.sees(&[arguments, &["--output", "json"]].concat()).await?;
        let document: Value = serde_json::from_str(&text).context(text)?;
        document["items"].as_array().cloned().context("items")
    }

    /// The error of wsgw.
    pub(crate) async fn is_told(&self, arguments: &[&str]) -> Result<String> {
        let output = self.runs(arguments).await?;
        ensure!(output.status.code() == Some(1), "wsgw {arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stderr)?)
    }
}

/// Whoever looks sees the state, the spread, the stream and the events.
async fn sees_pages(ann: &Person, pod: &str) -> Result<()> {
    let status = ann.sees(&["status", ODIN]).await?;
    assert!(status.contains("yes, AsSpecified") && status.contains(pod), "{status}");
    assert!(status.contains("2 wanted, 2 exist, 2 take clients"), "{status}");
    let all = ann.items(&["status"]).await?;
    assert_eq!((&all[0]["ready"], &all[0]["name"]), (&json!(true), &json!(ODIN)));
    let spread = ann.sees(&["connections"]).await?;
    assert!(spread.contains("100 %") && spread.contains("0 %"), "{spread}");
    let stream = ann.sees(&["stream", ODIN]).await?;
    assert!(
        stream.contains("ODIN_TOKENS") && stream.contains("which keeps it as specified"),
        "{stream}"
    );
    let events = ann.items(&["events", ODIN]).await?;
    let reasons: BTreeSet<&str> =
        events.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert!(reasons.contains("StreamAsSpecified"), "{reasons:?}");
    assert!(reasons.contains("SuccessfulCreate"), "of the ReplicaSet: {reasons:?}");
    let time = |event: &Value| event["time"].as_str()?.parse::<Timestamp>().ok();
    let times: Vec<Option<Timestamp>> = events.iter().map(time).collect();
    assert!(times.is_sorted() && !times.contains(&None), "the newest last: {times:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_view_is_enough_for_everything_that_only_looks() -> Result<()> {
    let mut world = World::on(plane_of_its_own().await?, "people").await?;
    let options = served(&world).await?;
    world.start_operator_with(options, world.client.clone()).await?;
    created_by("templates/aggregate-roles.yaml", &world, &[], "").await?;
    world.create(&json!({ "spec": { "replicas": 2 } })).await?;
    available(&world.client).await?;
    world.pods(2).await?;
    let mut kubelet = Kubelet::default();
    kubelet.sync(&world).await?;
    let clients = connect(&kubelet.0[0].1, 5).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    let ann = Person::new(&world, "ann", Some("view")).await?;
    // The role of the chart is added to view by a controller.
    let figures = wait_until_some(SOON, "figures of both pods", async || {
        let items = ann.items(&["top", "--once", "--from", "metrics"]).await.ok()?;
        let all = items.iter().map(|pod| pod["connections"].as_u64()).sum::<Option<u64>>();
        (items.len() == 2 && all == Some(5)).then_some(items)
    })
    .await?;
    let known = |field: &str| figures.iter().all(|pod| pod[field].is_u64());
    for field in ["lagMessages", "slowClients", "cpuPercent", "memoryBytes", "capacityPercent"] {
        assert!(known(field), "{field}: {figures:?}");
    }
    wait_until(SOON, "rates, from two polls", async || {
        let items = ann.items(&["top", "--once"]).await.unwrap_or_default();
        items.iter().all(|pod| pod["deliveriesPerSecond"].is_u64())
    })
    .await?;
    let top = ann.sees(&["top", "--once"]).await?;
    assert!(top.starts_with("as the operator polled last\nPOD") && !top.contains('\x1b'), "{top}");
    assert!(ann.sees(&["top", "--once", "--color", "always"]).await?.contains("\x1b[32mServing"));

    let pod = &kubelet.0[0].0;
    sees_pages(&ann, pod).await?;
    let refused = ann.is_told(&["drain", pod, "--yes"]).await?;
    assert!(refused.contains("auth can-i create pods --subresource=eviction"), "{refused}");
    assert!(refused.contains("--clusterrole=edit"), "{refused}");
    // Where the operator's figures may not be read, those of the status are shown, and why.
    let bob = Person::new(&world, "bob", None).await?;
    let denied = bob.is_told(&["status"]).await?;
    assert!(denied.contains("kubectl auth can-i list wsgateways.wsgateway.dev"), "{denied}");
    let typo = ann.is_told(&["status", "odn"]).await?;
    assert!(typo.contains("there is odin"), "{typo}");
    drop(clients);
    kubelet.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_kind_or_the_cluster_the_error_says_what_to_do() -> Result<()> {
    let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await?));
    let world = World::on(plane, "empty").await?;
    let person =
        Person { kubeconfig: plane.kubeconfig().to_owned(), namespace: world.namespace.clone() };
    for command in ["status", "stream", "events", "connections"] {
        let message = person.is_told(&[command]).await?;
        assert!(message.contains("install the operator"), "{command}: {message}");
    }
    let other = person.is_told(&["status", "--context", "nowhere"]).await?;
    assert!(other.contains("kubectl config get-contexts"), "{other}");
    plane.stop_apiserver().await;
    let message = person.is_told(&["status"]).await?;
    assert!(message.contains("no cluster answers at https://127.0.0.1"), "{message}");
    assert!(message.contains("kubectl cluster-info"), "{message}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_pod_is_drained_at_the_pace_and_its_clients_miss_no_message() -> Result<()> {
    let world = World::new("drained").await?;
    let (mut kubelet, nodes, node) = running(&world, 3, &json!({})).await?;
    kubelet.until("three pods", async |kubelet| Ok(kubelet.running.len() == 3)).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let eve = Person::new(&world, "eve", Some("edit")).await?;
    created_by("templates/aggregate-roles.yaml", &world, &[], "").await?;
    eve.waits_for_its_role().await?;
    // What may be evicted is known once the controller has counted the pods.
    world
        .object::<PodDisruptionBudget>("odin-gateway", |budget| {
            budget.status.as_ref().is_some_and(|status| status.disruptions_allowed == 1)
        })
        .await?;
    let pod = kubelet.running.keys().next().context("a pod")?.clone();
    let mut had = 0;
    let mut said = String::new();
    let (kubelet, ends, _) = under_load(kubelet, async |kubelet| {
        had = kubelet.connections()[&pod];
        let plan = eve.sees(&["drain", &pod, "--dry-run"]).await?;
        ensure!(plan.contains("it may go now; nothing was done"), "{plan}");
        let arguments: [&str; 5] = ["drain", &pod, "--yes", "--timeout", "5m"];
        let mut drain = std::pin::pin!(eve.sees(&arguments));
        said = loop {
            tokio::select! {
                said = &mut drain => break said?,
                () = tokio::time::sleep(std::time::Duration::from_millis(100)) => drop(kubelet.sync().await?),
            }
        };
        Ok(())
    })
    .await?;
    println!("{said}");
    let moved: BTreeSet<usize> = ends.iter().map(|(client, _)| *client).collect();
    assert_eq!(
        (moved.len(), ends.len()),
        (usize::try_from(had)?, usize::try_from(had)?),
        "each once"
    );
    assert!(moved.len() > CLIENTS / 10, "a share of {CLIENTS}");
    assert!(said.contains(&format!("pod {pod} has stopped")), "{said}");
    assert!(said.contains("3 pods serve again") && said.contains("0 lost messages"), "{said}");
    let pods = world.api::<Pod>().list(&ListParams::default()).await?;
    assert!(pods.items.iter().all(|found| found.name_any() != pod));
    kubelet.stop().await?;
    nodes.delete(&node, &DeleteParams::default()).await?;
    Ok(())
}
