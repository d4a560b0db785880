//! Credentials and certificates from Secrets: for the operator's own connection, and as files for the pods.

use anyhow::Result;
use async_nats::ConnectOptions;
use async_nats::jetstream;
use harness::{Authority, Certified, Nats, NatsOperator, Scratch};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, World};

/// Makes or replaces a Secret.
pub(crate) async fn put(world: &World, name: &str, data: &[(&str, &str)]) -> Result<()> {
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
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
async fn written(world: &World) -> Result<String> {
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
async fn creds_may_come_late_wrong_and_rotated_and_only_the_stream_waits_for_them() -> Result<()> {
    let nats_operator = NatsOperator::new();
    let mut world = World::without_operator("creds").await?;
    world.nats = Nats::start_with(&nats_operator.server_config()?).await?;
    world.start_operator().await?;
    let credentials = json!({ "name": "odin-nats" });
    world.create(&json!({ "spec": { "nats": { "credentials": credentials } } })).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "SecretMissing").await?;
    assert!(message.contains(&format!("no Secret odin-nats in namespace {}", world.namespace)));
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

    put(&world, "odin-nats", &[("other", "x")]).await?;
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
