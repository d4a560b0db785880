//! The real Prometheus and the real KEDA, as processes.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use harness::{ControlPlane, Guarded, Identity, Scratch, free_port, tool};
use k8s_openapi::api::core::v1::Service;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use wsgateway_config::yaml;

use crate::autoscale::api_services;
use crate::world::{World, asked};

/// A real Prometheus that finds the pods of a namespace through the API server, and may be stopped.
pub(super) struct Prometheus {
    pub(super) port: u16,
    scratch: Scratch,
    server: Option<Guarded>,
}

impl Prometheus {
    pub(super) fn start(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let scratch = Scratch::new("prometheus")?;
        let config = format!(
            r"
global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs:
      - {{ role: pod, kubeconfig_file: {}, namespaces: {{ names: [{namespace}] }} }}
    relabel_configs:
      - {{ source_labels: [__meta_kubernetes_pod_container_port_number], regex: '9090', action: keep }}
      - {{ source_labels: [__meta_kubernetes_namespace], target_label: namespace }}
      - {{ source_labels: [__meta_kubernetes_pod_name], target_label: pod }}
",
            plane.kubeconfig().display()
        );
        scratch.write("prometheus.yml", config)?;
        let mut prometheus = Self { port: free_port()?, scratch, server: None };
        prometheus.resume()?;
        Ok(prometheus)
    }

    pub(super) fn resume(&mut self) -> Result<()> {
        let folder = self.scratch.path().display().to_string();
        let arguments = [
            format!("--config.file={folder}/prometheus.yml"),
            format!("--storage.tsdb.path={folder}/data"),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
        ];
        let log = self.scratch.join("prometheus.log");
        self.server = Some(Guarded::start(&tool("prometheus")?, &arguments, &log)?);
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.server = None;
    }

    /// The values that a query has.
    pub(super) async fn values(&self, query: &str) -> Result<Vec<String>> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let address = ([127, 0, 0, 1], self.port).into();
        let answer = asked(address, &format!("/api/v1/query?query={escaped}")).await?;
        // What is around it are heads, of the answer and of its chunks.
        let (begin, end) = answer.find('{').zip(answer.rfind('}')).context("no JSON")?;
        let answer: Value = serde_json::from_str(&answer[begin..=end])?;
        let results = answer["data"]["result"].as_array().context("no result")?;
        let value = |result: &Value| result["value"][1].as_str().unwrap_or_default().to_owned();
        Ok(results.iter().map(value).collect())
    }
}

/// KEDA's operator and its metrics server, with the rights that KEDA's own manifests give.
pub(super) struct Keda {
    pub(super) operator: Guarded,
    adapter: Guarded,
    _scratch: Scratch,
}

/// The folder of KEDA's module, which has its manifests.
fn keda_module() -> Result<PathBuf> {
    let root = harness::repository();
    let go = Command::new(root.join("hack/tools")).arg("--go").output()?;
    let go = String::from_utf8(go.stdout)?;
    let output = Command::new(go.trim())
        .args(["list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2"])
        .current_dir(root.join("tools.mod/keda"))
        .env("GOWORK", "off")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    ensure!(folder.join("config/crd/bases").is_dir(), "KEDA's module is not there: make keda");
    Ok(folder)
}

impl Keda {
    pub(super) async fn start(world: &World) -> Result<Self> {
        let module = keda_module()?;
        for file in std::fs::read_dir(module.join("config/crd/bases"))? {
            let definition = std::fs::read_to_string(file?.path())?;
            world.plane.apply_crd(&yaml::from_str(&definition)?).await?;
        }
        let role = std::fs::read_to_string(module.join("config/rbac/role.yaml"))?;
        grant(world, &role).await?;
        let scratch = Scratch::new("keda")?;
        certificates(&scratch)?;
        let user = Identity::new("keda", &[]);
        let environment = [
            format!("KUBECONFIG={}", world.plane.kubeconfig_as(&user)?.display()),
            format!("POD_NAMESPACE={}", world.namespace),
            format!("KEDA_CLUSTER_OBJECT_NAMESPACE={}", world.namespace),
            format!("WATCH_NAMESPACE={}", world.namespace),
        ];
        let folder = scratch.path().display().to_string();
        let service = free_port()?;
        let arguments = [
            "--leader-elect=false".to_owned(),
            "--metrics-bind-address=0".to_owned(),
            "--health-probe-bind-address=0".to_owned(),
            format!("--metrics-service-bind-address=127.0.0.1:{service}"),
            format!("--cert-dir={folder}"),
            format!("--ca-dir={folder}"),
        ];
        let start = |name: &str, arguments: &[String]| -> Result<Guarded> {
            let program = tool(name)?.display().to_string();
            let all = environment.iter().cloned().chain([program]).chain(arguments.to_vec());
            let log = scratch.join(&format!("{name}.log"));
            Guarded::start("/usr/bin/env".as_ref(), &all.collect::<Vec<_>>(), &log)
        };
        let operator = start("keda-operator", &arguments)?;
        let port = free_port()?;
        let kubeconfig = world.plane.kubeconfig().display().to_string();
        let arguments = [
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", free_port()?),
            format!("--metrics-service-address=localhost:{service}"),
            format!("--cert-dir={folder}"),
            format!("--tls-cert-file={folder}/tls.crt"),
            format!("--tls-private-key-file={folder}/tls.key"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--lister-kubeconfig={kubeconfig}"),
        ];
        let adapter = start("keda-adapter", &arguments)?;
        register(world, port).await?;
        Ok(Self { operator, adapter, _scratch: scratch })
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.operator.check_alive()?;
        self.adapter.check_alive()
    }
}

/// The rights of KEDA's manifests, for the user that its programs are here.
async fn grant(world: &World, manifests: &str) -> Result<()> {
    for document in manifests.split("\n---") {
        let mut role: DynamicObject = serde_json::from_value(yaml::from_str(document)?)?;
        let kind = role.types.as_ref().context("no kind")?.kind.clone();
        role.metadata.namespace = (kind == "Role").then(|| world.namespace.clone());
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
            "metadata": { "name": role.name_any(), "namespace": role.metadata.namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role.name_any() },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "keda" }],
        });
        for object in [role, serde_json::from_value(binding)?] {
            let kind = object.types.as_ref().context("no kind")?.kind.clone();
            let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", &kind);
            let resource = ApiResource::from_gvk(&kind);
            let client = world.client.clone();
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &resource),
                None => Api::all_with(client, &resource),
            };
            api.create(&PostParams::default(), &object).await?;
        }
    }
    Ok(())
}

/// A certificate for both programs, which speak TLS with each other, and its authority.
fn certificates(scratch: &Scratch) -> Result<()> {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &authority)?;
    scratch.write("ca.crt", authority.pem())?;
    scratch.write("tls.crt", certificate.pem())?;
    scratch.write("tls.key", key.serialize_pem())?;
    Ok(())
}

/// Has the API server ask KEDA's metrics server.
async fn register(world: &World, port: u16) -> Result<()> {
    let service = json!({
        "metadata": { "name": "keda-metrics" },
        "spec": { "type": "ExternalName", "externalName": "localhost", "ports": [{ "port": port }] },
    });
    let services = world.api::<Service>();
    services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
    let registration = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": "v1beta1.external.metrics.k8s.io" },
        "spec": {
            "group": "external.metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100,
            "versionPriority": 100, "insecureSkipTLSVerify": true,
            "service": { "namespace": world.namespace, "name": "keda-metrics", "port": port },
        },
    });
    let api = api_services(&world.client);
    api.create(&PostParams::default(), &serde_json::from_value(registration)?).await?;
    Ok(())
}
