//! What is applied again changes nothing, as those need who keep a release by Git.

use anyhow::{Context as _, Result};
use kube::api::PatchParams;
use serde_json::{Value, json};

use super::{
    cluster::{apply, plane},
    helm::rendered,
    values::SETTINGS,
};

/// Paths at which what is there is not what was rendered. What the server adds is none of them.
fn differences(path: &str, rendered: &Value, live: &Value, found: &mut Vec<String>) {
    match (rendered, live) {
        (Value::Object(rendered), Value::Object(live)) => {
            // Null is how a user says that there is to be nothing.
            for (name, value) in rendered.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}.{name}");
                match live.get(name) {
                    Some(live) => differences(&path, value, live, found),
                    None => found.push(format!("{path}: rendered {value}, and not there")),
                }
            }
        }
        (Value::Array(rendered), Value::Array(live)) if rendered.len() == live.len() => {
            for (at, (rendered, live)) in rendered.iter().zip(live).enumerate() {
                differences(&format!("{path}[{at}]"), rendered, live, found);
            }
        }
        _ if rendered == live => {}
        _ => found.push(format!("{path}: rendered {rendered}, there is {live}")),
    }
}

#[tokio::test]
async fn what_is_rendered_comes_back_as_it_is_and_a_second_apply_writes_nothing() -> Result<()> {
    let plane = plane().await?;
    let client = plane.client().await?;
    let parameters = PatchParams::apply("again").force().validation_strict();
    let mut found = Vec::new();
    for (at, settings) in SETTINGS.iter().enumerate() {
        let namespace = plane.namespace("again").await?;
        let name = format!("fullnameOverride=again-{at}");
        let settings: Vec<&str> = settings.iter().copied().chain([name.as_str()]).collect();
        for mut object in rendered(&settings)? {
            let metadata = &object["metadata"];
            // What is for a moment only is created once; the definition is shared with other tests.
            if metadata["annotations"]["helm.sh/hook"].is_string()
                || object["kind"] == "CustomResourceDefinition"
            {
                continue;
            }
            if metadata["namespace"].is_string() && metadata["namespace"] != "kube-system" {
                object["metadata"]["namespace"] = json!(namespace);
            }
            let what = format!("{} with {settings:?}", object["kind"]);
            let first = apply(&client, &object, &namespace, &parameters).await;
            let first = first.with_context(|| what.clone())?;
            differences(&what, &object, &serde_json::to_value(&first)?, &mut found);
            let second = apply(&client, &object, &namespace, &parameters).await?;
            // The Deployment has a controller, which writes its status.
            if first.metadata.generation != second.metadata.generation {
                found.push(format!("{what}: a second apply is another generation"));
            }
            let managed = |object: &kube::api::DynamicObject| {
                let fields = object.metadata.managed_fields.clone().unwrap_or_default();
                fields.into_iter().find(|entry| entry.manager.as_deref() == Some("again"))
            };
            if managed(&first) != managed(&second) {
                found.push(format!("{what}: a second apply wrote"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}
