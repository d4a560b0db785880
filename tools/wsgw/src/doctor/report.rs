//! What was found, for people and for programs (pure).

use serde::Serialize;

use crate::token::words::printable;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) step: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Check {
    pub(super) fn ok(step: &'static str, found: impl Into<String>) -> Self {
        Self { step, verdict: Verdict::Ok, found: found.into(), hint: None }
    }

    pub(super) fn warn(
        step: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { step, verdict: Verdict::Warn, found: found.into(), hint: Some(hint.into()) }
    }

    pub(super) fn fail(
        step: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { step, verdict: Verdict::Fail, found: found.into(), hint: Some(hint.into()) }
    }

    /// The line for people, and a second one with what to do.
    pub(super) fn lines(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let mut text = format!("{verdict:<5} {:<12} {}\n", self.step, printable(&self.found));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{:<18} -> {}\n", "", printable(hint)));
        }
        text
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) url: String,
    pub(super) ok: bool,
    pub(super) checks: &'a [Check],
}
