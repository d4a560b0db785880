//! Logs: one line an event on stderr, JSON for machines and text for people.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Environment variable that chooses `json` or `text`; without it, text on a terminal and JSON elsewhere.
pub const FORMAT_VARIABLE: &str = "WSGATEWAY_LOG_FORMAT";

/// What is logged without `RUST_LOG`. async-nats logs every lost server at info and error; we log states ourselves.
const DEFAULT_FILTER: &str = "info,async_nats=warn";

/// Installs the subscriber of the process. Later calls change nothing, so that tests may call it freely.
pub fn init(program: &'static str) {
    init_with(program, DEFAULT_FILTER);
}

/// As [`init`], with another filter for when `RUST_LOG` is not set.
pub fn init_with(program: &'static str, default_filter: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let text = match std::env::var(FORMAT_VARIABLE).as_deref() {
        Ok("text") => true,
        Ok("json") => false,
        _ => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = if text {
        builder.with_target(false).try_init().is_ok()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init().is_ok()
    };
    if installed {
        tracing::debug!(program, "logging");
    }
}
