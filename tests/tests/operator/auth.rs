//! Who may connect: keys of tokens from Secrets, as files of the pods, and what pods say of keys that they cannot read.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use wsgateway_config::GatewayConfig;

use crate::load::run;
use crate::secrets::{put, put_with, run_label_command, written};
use crate::world::{ODIN, World, pod_address};

fn key(name: &str, key: &str) -> Value {
    json!({ "secret": { "name": name, "key": key } })
}

/// A change of the sample: tokens by these keys.
fn with_keys(keys: &[Value]) -> Value {
    json!({ "spec": { "auth": { "jwt": { "keys": keys, "algorithms": ["HS256"] } } } })
}

pub(crate) async fn template(
    world: &World,
    passes: impl Fn(&Value) -> bool,
) -> Result<PodTemplateSpec> {
    let template = |deployment: &Deployment| {
        deployment.spec.clone().unwrap_or_default().template.spec.unwrap_or_default()
    };
    let deployment = world
        .object::<Deployment>("odin-gateway", |deployment| {
            serde_json::to_value(template(deployment)).is_ok_and(|pod| passes(&pod))
        })
        .await?;
    Ok(deployment.spec.unwrap_or_default().template)
}

/// Paths of the files with keys, as a pod template has them.
fn files(pod: &Value) -> Vec<String> {
    let sources = pod["volumes"][1]["projected"]["sources"].as_array().cloned().unwrap_or_default();
    let path = |source: &Value| source["secret"]["items"][0]["path"].as_str().map(str::to_owned);
    sources.iter().filter_map(path).collect()
}

async fn live_config(world: &World, passes: impl Fn(&GatewayConfig) -> bool) -> Result<()> {
    harness::wait_until(crate::world::SOON, "the configuration", async || {
        world.config().await.is_ok_and(|config| passes(&config))
    })
    .await
}

#[tokio::test]
async fn a_key_is_missing_then_not_allowed_then_a_file_that_only_another_key_replaces() -> Result<()>
{
    let world = World::new("auth").await?;
    world.create(&with_keys(&[key("odin-jwt", "hmac")])).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretMissing").await?;
    let missing = format!("no Secret odin-jwt in namespace {}", world.namespace);
    assert!(message.contains(&missing), "{message}");

    put_with(&world, "odin-jwt", &[("other", "unsaid"), ("hmac", "a-secret")], &json!({})).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretNotAllowed").await?;
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());
    run_label_command(&world, &message).await?;

    let before = template(&world, |pod| files(pod) == ["odin-jwt/hmac"]).await?;
    let pod = serde_json::to_value(&before)?["spec"].clone();
    assert_eq!(pod["volumes"][1]["name"], "auth");
    let mount = &pod["containers"][0]["volumeMounts"][1];
    assert_eq!(
        (&mount["mountPath"], &mount["readOnly"]),
        (&json!("/etc/wsgateway-auth"), &json!(true))
    );
    let config = world.config().await?;
    let auth = config.auth.expect("auth in the configuration");
    assert_eq!(auth.jwt.keys[0].file.to_str(), Some("/etc/wsgateway-auth/odin-jwt/hmac"));

    // A rotated Secret and other rules leave the pods alone.
    put(&world, "odin-jwt", &[("hmac", "another-secret")]).await?;
    let rules = json!({ "spec": { "auth": { "channels": [{ "match": "user.{sub}.>" }] } } });
    world.edit(&rules).await?;
    live_config(&world, |config| config.auth.as_ref().is_some_and(|auth| auth.channels.len() == 1))
        .await?;
    assert_eq!(template(&world, |_| true).await?, before);

    // A key that is missing in a Secret holds everything back, by its name.
    world.edit(&with_keys(&[key("odin-jwt", "hmac"), key("odin-jwt", "next")])).await?;
    let message = world.condition(ODIN, "GatewayReady", "False", "SecretMissing").await?;
    assert!(message.contains("Secret odin-jwt has no key next"), "{message}");
    assert!(message.contains("name another one in spec.auth"), "{message}");
    assert_eq!(template(&world, |_| true).await?, before);
    put(&world, "odin-jwt", &[("hmac", "another-secret"), ("next", "third-secret")]).await?;
    template(&world, |pod| files(pod) == ["odin-jwt/hmac", "odin-jwt/next"]).await?;

    // The key that stays keeps its path, or running pods would read the removed one in its place.
    world.edit(&with_keys(&[key("odin-jwt", "next")])).await?;
    template(&world, |pod| files(pod) == ["odin-jwt/next"]).await?;
    live_config(&world, |config| {
        let path = config.auth.as_ref().map(|auth| auth.jwt.keys[0].file.clone());
        path.is_some_and(|path| path.ends_with("odin-jwt/next"))
    })
    .await?;

    let written = written(&world).await?;
    for secret in ["a-secret", "another-secret", "third-secret", "unsaid"] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
    Ok(())
}

#[tokio::test]
async fn without_auth_pods_have_no_files_for_it() -> Result<()> {
    let world = World::new("no-auth").await?;
    world.create(&json!({})).await?;
    let pod = serde_json::to_value(template(&world, |_| true).await?)?;
    assert!(!pod.to_string().contains("wsgateway-auth"), "{pod}");
    assert_eq!(world.config().await?.auth, None);
    Ok(())
}

const JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

/// An issuer that answers each request with the same text; its address.
async fn issuer(answer: Arc<Mutex<String>>) -> Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", listener.local_addr()?);
    let serve = async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let body = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
            let mut request = [0; 1 << 12];
            let _asked = socket.read(&mut request).await;
            let _answered = socket.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await;
        }
    };
    Ok((url, JoinSet::from_iter([serve])))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_pods_cannot_fetch_are_a_condition_that_takes_nobody_out_of_service() -> Result<()>
{
    let world = World::new("jwks").await?;
    let answer = Arc::new(Mutex::new("<html>".to_owned()));
    let say =
        |text: &str| text.clone_into(&mut answer.lock().unwrap_or_else(PoisonError::into_inner));
    let (url, _issuer) = issuer(Arc::clone(&answer)).await?;
    let jwks = json!({ "url": url, "refresh": "10s" });
    let jwt = json!({ "jwks": jwks, "algorithms": ["EdDSA"] });
    world.create(&json!({ "spec": { "auth": { "jwt": jwt } } })).await?;
    world.stream_ready().await?;
    world.condition(ODIN, "KeysReady", "Unknown", "KeysUnknown").await?;

    let pod = world.pods(1).await?.remove(0);
    let gateway = run(&world, &pod, pod_address(41)).await?;
    let message = world.condition(ODIN, "KeysReady", "False", "KeysMissing").await?;
    for words in
        ["1 of 1 pods", &format!("pod {pod}: {url}: "), "neither a JWK nor a JWKS", "correct what"]
    {
        assert!(message.contains(words), "{words}: {message}");
    }
    world.condition(ODIN, "Ready", "True", "KeysMissing").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;

    say(JWK);
    world.condition(ODIN, "KeysReady", "True", "KeysCurrent").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    say("<html>");
    let message = world.condition(ODIN, "KeysReady", "False", "KeysOutdated").await?;
    assert!(message.contains("last good ones"), "{message}");

    world.edit(&json!({ "spec": { "auth": null } })).await?;
    harness::wait_until(crate::world::SOON, "no condition about keys", async || {
        let status = world.status(ODIN).await.unwrap_or_default();
        status.conditions.iter().all(|condition| condition.type_ != "KeysReady")
    })
    .await?;
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}
