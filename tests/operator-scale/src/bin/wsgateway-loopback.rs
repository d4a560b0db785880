//! Runs a command against a Kubernetes control plane on loopback, so that commands of the docs are tried without a cluster.
//!
//! Real: etcd, kube-apiserver, kube-controller-manager, nats-server, and the operator as a process, with the rights that the
//! chart gives it. There are no nodes: the [`Kubelet`] makes the gateways' pods ready and answers for them.
//!
//! The command gets `KUBECONFIG`. The operator starts once the chart is installed, which is the command's business, and then
//! there is a WsGateway `odin` in the namespace `default`, which is Ready when the file of `--ready` appears.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use harness::{ControlPlane, Guarded, Identity, Nats, Scratch, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use operator_scale::kubelet::Kubelet;
use wsgateway_config::yaml;
use wsgateway_crds::WsGateway;

/// Where docs/install.md has the chart installed, and what its Deployment and ServiceAccount are called.
const SYSTEM: &str = "wsgateway-system";
const OPERATOR: &str = "wsgateway-operator";
const NAMESPACE: &str = "default";
const SAMPLE: &str = include_str!("../../../../manifests/samples/odin.yaml");
/// Where the sample expects NATS.
const NATS: &str = "nats://nats.messaging:4222";
/// The command may take its time before it installs the chart.
const INSTALLED: Duration = Duration::from_secs(600);
/// Far above what it takes, for a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(90);

#[derive(Debug, Parser)]
#[command(about = "Runs a command against a Kubernetes control plane on loopback")]
struct Options {
    /// The operator's program.
    #[arg(long)]
    operator: PathBuf,
    /// File that is created once the WsGateway odin exists and is Ready.
    #[arg(long)]
    ready: PathBuf,
    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let plane = ControlPlane::start().await?;
    let client = plane.client().await?;
    let nats = Nats::start().await?;
    let scratch = Scratch::new("loopback")?;
    let _kubelet = Kubelet::start(&client, &[NAMESPACE.to_owned()]);
    let mut command = tokio::process::Command::new(&options.command[0]);
    command.args(&options.command[1..]).env("KUBECONFIG", plane.kubeconfig()).kill_on_drop(true);
    let mut command = command.spawn().context("the command does not start")?;
    let world = async {
        let operator = operate(&plane, &client, &options, &scratch).await?;
        create(&client, &nats).await?;
        ready(&client).await.with_context(|| operator.log_tail())?;
        std::fs::write(&options.ready, "ready\n")?;
        anyhow::Ok(operator)
    };
    let (status, _operator) = tokio::select! {
        status = command.wait() => (status?, None),
        operator = world => {
            let operator = operator?;
            (command.wait().await?, Some(operator))
        }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// The operator, once the chart is installed.
async fn operate(
    plane: &ControlPlane,
    client: &Client,
    options: &Options,
    scratch: &Scratch,
) -> Result<Guarded> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), SYSTEM);
    wait_until(INSTALLED, "the chart", async || {
        deployments.get_opt(OPERATOR).await.is_ok_and(|found| found.is_some())
    })
    .await?;
    let account = plane.kubeconfig_as(&Identity::service_account(SYSTEM, OPERATOR))?;
    let kubeconfig = format!("KUBECONFIG={}", account.display());
    let program = options.operator.display().to_string();
    let arguments = [
        kubeconfig.as_str(),
        &program,
        "--admin=127.0.0.1:0",
        "--own-namespace",
        SYSTEM,
        "--gateway-image=example.com/gateway:loopback",
        "--resync-seconds=1",
        "--poll-seconds=1",
    ];
    let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
    Guarded::start("/usr/bin/env".as_ref(), &arguments, &scratch.join("operator.log"))
}

/// The sample, at our NATS.
async fn create(client: &Client, nats: &Nats) -> Result<()> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
    wait_until(SOON, "the default service account", async || {
        accounts.get_opt("default").await.is_ok_and(|found| found.is_some())
    })
    .await?;
    let gateway: WsGateway = yaml::from_str(&SAMPLE.replace(NATS, &nats.url()))?;
    let api: Api<WsGateway> = Api::namespaced(client.clone(), NAMESPACE);
    wait_until(SOON, "the WsGateway to be created", async || {
        api.create(&PostParams::default(), &gateway).await.is_ok()
    })
    .await
}

async fn ready(client: &Client) -> Result<()> {
    let api: Api<WsGateway> = Api::namespaced(client.clone(), NAMESPACE);
    wait_until(SOON, "the WsGateway to be Ready", async || {
        let Ok(gateway) = api.get("odin").await else { return false };
        let conditions = gateway.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|one| one.type_ == "Ready" && one.reason == "AsSpecified")
    })
    .await
}
