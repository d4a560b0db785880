//! Logs: one line an event on stderr, JSON for machines and text for people.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

/// Environment variable that chooses `json` or `text`; without it, text on a terminal and JSON elsewhere.
pub const FORMAT_VARIABLE: &str = "WSGATEWAY_LOG_FORMAT";

/// What is logged without `RUST_LOG`.
const DEFAULT_FILTER: &str = "info,async_nats=warn";

/// In every filter of ours: async-nats logs every lost server at info and error; we log states ourselves.
const QUIET: &str = "async_nats=warn";

/// Changes the filter of the process's subscriber; says whether that worked.
type Reload = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static RELOAD: OnceLock<Reload> = OnceLock::new();

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
    let (installed, reload): (bool, Reload) = if text {
        let builder = builder.with_target(false).with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init().is_ok(), Box::new(move |filter| handle.reload(filter).is_ok()))
    } else {
        let builder = builder.json().flatten_event(true).with_current_span(false);
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        (builder.try_init().is_ok(), Box::new(move |filter| handle.reload(filter).is_ok()))
    };
    if installed {
        drop(RELOAD.set(reload));
        tracing::debug!(program, "logging");
    }
}

/// Logs events of a level and above from now on: `error`, `warn`, `info` or `debug`. Returns whether it does: whoever set
/// `RUST_LOG` has chosen, and another subscriber than that of [`init`] is not ours to change.
pub fn set_level(level: &str) -> bool {
    if EnvFilter::try_from_default_env().is_ok() {
        return false;
    }
    let filter = EnvFilter::new(format!("{level},{QUIET}"));
    RELOAD.get().is_some_and(|reload| reload(filter))
}
