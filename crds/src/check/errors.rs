//! Errors by field, collected rather than stopped at.

use std::fmt::Display;
use std::ops::RangeInclusive;

use wsgateway_config::Millis;

use crate::units;

/// A field that cannot work, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// Path of the field, such as `spec.stream.maxAge`.
    pub path: String,
    /// What to do.
    pub message: String,
}

impl FieldError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// What was found so far. Values handed out for broken fields are fillers: [`Errors::finish`] withholds them.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<FieldError>);

impl Errors {
    pub(super) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(FieldError::new(path, message));
    }

    /// Whether one of them is about a field or something in it.
    pub(super) fn within(&self, field: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.0.iter().any(|error| error.path.strip_prefix(field).is_some_and(inside))
    }

    pub(super) fn ensure(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.refuse(path, message);
        }
    }

    pub(super) fn value<T: Default, E: Display>(&mut self, path: &str, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| {
            self.refuse(path, error.to_string());
            T::default()
        })
    }

    pub(super) fn duration(&mut self, path: &str, text: &str) -> Millis {
        Millis(self.value(path, units::duration(text).map(|duration| duration.0)))
    }

    /// A duration within bounds; `message` says which and why.
    pub(super) fn duration_within(
        &mut self,
        path: &str,
        text: &str,
        bounds: RangeInclusive<Millis>,
        message: &str,
    ) -> Millis {
        match units::duration(text) {
            Ok(duration) if bounds.contains(&duration) => return duration,
            Ok(_) => self.refuse(path, message),
            Err(error) => self.refuse(path, error.to_string()),
        }
        Millis::default()
    }

    /// An amount of bytes within bounds; `message` says which and why.
    pub(super) fn size_within(
        &mut self,
        path: &str,
        text: &str,
        bounds: RangeInclusive<u32>,
        message: &str,
    ) -> u32 {
        match units::size(text).map(u32::try_from) {
            Ok(Ok(size)) if bounds.contains(&size) => return size,
            Ok(_) => self.refuse(path, message),
            Err(error) => self.refuse(path, error.to_string()),
        }
        0
    }

    /// A number within bounds, as the type that the rest of the program counts in.
    pub(super) fn number<F, T>(&mut self, path: &str, value: F, bounds: RangeInclusive<F>) -> T
    where
        F: Copy + PartialOrd + Display,
        T: Default + TryFrom<F>,
    {
        if bounds.contains(&value)
            && let Ok(number) = T::try_from(value)
        {
            return number;
        }
        self.refuse(path, format!("must be {} to {}; got {value}", bounds.start(), bounds.end()));
        T::default()
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<FieldError>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}
