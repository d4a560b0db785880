//! The CRD on a real API server: accepted itself, and refusing what it should.

use anyhow::Result;
use harness::{ControlPlane, merge};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, CustomResourceExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use wsgateway_config::yaml;
use wsgateway_crds::WsGateway;

use crate::world::SAMPLE;

const REFUSED: &str = include_str!("../../../crds/tests/refused.yaml");

#[derive(Deserialize)]
struct Case {
    name: String,
    change: Value,
    message: String,
}

async fn api(name: &str) -> Result<Api<DynamicObject>> {
    let plane = ControlPlane::shared().await?;
    plane.apply_crd(&WsGateway::crd()).await?;
    let namespace = plane.namespace(name).await?;
    let resource = ApiResource::erase::<WsGateway>(&());
    Ok(Api::namespaced_with(plane.client().await?, &namespace, &resource))
}

fn changed(change: &Value) -> DynamicObject {
    let mut manifest: Value = yaml::from_str(SAMPLE).expect("the sample is YAML");
    merge(&mut manifest, change);
    serde_json::from_value(manifest).expect("an object")
}

#[tokio::test]
async fn the_api_server_refuses_every_bad_manifest_with_words_that_help() -> Result<()> {
    let api = api("refused").await?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry_run, &changed(&json!({}))).await.expect("the sample is good");
    let cases: Vec<Case> = yaml::from_str(REFUSED)?;
    assert!(cases.len() >= 20);
    let mut wrong = Vec::new();
    for case in cases {
        match api.create(&dry_run, &changed(&case.change)).await {
            Ok(_) => wrong.push(format!("{} was accepted", case.name)),
            Err(error) if error.to_string().contains(&case.message) => {}
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn source_name_and_storage_of_a_stream_cannot_change() -> Result<()> {
    let api = api("immutable").await?;
    api.create(&PostParams::default(), &changed(&json!({}))).await?;
    for (change, message) in [
        (json!({ "spec": { "stream": { "name": "OTHER" } } }), "stream.name cannot change"),
        (json!({ "spec": { "stream": { "storage": "Memory" } } }), "stream.storage cannot change"),
        (
            json!({ "spec": { "nats": null, "stream": null, "channels": { "stripPrefix": "" },
                "redis": { "servers": ["redis://r"], "channels": ["c"] } } }),
            "the source cannot change between NATS and Redis",
        ),
    ] {
        let error = api
            .patch("odin", &PatchParams::default(), &Patch::Merge(&change))
            .await
            .expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn all_samples_are_accepted() -> Result<()> {
    let api = api("samples").await?;
    let folder = harness::repository().join("manifests/samples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(entry?.path())?;
        let manifest: Value = yaml::from_str(&text)?;
        if manifest["kind"] == "WsGateway" {
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            api.create(&dry_run, &serde_json::from_value(manifest)?).await?;
            seen += 1;
        }
    }
    assert!(seen > 0);
    Ok(())
}
