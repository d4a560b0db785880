//! Logs: one line an event on stderr, JSON for machines and text for people.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Environment variable that chooses `json` or `text`; without it, text on a terminal and JSON elsewhere.
pub const FORMAT_VARIABLE: &str = "WSGATEWAY_LOG_FORMAT";

/// What is logged without `RUST_LOG`.
const DEFAULT_FILTER: &str = "info,async_nats=warn";

/// In every filter of ours: async-nats logs every lost server at info and error; we log states ourselves.
const QUIET: &str = "async_nats=warn";

/// Changes the filter of the process's subscriber; says whether that worked.
type Reload = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// Target of spans that are traced and in no log.
pub const SPANS: &str = "wsgateway_spans";

static RELOAD: OnceLock<Reload> = OnceLock::new();

/// Installs the subscriber of the process. Later calls change nothing, so that tests may call it freely.
pub fn init(program: &'static str) {
    init_with(program, DEFAULT_FILTER);
}

/// As [`init`], with another filter for when `RUST_LOG` is not set.
pub fn init_with(program: &'static str, default_filter: &str) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(without_spans(filter))
        .with_writer(std::io::stderr);
    let (installed, reload): (bool, Reload) = if is_text() {
        let builder = builder.with_target(false).with_filter_reloading();
        let handle = builder.reload_handle();
        (
            builder.try_init().is_ok(),
            Box::new(move |filter| handle.reload(without_spans(filter)).is_ok()),
        )
    } else {
        let builder = builder.json().flatten_event(true).with_current_span(false);
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        (
            builder.try_init().is_ok(),
            Box::new(move |filter| handle.reload(without_spans(filter)).is_ok()),
        )
    };
    if installed {
        drop(RELOAD.set(reload));
        tracing::debug!(program, "logging");
    }
}

/// As [`init`], with a layer that takes spans of the target [`SPANS`] up.
pub fn init_traced(program: &'static str, layer: Box<dyn Layer<Registry> + Send + Sync>) {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Per layer, or a log that shows less would leave less to trace.
    let (filter, handle) = tracing_subscriber::reload::Layer::new(without_spans(filter));
    let subscriber = tracing_subscriber::registry().with(layer);
    let installed = if is_text() {
        subscriber.with(lines.with_target(false).with_filter(filter)).try_init().is_ok()
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(false);
        subscriber.with(lines.with_filter(filter)).try_init().is_ok()
    };
    if installed {
        let reload = move |filter| handle.reload(without_spans(filter)).is_ok();
        drop(RELOAD.set(Box::new(reload)));
        tracing::debug!(program, "logging with traces");
    }
}

fn without_spans(filter: EnvFilter) -> EnvFilter {
    match format!("{SPANS}=off").parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

fn is_text() -> bool {
    match std::env::var(FORMAT_VARIABLE).as_deref() {
        Ok("text") => true,
        Ok("json") => false,
        _ => std::io::stderr().is_terminal(),
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
