//! The one place that touches a YAML library, so that it can be exchanged (ADR 0003).

use serde::{Serialize, de::DeserializeOwned};

use crate::ConfigError;

mod every;
mod tree;

pub use every::{Everything, everything};
pub(crate) use tree::Tree;

/// Reads one YAML (or JSON) document; the error names the path of the offending field.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    let document = serde_yaml::Deserializer::from_str(text);
    serde_path_to_error::deserialize(document)
        .map_err(|error| shape(error.path().to_string(), &error.inner().to_string()))
}

/// Writes a value as YAML.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, ConfigError> {
    serde_yaml::to_string(value).map_err(|error| unwritable(&error))
}

fn shape(path: String, message: &str) -> ConfigError {
    // The library names a path of its own, often the same one, or that of the field above.
    let named = message.split_once(": ").filter(|(own, _)| path.starts_with(own));
    let message = without_credentials(named.map_or(message, |(_, rest)| rest));
    ConfigError::Shape { path, message }
}

/// A message of the library, which may repeat a value, without what stands between `://` and `@` in it.
fn without_credentials(message: &str) -> String {
    let mut parts = message.split("://");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |c: char| c.is_whitespace() || "/\"'`,".contains(c);
        let authority = part.split(ends).next().unwrap_or_default();
        let rest = authority.rfind('@').and_then(|at| part.get(at..));
        text.push_str("://");
        text.push_str(rest.map_or("", |_| "…"));
        text.push_str(rest.unwrap_or(part));
    }
    text
}

fn unwritable(error: &serde_yaml::Error) -> ConfigError {
    ConfigError::Shape { path: ".".to_owned(), message: error.to_string() }
}
