//! docs/configuration.md: every field stands there, with the default of the schema and an example that is accepted.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wsgateway_config::yaml;
use wsgateway_crds::{crd_yaml, parse, validate};

const GUIDE: &str = include_str!("../../docs/configuration.md");
const SAMPLE: &str = include_str!("../../manifests/samples/odin.yaml");

/// Cells of the rows whose first cell is a path, by path.
fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    let row = |line: &'static str| {
        let (path, cells) = line.strip_prefix("| `")?.strip_suffix('|')?.split_once("` |")?;
        Some((path, cells.split('|').map(str::trim).collect()))
    };
    GUIDE.lines().filter_map(row).collect()
}

fn schema() -> Value {
    let crd: Value = yaml::from_str(&crd_yaml().expect("a CRD")).expect("YAML that is read back");
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].clone()
}

/// The fields that a person writes, with their schemas.
fn leaves(path: &str, schema: &Value, found: &mut BTreeMap<String, Value>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(fields) = schema["properties"].as_object() {
        fields.iter().for_each(|(name, field)| leaves(&below(name), field, found));
    } else if schema["items"]["properties"].is_object() {
        leaves(&format!("{path}[]"), &schema["items"], found);
    } else {
        found.insert(path.to_owned(), schema.clone());
    }
}

fn spec_fields() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    leaves("", &schema()["spec"], &mut found);
    found
}

/// What stands between backticks.
fn quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn every_field_stands_in_the_guide_and_nothing_else_does() {
    let rows = rows();
    let fields = spec_fields();
    assert!(fields.len() > 40);
    for path in fields.keys() {
        assert!(rows.contains_key(path.as_str()), "{path} is missing in docs/configuration.md");
    }
    for path in rows.keys().filter(|path| !path.starts_with("status.")) {
        assert!(fields.contains_key(*path), "docs/configuration.md: there is no field {path}");
    }
    for name in schema()["status"]["properties"].as_object().unwrap().keys() {
        let path = format!("status.{name}");
        assert!(rows.contains_key(path.as_str()), "{path} is missing in docs/configuration.md");
    }
}

#[test]
fn the_guide_tells_the_defaults_of_the_schema() {
    let rows = rows();
    for (path, field) in spec_fields() {
        let told = rows[path.as_str()][2];
        match field.get("default").map(plain) {
            Some(default) if !default.is_empty() => {
                assert_eq!(quoted(told), Some(default.as_str()), "{path}")
            }
            _ => {
                assert!(!told.is_empty() && quoted(told).is_none(), "{path} has no default: {told}")
            }
        }
    }
}

/// Puts a value where a path says, first element of lists.
fn put(target: &mut Value, path: &str, value: &Value) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let mut place = &mut target[name.trim_end_matches("[]")];
    if name.ends_with("[]") {
        if place.is_null() {
            *place = json!([{}]);
        }
        place = &mut place[0];
    }
    if rest.is_empty() {
        *place = value.clone();
    } else {
        put(place, rest, value);
    }
}

/// Rules that only deny need a claim that allows, and a cookie pages.
fn auth_companions(path: &str) -> Option<(String, Value)> {
    let (other, value) = match path {
        "auth.channels[].deny" => ("auth.jwt.channelsClaim", json!("channels")),
        "auth.jwt.cookie" => ("listener.allowedOrigins", json!(["https://app.example.com"])),
        _ => return None,
    };
    Some((other.to_owned(), value))
}

/// What a field cannot go without: a key of a Secret its name, a class of load balancers one.
fn companions(path: &str) -> Vec<(String, Value)> {
    let Some((parent, field)) = path.rsplit_once('.') else { return Vec::new() };
    let others: &[(&str, &str)] = match parent {
        "autoscaling.schedule[]" => {
            let needed = [
                ("autoscaling.maxReplicas", json!(9)),
                ("autoscaling.schedule[].minReplicas", json!(9)),
                ("autoscaling.schedule[].cron", json!("0 9 * * *")),
            ];
            return needed.map(|(path, value)| (path.to_owned(), value)).into();
        }
        "autoscaling" | "autoscaling.scaleDown" | "autoscaling.keda" => {
            return vec![
                ("autoscaling.maxReplicas".to_owned(), json!(9)),
                ("autoscaling.keda.prometheusAddress".to_owned(), json!("http://prometheus:9090")),
            ];
        }
        "pod.tolerations[]" => &[("key", "dedicated"), ("effect", "NoExecute")],
        "pod.topologySpread[]" => {
            &[("topologyKey", "rack"), ("whenUnsatisfiable", "DoNotSchedule")]
        }
        "tracing" | "tracing.headersSecret" => {
            return vec![
                ("tracing.endpoint".to_owned(), json!("http://collector:4318")),
                ("tracing.headersSecret.name".to_owned(), json!("collector")),
            ];
        }
        _ if path.starts_with("auth.") || path == "capacity.connectionsPerUser" => {
            let mut needed = vec![
                ("auth.jwt.algorithms".to_owned(), json!(["RS256"])),
                (
                    "auth.jwt.keys[].secret".to_owned(),
                    json!({ "name": "odin-jwt", "key": "key.pem" }),
                ),
            ];
            if path.starts_with("auth.channels") {
                needed.push(("auth.channels[].match".to_owned(), json!(">")));
            }
            needed.extend(auth_companions(path));
            if path.starts_with("auth.jwt.jwks") {
                needed.push((
                    "auth.jwt.jwks.url".to_owned(),
                    json!("https://login.example.com/keys"),
                ));
                needed.push(("auth.jwt.jwks.caSecret.name".to_owned(), json!("issuer-ca")));
            }
            return needed;
        }
        "expose.service" => &[("type", "LoadBalancer")],
        "listener" if field == "proxyProtocol" => {
            return vec![("listener.trustedProxies".to_owned(), json!(["10.0.0.0/8"]))];
        }
        "expose.httpRoute" | "expose.httpRoute.parentRefs[]" => {
            return vec![("expose.httpRoute.parentRefs[].name".to_owned(), json!("public"))];
        }
        _ if parent.starts_with("nats.") && !["name", "handshakeFirst"].contains(&field) => {
            &[("name", "odin-nats")]
        }
        _ => &[],
    };
    others.iter().map(|(name, value)| (format!("{parent}.{name}"), json!(value))).collect()
}

/// Messages come from Redis, with everything that one of its fields may ask of the others.
fn instead_of_nats(spec: &mut Value, path: &str) {
    for source in ["nats", "stream"] {
        spec.as_object_mut().expect("an object").remove(source);
    }
    spec["channels"]["stripPrefix"] = json!("");
    let secret = json!({ "name": "redis", "key": "key" });
    spec["redis"] = json!({
        "servers": ["rediss://redis"], "channels": ["*"], "passwordSecret": secret,
    });
    if path.starts_with("redis.caSecret") {
        spec["redis"]["caSecret"] = secret;
    }
}

#[test]
fn every_example_of_the_guide_is_accepted() {
    for path in spec_fields().keys() {
        let example = quoted(rows()[path.as_str()][3]).expect("an example");
        let mut manifest: Value = yaml::from_str(SAMPLE).unwrap();
        // What some fields cannot go without.
        put(&mut manifest["spec"], "channels.rules[].match", &json!(">"));
        put(&mut manifest["spec"], "channels.rules[].delivery", &json!("Latest"));
        for (other, value) in companions(path) {
            put(&mut manifest["spec"], &other, &value);
        }
        if path.starts_with("redis.") {
            instead_of_nats(&mut manifest["spec"], path);
        }
        put(&mut manifest["spec"], path, &yaml::from_str(example).unwrap());
        let checked =
            parse(&yaml::to_string(&manifest).unwrap()).and_then(|gateway| validate(&gateway));
        assert!(checked.is_ok(), "{path}: {example}: {checked:?}");
    }
}

#[test]
fn the_manifest_of_the_guide_is_accepted() {
    let manifest = GUIDE.split("```").find_map(|block| block.strip_prefix("yaml\n")).unwrap();
    validate(&parse(manifest).unwrap()).unwrap();
}

#[test]
fn the_guide_tells_the_memory_that_the_operator_asks_for() {
    let manifest = GUIDE.split("```").find_map(|block| block.strip_prefix("yaml\n")).unwrap();
    let derived = validate(&parse(manifest).unwrap()).unwrap().derived;
    let told = format!("{} MiB requested", derived.memory_request >> 20);
    assert!(GUIDE.contains(&told), "{told}");
}
