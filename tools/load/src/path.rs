//! Paths into JSON messages of other servers: `data.items.0.seq` (pure).

use serde_json::Value;

/// What a path leads to.
#[must_use]
pub fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(step),
        _ => None,
    })
}

/// The same as a whole number; digits in quotes and fractions of a unit count, too.
#[must_use]
pub fn number(value: &Value, path: &str, unit: u64) -> Option<u64> {
    let value = find(value, path)?;
    if let Some(number) = value.as_u64() {
        return number.checked_mul(unit);
    }
    let number = match value {
        Value::String(text) => match text.parse::<u64>() {
            Ok(number) => return number.checked_mul(unit),
            Err(_) => text.parse::<f64>().ok()?,
        },
        _ => value.as_f64()?,
    };
    (number.is_finite() && number >= 0.0).then_some((number * unit as f64) as u64)
}

/// The same as a name: text as it is, anything else as JSON.
#[must_use]
pub fn text(value: &Value, path: &str) -> Option<String> {
    find(value, path).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_objects_and_arrays() {
        let value =
            serde_json::json!({"a": [{"seq": 7}, {"t": "1.5", "u": "12"}], "b": -1, "c": "x"});
        assert_eq!(number(&value, "a.0.seq", 1), Some(7));
        assert_eq!(number(&value, "a.1.t", 1_000), Some(1_500));
        assert_eq!(number(&value, "a.1.u", 1_000), Some(12_000));
        for none in ["", "a", "a.2.seq", "a.x", "b", "c", "c.d"] {
            assert_eq!(number(&value, none, 1), None, "{none}");
        }
        assert_eq!(text(&value, "c").as_deref(), Some("x"));
        assert_eq!(text(&value, "a.0.seq").as_deref(), Some("7"));
    }
}
