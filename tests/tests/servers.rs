//! The harness itself: servers start, keep what they should, and leave nothing behind.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use harness::{Chromium, ControlPlane, Nats, Scratch, Viewport, wait_until};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{DynamicObject, ListParams, ObjectMeta, PostParams},
    core::GroupVersionKind,
    discovery::pinned_kind,
};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn jetstream_data_survives_a_restart_of_the_server() -> anyhow::Result<()> {
    let mut nats = Nats::start().await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let config = async_nats::jetstream::stream::Config {
        name: "PRICES".to_owned(),
        subjects: vec!["prices.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await?;
    jetstream.publish("prices.BTC", "1".into()).await?.await?;
    let url = nats.url();

    nats.restart().await?;

    assert_eq!(nats.url(), url);
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let mut stream = jetstream.get_stream("PRICES").await?;
    assert_eq!(stream.info().await?.state.messages, 1);

    nats.kill9();
    nats.restart().await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    assert_eq!(jetstream.get_stream("PRICES").await?.info().await?.state.messages, 1);
    Ok(())
}

#[tokio::test]
async fn a_config_that_nats_refuses_is_an_error_with_its_log() {
    let error = Nats::start_with("no_such_option: {").await.expect_err("nats-server must refuse");
    assert!(format!("{error:#}").contains("Parse error"), "{error:#}");
}

#[tokio::test]
async fn a_dropped_server_is_gone() -> anyhow::Result<()> {
    let nats = Nats::start().await?;
    let pid = nats.pid().expect("it runs");
    assert!(exists(pid));
    drop(nats);
    assert!(!exists(pid), "nats-server {pid} is still there");
    Ok(())
}

/// The test runs itself again, as a victim that starts a server, tells its process id and hangs.
#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() -> anyhow::Result<()> {
    if let Some(note) = std::env::var_os("VICTIM_NOTE") {
        return victim(note).await;
    }
    let notes = Scratch::new("notes")?;
    let note = notes.join("note");
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "a_killed_test_process_leaves_nothing_behind"])
        .env("VICTIM_NOTE", &note)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut text = String::new();
    wait_until(SOON, "the victim's note", async || {
        text = std::fs::read_to_string(&note).unwrap_or_default();
        text.ends_with('\n')
    })
    .await?;
    let (pid, folder) = text.trim().split_once(' ').expect("pid and folder");
    let pid: u32 = pid.parse()?;
    assert!(exists(pid) && Path::new(folder).exists());

    victim.kill()?;
    victim.wait()?;

    wait_until(SOON, "the end of the victim's server", async || !exists(pid)).await?;
    wait_until(SOON, "the removal of its files", async || !Path::new(folder).exists()).await
}

async fn victim(note: OsString) -> anyhow::Result<()> {
    let nats = Nats::start().await?;
    let log = nats.log();
    let folder = log.parent().expect("a folder").display();
    std::fs::write(note, format!("{} {folder}\n", nats.pid().expect("it runs")))?;
    std::future::pending().await
}

#[tokio::test]
async fn a_config_map_makes_the_round_trip() -> anyhow::Result<()> {
    let plane = ControlPlane::shared().await?;
    let namespace = plane.namespace("servers").await?;
    let maps = Api::<ConfigMap>::namespaced(plane.client().await?, &namespace);
    let sent = ConfigMap {
        metadata: ObjectMeta { name: Some("greeting".to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("hello".to_owned(), "world".to_owned())])),
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &sent).await?;
    assert_eq!(maps.get("greeting").await?.data, sent.data);
    plane.check_alive().await
}

#[tokio::test]
async fn an_applied_crd_is_served_at_once() -> anyhow::Result<()> {
    let plane = ControlPlane::shared().await?;
    let crd = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.test.dev" },
        "spec": {
            "group": "test.dev", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object" } } }],
        },
    }))?;
    plane.apply_crd(&crd).await?;
    let kind = GroupVersionKind::gvk("test.dev", "v1", "Widget");
    let (resource, _) = pinned_kind(&plane.client().await?, &kind).await?;
    let widgets = Api::<DynamicObject>::all_with(plane.client().await?, &resource);
    assert!(widgets.list(&ListParams::default()).await?.items.is_empty());
    Ok(())
}

#[tokio::test]
async fn rbac_applies_to_a_client_that_is_not_the_administrator() -> anyhow::Result<()> {
    let plane = ControlPlane::shared().await?;
    let client = plane.client_as("mallory", &["strangers", "guests"]).await?;
    let refused = Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await;
    let error = refused.expect_err("mallory may list nothing").to_string();
    assert!(error.contains("\"mallory\" cannot list"), "{error}");
    Ok(())
}

#[tokio::test]
async fn objects_survive_a_restart_of_the_api_server() -> anyhow::Result<()> {
    let plane = ControlPlane::start().await?;
    let namespace = plane.namespace("restart").await?;
    plane.restart_apiserver().await?;
    let maps = Api::<ConfigMap>::namespaced(plane.client().await?, &namespace);
    // Every namespace has one, made by the controllers.
    wait_until(SOON, "the CA bundle", async || maps.get("kube-root-ca.crt").await.is_ok()).await
}

#[tokio::test]
async fn the_browser_runs_a_page_and_reports_its_errors() -> anyhow::Result<()> {
    let browser = Chromium::start().await?;
    let html = "data:text/html,<meta name=viewport content=width=device-width><script>\
                setTimeout(()=>{document.title='late';console.error('broken',7);nothing()},50)</script>";
    let page = browser.open(html, Viewport::PHONE).await?;
    page.wait_for("document.title === 'late'", SOON).await?;
    assert_eq!(page.eval::<u32>("innerWidth").await?, Viewport::PHONE.width);
    wait_until(SOON, "two errors", async || page.console_errors().len() == 2).await?;
    assert_eq!(page.console_errors()[0], "broken 7");
    assert!(page.console_errors()[1].contains("nothing is not defined"));

    let scratch = Scratch::new("screenshot")?;
    let file = scratch.join("page.png");
    page.screenshot(&file).await?;
    assert!(std::fs::read(&file)?.starts_with(b"\x89PNG"));
    page.close().await
}
