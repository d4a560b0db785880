//! Which build this is, as a metric.

use prometheus::{IntGaugeVec, Opts, Registry};

/// The commit that this was built from, given to the build as WSGATEWAY_REVISION.
pub const REVISION: &str = match option_env!("WSGATEWAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Registers a gauge of this name that is always 1; its labels are the version and [`REVISION`].
///
/// # Errors
/// When there is a metric of that name.
pub fn register(registry: &Registry, name: &str, version: &str) -> prometheus::Result<()> {
    let options = Opts::new(name, "Always 1; the labels are the build.");
    let gauge = IntGaugeVec::new(options, &["version", "revision"])?;
    gauge.with_label_values(&[version, REVISION]).set(1);
    registry.register(Box::new(gauge))
}
