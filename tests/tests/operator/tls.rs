//! TLS of the clients' port: its Secret may come late, and pods are not rolled when it changes.

use anyhow::Result;
use harness::{Authority, Certified, init_tls};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use wsgateway_config::Millis;

use crate::auth::template;
use crate::secrets::{put, put_with, run_label_command, written};
use crate::world::{ODIN, World};

fn pair(certified: &Certified) -> [(&str, &str); 2] {
    [("tls.crt", &certified.certificate), ("tls.key", &certified.key)]
}

/// Names of the Secrets from which a pod has its certificate.
fn secrets(pod: &Value) -> Vec<String> {
    let volumes = pod["volumes"].as_array().cloned().unwrap_or_default();
    let tls =
        volumes.into_iter().find(|volume| volume["name"] == "listener-tls").unwrap_or_default();
    let sources = tls["projected"]["sources"].as_array().cloned().unwrap_or_default();
    sources
        .iter()
        .filter_map(|source| source["secret"]["name"].as_str())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_certificate_may_come_late_and_says_until_then_which_secret_is_missing() -> Result<()> {
    init_tls();
    let authority = Authority::new("clients-ca")?;
    let (first, second) = (authority.server()?, authority.server()?);
    let world = World::new("listener-tls").await?;
    let tls = json!({ "spec": { "listener": { "tls": { "secret": { "name": "odin-tls" } } } } });
    world.create(&tls).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "SecretMissing").await?;
    let missing = format!("no Secret odin-tls in namespace {}", world.namespace);
    assert!(message.contains(&missing), "{message}");
    harness::wait_until(crate::world::SOON, "an event", async || {
        let missing = ("Warning".to_owned(), "SecretMissing".to_owned());
        world.events().await.is_ok_and(|events| events.contains(&missing))
    })
    .await?;
    assert!(
        world.api::<Deployment>().get_opt("odin-gateway").await?.is_none(),
        "no pod in the clear"
    );

    put_with(&world, "odin-tls", &pair(&first)[..1], &json!({})).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretNotAllowed").await?;
    run_label_command(&world, &message).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretMissing").await?;
    let missing = "Secret odin-tls has no key tls.key";
    assert!(message.contains(missing) && message.contains("spec.listener.tls"), "{message}");

    put(&world, "odin-tls", &pair(&first)).await?;
    let before = template(&world, |pod| !secrets(pod).is_empty()).await?;
    put(&world, "odin-tls", &pair(&second)).await?;
    // A live change that has to pass the operator says that it has seen the Secret as well.
    world.edit(&json!({ "spec": { "slowConsumer": { "grace": "7s" } } })).await?;
    harness::wait_until(crate::world::SOON, "the configuration", async || {
        let config = world.config().await;
        config.is_ok_and(|config| config.slow_consumer.grace == Millis::from_secs(7))
    })
    .await?;
    assert_eq!(template(&world, |_| true).await?, before, "a renewed certificate rolled the pods");

    let written = written(&world).await?;
    for key in [&first.key, &second.key] {
        let line = key.lines().nth(1).unwrap_or_default();
        assert!(line.len() > 40 && !written.contains(line), "{line} in {written}");
    }
    Ok(())
}
