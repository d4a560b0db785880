//! Whether an object in the cluster is as we want it already, so that an operator that has just started need not write it.
//!
//! Two things show it: the mark of our last write is of the same desired object, so that nothing is left of an older one;
//! and the live object says the same in every field that we want, so that nobody has changed it since. Pure. A difference
//! that means nothing costs a write that changes nothing, so only quantities are compared by what they mean.

use serde_json::Value;
use wsgateway_config::fingerprint;

/// Annotation with the mark of the desired object as it was last written.
pub(crate) const APPLIED: &str = "wsgateway.dev/applied";

/// The mark of a desired object, the same in every build of the operator: the fingerprint of its JSON.
pub(crate) fn mark(desired: &Value) -> String {
    fingerprint(&[&desired.to_string()])
}

/// Whether `live` is `desired`, which carries its mark, and what the API server and others have added.
pub(crate) fn is_as(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired.iter().all(|(key, value)| {
            // What is empty may be left out.
            live.get(key).map_or_else(|| is_empty(value), |found| is_as(value, found))
        }),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(value, found)| is_as(value, found))
        }
        (Value::String(desired), Value::String(live)) => {
            desired == live
                || quantity(desired).is_some_and(|amount| quantity(live) == Some(amount))
        }
        _ => desired == live,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A quantity in thousandths: the API server writes 8000 as 8k.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let thousandths: i128 = match unit {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || whole.len() > 15 || part.len() > 9 || part.contains('.') {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    let digits: i128 = format!("{whole}{part}").parse().ok()?;
    Some(digits * thousandths / scale)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::added_fields(json!({ "a": 1 }), json!({ "a": 1, "status": {} }), true)]
    #[case::added_below(json!({ "a": [{ "b": 1 }] }), json!({ "a": [{ "b": 1, "protocol": "TCP" }] }), true)]
    #[case::another_value(json!({ "a": 1 }), json!({ "a": 2 }), false)]
    #[case::a_missing_field(json!({ "a": 1 }), json!({}), false)]
    #[case::an_added_item(json!({ "a": [1] }), json!({ "a": [1, 2] }), false)]
    #[case::another_order(json!({ "a": [1, 2] }), json!({ "a": [2, 1] }), false)]
    #[case::a_field_that_is_empty(json!({ "a": {}, "b": [], "c": null }), json!({}), true)]
    #[case::a_quantity(json!({ "a": "8000" }), json!({ "a": "8k" }), true)]
    #[case::another_quantity(json!({ "a": "8000" }), json!({ "a": "8001" }), false)]
    #[case::no_quantity(json!({ "a": "8000x" }), json!({ "a": "8kx" }), false)]
    #[case::a_string_for_a_number(json!({ "a": 1 }), json!({ "a": "1" }), false)]
    fn a_live_object_is_as_desired_or_it_is_not(
        #[case] desired: Value,
        #[case] live: Value,
        #[case] expected: bool,
    ) {
        assert_eq!(is_as(&desired, &live), expected);
    }

    #[test]
    fn quantities_are_the_same_in_whatever_unit() {
        for (one, other) in [
            ("1", "1000m"),
            ("1.5Gi", "1536Mi"),
            ("2500", "2.5k"),
            ("0.250", "250m"),
            ("1Ti", "1024Gi"),
        ] {
            assert_eq!(quantity(one), quantity(other), "{one} {other}");
            assert!(quantity(one).is_some());
        }
        for text in ["", "m", ".", "1.2.3", "-1", "1e3", "9999999999999999", "text"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn the_mark_is_of_the_content() {
        assert_eq!(mark(&json!({ "b": 1, "a": 2 })), mark(&json!({ "a": 2, "b": 1 })));
        assert_ne!(mark(&json!({ "a": 1 })), mark(&json!({ "a": 2 })));
        assert_eq!(mark(&json!({})).len(), 16);
    }
}
