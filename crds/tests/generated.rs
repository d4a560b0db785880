//! The generated CRD: it is the committed one, and every field is described and bounded.

use serde_json::Value;
use wsgateway_config::yaml;
use wsgateway_crds::{CRD_NAME, crd_yaml, gateway_config, parse, validate};

const COMMITTED: &str = include_str!("../wsgateways.yaml");

fn crd() -> Value {
    yaml::from_str(&crd_yaml().expect("the CRD is YAML")).expect("YAML that is read back")
}

fn spec_schema(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

#[test]
fn the_committed_crd_is_the_generated_one() {
    assert!(crd_yaml().unwrap() == COMMITTED, "crds/wsgateways.yaml is stale: run make generate");
}

#[test]
fn the_crd_stays_far_below_what_an_annotation_or_etcd_can_hold() {
    assert!(COMMITTED.len() < 200_000, "{} bytes", COMMITTED.len());
    assert_eq!(crd()["metadata"]["name"], CRD_NAME);
}

#[test]
fn every_field_is_described_and_every_string_list_map_and_number_is_bounded() {
    let crd = crd();
    let mut problems = Vec::new();
    visit("spec", spec_schema(&crd), &mut problems);
    assert_eq!(problems, [""; 0]);
}

fn visit(path: &str, schema: &Value, problems: &mut Vec<String>) {
    let has = |key: &str| schema.get(key).is_some();
    let bounded = match schema["type"].as_str() {
        Some("string") => has("maxLength") || has("enum"),
        Some("array") => has("maxItems"),
        Some("integer") => has("minimum") || has("enum"),
        Some("object") => has("properties") || has("maxProperties"),
        _ => true,
    };
    if !bounded {
        problems.push(format!("{path} is not bounded"));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if field["description"].as_str().is_none_or(str::is_empty) {
            problems.push(format!("{path} is not described"));
        }
        visit(&path, field, problems);
    }
    for child in ["items", "additionalProperties"] {
        if let Some(child_schema) = schema.get(child) {
            visit(&format!("{path}.{child}"), child_schema, problems);
        }
    }
}

#[test]
fn numbers_have_formats_that_kubernetes_knows() {
    let text = crd_yaml().unwrap();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("format: ")) {
        assert!(["int32", "int64", "date-time"].contains(&line), "format {line}");
    }
}

#[test]
fn the_sample_becomes_this_configuration() {
    let gateway = parse(include_str!("../../manifests/samples/odin.yaml")).unwrap();
    let config = gateway_config(&validate(&gateway).unwrap());
    config.check().unwrap();
    insta::assert_snapshot!(config.render().unwrap());
}

#[test]
fn a_manifest_with_only_what_is_required_becomes_this_configuration() {
    let text = "{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {name: tiny}, \
                spec: {nats: {servers: ['nats://nats'] }, stream: {name: TINY, subjects: ['tiny.>']}}}";
    let valid = validate(&parse(text).unwrap()).unwrap();
    insta::assert_snapshot!(gateway_config(&valid).render().unwrap());
    insta::assert_debug_snapshot!(valid.source.nats().unwrap().stream);
}
