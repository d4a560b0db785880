//! Credentials and certificates from Secrets: for the operator's own connection, and as files for the pods.

use anyhow::{Context as _, Result};
use async_nats::ConnectOptions;
use async_nats::jetstream;
use harness::{Authority, Certified, Nats, NatsOperator, Scratch, wait_until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World};

/// Makes or replaces a Secret that WsGateways may use.
pub(crate) async fn put(world: &World, name: &str, data: &[(&str, &str)]) -> Result<()> {
    put_with(world, name, data, &json!({ "wsgateway.dev/allow": "true" })).await
}

pub(crate) async fn put_with(
    world: &World,
    name: &str,
    data: &[(&str, &str)],
    labels: &Value,
) -> Result<()> {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": data,
        "metadata": { "name": name, "labels": labels },
    });
    let parameters = PatchParams::apply("test").force();
    world.api::<Secret>().patch(name, &parameters, &Patch::Apply(&secret)).await?;
    Ok(())
}

async fn template(world: &World) -> Result<PodTemplateSpec> {
    let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
    Ok(deployment.spec.expect("a specification").template)
}

/// Everything that the operator writes for others to read.
pub(crate) async fn written(world: &World) -> Result<String> {
    let list = Default::default();
    Ok([
        serde_json::to_string(&world.api::<WsGateway>().list(&list).await?.items)?,
        serde_json::to_string(&world.api::<ConfigMap>().list(&list).await?.items)?,
        serde_json::to_string(&world.api::<Deployment>().list(&list).await?.items)?,
        serde_json::to_string(&world.api::<Event>().list(&list).await?.items)?,
        world.admin("/metrics").await?,
    ]
    .concat())
}

#[tokio::test]
async fn creds_may_come_late_wrong_and_rotated_and_pods_are_not_rolled_for_them() -> Result<()> {
    let nats_operator = NatsOperator::new();
    let mut world = World::without_operator("creds").await?;
    world.nats = Nats::start_with(&nats_operator.server_config()?).await?;
    world.start_operator().await?;
    let credentials = json!({ "name": "odin-nats" });
    world.create(&json!({ "spec": { "nats": { "credentials": credentials } } })).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "SecretMissing").await?;
    assert!(message.contains(&format!("no Secret odin-nats in namespace {}", world.namespace)));
    // A Secret that comes later need not be for WsGateways.
    world.condition(ODIN, "GatewayReady", "False", "SecretMissing").await?;

    put(&world, "odin-nats", &[("other", "x")]).await?;
    let before = template(&world).await?;
    let pod = serde_json::to_value(&before)?["spec"].clone();
    assert_eq!(
        pod["volumes"][1]["projected"]["sources"][0]["secret"],
        json!({ "name": "odin-nats", "items": [{ "key": "nats.creds", "path": "nats.creds" }] })
    );
    let mount = &pod["containers"][0]["volumeMounts"][1];
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&json!("/etc/wsgateway-nats"), &json!(true))
    );

    let message = world.condition(ODIN, "StreamReady", "False", "SecretMissing").await?;
    assert!(message.contains("odin-nats"), "{message}");
    put(&world, "odin-nats", &[("nats.creds", "half")]).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "CredentialsUnusable").await?;
    assert!(message.contains("key nats.creds of Secret odin-nats is no .creds file"), "{message}");
    let foreign = nats_operator.foreign_creds()?;
    put(&world, "odin-nats", &[("nats.creds", &foreign)]).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "NatsUnauthorized").await?;
    assert!(message.contains("check spec.nats.credentials"), "{message}");

    let right = nats_operator.creds(None)?;
    put(&world, "odin-nats", &[("nats.creds", &right)]).await?;
    world.stream_ready().await?;
    assert_eq!(template(&world).await?, before, "a rotated Secret rolled the pods");

    let written = written(&world).await?;
    assert!(
        written.contains("NatsUnauthorized") && written.contains("/etc/wsgateway-nats/nats.creds")
    );
    let secret = |line: &&str| line.len() > 50 && !line.contains(' ') && !line.starts_with("---");
    for line in foreign.lines().chain(right.lines()).filter(secret) {
        assert!(!written.contains(line), "{line} in {written}");
    }
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await
}

/// What kubectl does with the command in a message, which it ends with.
pub(crate) async fn run_label_command(world: &World, message: &str) -> Result<()> {
    let (_, command) = message.split_once("kubectl -n ").context("no command")?;
    let words: Vec<&str> = command.split([' ', ';']).collect();
    let [namespace, "label", "secret", name, label, ..] = words[..] else {
        anyhow::bail!("no kubectl label: {command}");
    };
    let (key, value) = label.split_once('=').context("no label")?;
    let change = json!({ "metadata": { "labels": { key: value } } });
    let api = kube::Api::<Secret>::namespaced(world.client.clone(), namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_is_sent_nowhere_before_it_says_that_it_is_for_wsgateways() -> Result<()> {
    let mut world = World::without_operator("label").await?;
    // A NATS that would take anything and keep it.
    world.nats =
        Nats::start_with("authorization { users = [{ user: me, password: pass }] }").await?;
    world.start_operator().await?;
    let user = [("username", "me"), ("password", "pass"), ("unsaid", "x")];
    put_with(&world, "odin-nats", &user, &json!({ "wsgateway.dev/allow": "no" })).await?;
    let credentials = json!({ "userPassword": { "name": "odin-nats" } });
    world.create(&json!({ "spec": { "nats": { "credentials": credentials } } })).await?;

    world.condition(ODIN, "GatewayReady", "False", "SecretNotAllowed").await?;
    let message = world.condition(ODIN, "StreamReady", "False", "SecretNotAllowed").await?;
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());
    let written = written(&world).await?;
    assert!(!written.contains("unsaid") && !written.contains("pass\""), "{written}");

    run_label_command(&world, &message).await?;
    world.stream_ready().await?;
    let before = template(&world).await?;

    // Another Secret, another label: the pods stay as they are, and scaling waits for it.
    put_with(&world, "stranger", &user, &json!({})).await?;
    let credentials = json!({ "userPassword": { "name": "stranger" } });
    world.edit(&json!({ "spec": { "nats": { "credentials": credentials } } })).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretNotAllowed").await?;
    assert!(message.contains("the pods that run stay as they are"), "{message}");
    assert_eq!(template(&world).await?, before);
    run_label_command(&world, &message).await?;
    world.stream_ready().await?;
    world
        .object::<Deployment>("odin-gateway", |deployment| {
            deployment.spec.as_ref().is_some_and(|spec| spec.template != before)
        })
        .await
        .map(drop)
}

#[tokio::test]
async fn the_secrets_of_redis_need_the_label_too() -> Result<()> {
    let world = World::new("redis-label").await?;
    put_with(&world, "redis", &[("password", "x")], &json!({})).await?;
    let redis = json!({
        "servers": ["redis://127.0.0.1:1"], "channels": ["*"],
        "passwordSecret": { "name": "redis", "key": "password" },
    });
    let spec =
        json!({ "nats": null, "stream": null, "channels": { "stripPrefix": "" }, "redis": redis });
    world.create(&json!({ "spec": spec })).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "SecretNotAllowed").await?;
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());
    run_label_command(&world, &message).await?;
    template(&world).await.map(drop)
}

#[tokio::test]
async fn whatever_answers_at_an_address_the_status_says_the_same() -> Result<()> {
    let world = World::new("ports").await?;
    let closed = harness::free_port()?;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let talks = TcpListener::bind("127.0.0.1:0").await?;
    let (silent_port, talks_port) = (silent.local_addr()?.port(), talks.local_addr()?.port());
    let talking = tokio::spawn(async move {
        while let Ok((mut socket, _)) = talks.accept().await {
            drop(socket.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await);
        }
    });
    let mut told = std::collections::BTreeSet::new();
    for (name, port) in [("closed", closed), ("silent", silent_port), ("talks", talks_port)] {
        world
            .create(&json!({
                "metadata": { "name": name },
                "spec": { "nats": { "servers": [format!("nats://127.0.0.1:{port}")] } },
            }))
            .await?;
        let log_is_written = "the log of the operator";
        world.condition(name, "StreamReady", "False", "NatsUnreachable").await?;
        wait_until(SOON, "the failure in the status", async || {
            let status = world.status(name).await.unwrap_or_default();
            status.conditions.iter().any(|c| c.message.contains(log_is_written))
        })
        .await?;
        told.insert(world.condition(name, "StreamReady", "False", "NatsUnreachable").await?);
    }
    talking.abort();
    drop(silent);
    assert_eq!(told.len(), 1, "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_verifies_clients_is_reached_with_the_certificates_of_secrets() -> Result<()>
{
    let (ca, folder) = (Authority::new("nats-ca")?, Scratch::new("pki")?);
    let server = ca.server()?;
    let config = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        folder.write("server.crt", &server.certificate)?.display(),
        folder.write("server.key", &server.key)?.display(),
        folder.write("ca.crt", ca.pem())?.display(),
    );
    let mut world = World::without_operator("tls").await?;
    world.nats = Nats::start_with(&config).await?;
    world.start_operator().await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "NatsTlsFailed").await?;
    assert!(message.contains("set spec.nats.tls.caSecret"), "{message}");

    put(&world, "ca", &[("ca.crt", &ca.pem())]).await?;
    let tls = json!({ "caSecret": { "name": "ca" }, "clientSecret": { "name": "client" } });
    world.edit(&json!({ "spec": { "nats": { "tls": tls } } })).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "SecretMissing").await?;
    assert!(message.contains("no Secret client"), "{message}");

    let stranger = Authority::new("somebody else")?.client("operator")?;
    put(&world, "client", &pair(&stranger)).await?;
    let message = world.condition(ODIN, "StreamReady", "False", "NatsTlsFailed").await?;
    assert!(message.contains("check spec.nats.tls.clientSecret"), "{message}");

    let right = ca.client("operator")?;
    put(&world, "client", &pair(&right)).await?;
    world.stream_ready().await?;

    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    let admin =
        ConnectOptions::new().add_root_certificates(folder.join("ca.crt")).add_client_certificate(
            folder.write("client.crt", &right.certificate)?,
            folder.write("client.key", &right.key)?,
        );
    let jetstream = jetstream::new(world.nats.client_with(admin).await?);
    assert!(jetstream.get_stream("ODIN_TOKENS").await.is_err(), "the stream is still there");
    Ok(())
}

fn pair(certified: &Certified) -> [(&str, &str); 2] {
    [("tls.crt", &certified.certificate), ("tls.key", &certified.key)]
}
