//! The generator: a seed and a number yield one WsGateway, always the same (pure).

use fastrand::Rng;
use harness::merge;
use serde_json::{Map, Value, json};

use super::base::base;
use super::{parts, values};

/// A hostile WsGateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// What is wrong with it, above all.
    pub kind: &'static str,
    /// As it is sent.
    pub manifest: Value,
}

type Harm = fn(&mut Rng, &mut Value, &str);

/// Ways to do harm.
pub const HARMS: [(&str, Harm); 14] = [
    ("another type somewhere", |rng, it, _| replace(rng, it, |rng, _| values::anything(rng))),
    ("an extreme value somewhere", |rng, it, _| replace(rng, it, values::alike)),
    ("very many of something", |rng, it, _| replace_lists(rng, it)),
    ("a field left out", |rng, it, _| remove(rng, it)),
    ("fields that nobody knows", |rng, it, _| add(rng, it)),
    ("fields that contradict each other", |rng, it, _| {
        merge(place(it, &["spec"]), &parts::contradictions(rng))
    }),
    ("overrides that break the pods", |rng, it, _| {
        *place(it, &["spec", "pod", "overrides"]) = parts::overrides(rng)
    }),
    ("servers that are none", |rng, it, _| {
        *place(it, &["spec", "nats", "servers"]) = parts::servers(rng)
    }),
    ("subjects that cannot be", |rng, it, name| {
        *place(it, &["spec", "stream", "subjects"]) = parts::subjects(rng, name)
    }),
    ("metadata", |rng, it, _| merge(place(it, &["metadata"]), &parts::metadata(rng))),
    ("names", |rng, it, name| *place(it, &["metadata", "name"]) = parts::name(rng, name)),
    ("a status of its own", |rng, it, _| {
        *place(it, &["status"]) =
            json!({ "conditions": values::anything(rng), "replicas": values::number(rng) })
    }),
    ("a megabyte", |rng, it, _| large(rng, it)),
    ("no WsGateway at all", |rng, it, _| *it = nonsense(rng, it)),
];

/// The name of the WsGateway of this number, unless that is what is hostile about it.
#[must_use]
pub fn name(number: usize) -> String {
    format!("h{number:05}")
}

/// The hostile WsGateway of this number, which is to use the NATS at this URL.
#[must_use]
pub fn generate(seed: u64, number: usize, nats: &str) -> Made {
    let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
    let name = name(number);
    let mut manifest = base(&name, nats, rng.bool());
    let (kind, harm) = HARMS[number % HARMS.len()];
    harm(&mut rng, &mut manifest, &name);
    // Some do harm in several ways.
    while rng.u8(..4) == 0 {
        let (_, harm) = HARMS[rng.usize(..HARMS.len())];
        harm(&mut rng, &mut manifest, &name);
    }
    // Nobody but its author would remove it.
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("finalizers");
    }
    Made { kind, manifest }
}

/// The value at a path, where whatever is in the way becomes an object: an earlier harm may have put anything there.
fn place<'a>(it: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(it, |it, key| {
        if !it.is_object() {
            *it = json!({});
        }
        &mut it[*key]
    })
}

/// A value somewhere below `spec`, each as likely as another.
fn somewhere<'a>(
    rng: &mut Rng,
    it: &'a mut Value,
    fits: fn(&Value) -> bool,
) -> Option<&'a mut Value> {
    fn paths(value: &Value, here: &str, fits: fn(&Value) -> bool, all: &mut Vec<String>) {
        if fits(value) {
            all.push(here.to_owned());
        }
        let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, inner)| {
                paths(inner, &format!("{here}/{}", escape(key)), fits, all)
            }),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(at, inner)| paths(inner, &format!("{here}/{at}"), fits, all)),
            _ => {}
        }
    }
    let spec = it.get_mut("spec")?;
    let mut all = Vec::new();
    paths(spec, "", fits, &mut all);
    if all.is_empty() {
        return None;
    }
    spec.pointer_mut(&all[rng.usize(..all.len())])
}

fn replace(rng: &mut Rng, it: &mut Value, with: fn(&mut Rng, &Value) -> Value) {
    if let Some(place) = somewhere(rng, it, |_| true) {
        *place = with(rng, place);
    }
}

fn replace_lists(rng: &mut Rng, it: &mut Value) {
    if let Some(place) = somewhere(rng, it, |value| value.is_array() || value.is_object()) {
        *place = values::many(rng, place);
    }
}

fn filled(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| !fields.is_empty())
}

fn remove(rng: &mut Rng, it: &mut Value) {
    let Some(fields) = somewhere(rng, it, filled).and_then(Value::as_object_mut) else { return };
    let key = fields.keys().nth(rng.usize(..fields.len())).cloned();
    key.and_then(|key| fields.remove(&key));
}

fn add(rng: &mut Rng, it: &mut Value) {
    let value = values::anything(rng);
    let key = values::text(rng);
    if let Some(fields) = somewhere(rng, it, Value::is_object).and_then(Value::as_object_mut) {
        fields.insert(key, value);
    }
}

/// Near and beyond what etcd, and then the API server, takes.
fn large(rng: &mut Rng, it: &mut Value) {
    let size = [60_000, 400_000, 1_000_000, 1_600_000, 3_300_000][rng.usize(..5)];
    match rng.u8(..3) {
        0 => {
            let fields: Map<String, Value> = (0..size / 1_000)
                .map(|at| (format!("example.com/a{at}"), json!("x".repeat(980))))
                .collect();
            *place(it, &["spec", "pod", "annotations"]) = Value::Object(fields);
        }
        1 => {
            *place(it, &["spec", "pod", "overrides"]) =
                json!({ "metadata": { "annotations": { "a": "x".repeat(size) } } })
        }
        _ => *place(it, &["spec", "stream", "subjects"]) = json!(["x".repeat(size)]),
    }
}

fn nonsense(rng: &mut Rng, it: &Value) -> Value {
    match rng.u8(..7) {
        0 => json!([]),
        1 => Value::Null,
        2 => json!({}),
        3 => json!({ "kind": "List", "items": [it, it] }),
        4 => {
            json!({ "apiVersion": "wsgateway.dev/v2", "kind": "WsGateway", "metadata": it["metadata"], "spec": it["spec"] })
        }
        5 => {
            json!({ "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": it["metadata"], "spec": values::anything(rng) })
        }
        _ => {
            json!({ "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": it["metadata"] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATS: &str = "nats://127.0.0.1:4222";

    #[test]
    fn the_same_seed_and_number_yield_the_same_wsgateway_and_others_another() {
        assert_eq!(generate(7, 3, NATS), generate(7, 3, NATS));
        let differ = (0..200).filter(|at| generate(7, *at, NATS) != generate(8, *at, NATS)).count();
        assert!(differ > 150, "{differ}");
    }

    #[test]
    fn every_kind_is_made_and_none_is_larger_than_the_bound() {
        let mut kinds = std::collections::BTreeSet::new();
        for number in 0..2_000 {
            let made = generate(1, number, NATS);
            kinds.insert(made.kind);
            let size = made.manifest.to_string().len();
            assert!(size < 16 << 20, "{number}: {size}");
        }
        assert_eq!(kinds.len(), HARMS.len());
    }

    #[test]
    fn a_part_of_them_passes_the_checks_so_that_objects_are_made_of_them() {
        let passes = |number: &usize| {
            let made = generate(1, *number, NATS);
            let parsed = serde_json::from_value::<wsgateway_crds::WsGateway>(made.manifest);
            parsed.is_ok_and(|gateway| wsgateway_crds::validate(&gateway).is_ok())
        };
        let sound = (0..500).filter(passes).count();
        assert!((25..475).contains(&sound), "{sound} of 500");
    }
}
