//! docs/ingress.md: every sample that exposes a gateway is explained there, and what it shows are objects.

use serde::Deserialize;
use serde_json::Value;
use wsgateway_config::yaml;

const RECIPES: &str = include_str!("../../docs/ingress.md");
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Value,
}

#[allow(clippy::unwrap_used, reason = "the files of this repository")]
fn exposed() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    });
    names.filter(|(name, _)| name.starts_with("expose-")).collect()
}

#[test]
fn every_sample_that_exposes_a_gateway_is_explained() {
    let samples = exposed();
    assert!(samples.len() >= 5);
    for (name, sample) in samples {
        assert!(RECIPES.contains(&format!("](../manifests/samples/{name})")), "{name}");
        let annotations = sample["spec"]["expose"]["ingress"]["annotations"].as_object();
        for timeout in annotations.into_iter().flatten().map(|(key, _)| key) {
            let known = RECIPES.contains(timeout) || !timeout.contains("timeout");
            assert!(known, "{name}: {timeout} is not explained");
        }
    }
}

#[test]
fn what_the_recipes_show_are_objects_of_some_kind() {
    let blocks: Vec<&str> =
        RECIPES.split("```").filter_map(|block| block.strip_prefix("yaml\n")).collect();
    assert!(blocks.len() >= 3);
    for document in blocks.iter().flat_map(|block| block.split("\n---\n")) {
        let object: Object =
            yaml::from_str(document).unwrap_or_else(|error| panic!("{error}: {document}"));
        assert!(object.api_version.contains('/') && !object.kind.is_empty(), "{document}");
        assert!(object.metadata["name"].is_string(), "{document}");
    }
}
