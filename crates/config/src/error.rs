//! Why a configuration was refused, with the path of the field to change.

/// A configuration that cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not YAML of the expected shape: unknown key, wrong type, missing field.
    #[error("{path}: {message}")]
    Shape {
        /// Path of the field, such as `listener.port`; `.` for the document itself.
        path: String,
        /// What the parser found.
        message: String,
    },
    /// The value has the right type but cannot work.
    #[error("{path}: {message}")]
    Value {
        /// Path of the field, such as `capacity.connections` or `channels.rules[2].match`.
        path: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

impl ConfigError {
    pub(crate) fn value(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Value { path: path.into(), message: message.into() }
    }
}
