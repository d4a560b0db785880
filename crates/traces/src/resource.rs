//! Who sends the spans.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;

/// Who a process is, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say otherwise.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `service.name`.
    pub service: &'static str,
    /// `service.instance.id`: the pod.
    pub instance: String,
    /// Further attributes.
    pub attributes: Vec<KeyValue>,
}

/// The resource of a process's spans.
pub fn resource(identity: &Identity) -> Resource {
    let own = [
        KeyValue::new("service.name", identity.service),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", identity.instance.clone()),
    ];
    let named = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    // What is added later comes before what was there.
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(identity.attributes.clone())
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|name| KeyValue::new("service.name", name)))
        .build()
}
