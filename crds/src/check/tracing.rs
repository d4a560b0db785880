//! Rules of traces.

use wsgateway_config::{MAX_TRACES_PER_SECOND, OtlpEndpoint, Tracing};

use super::errors::Errors;
use super::nats::secret_key;
use crate::{SecretKey, WsGatewaySpec};

pub(super) fn tracing(spec: &WsGatewaySpec, errors: &mut Errors) -> (Tracing, Option<SecretKey>) {
    let Some(tracing) = &spec.tracing else { return (Tracing::default(), None) };
    errors.ensure(
        spec.redis.is_none(),
        "spec.tracing",
        "follows headers of NATS messages, and Redis carries none: leave tracing out",
    );
    if let Err(error) = OtlpEndpoint::parse(&tracing.endpoint) {
        errors.refuse("spec.tracing.endpoint", error.to_string());
    }
    let most: u32 = errors.number(
        "spec.tracing.maxPerSecond",
        tracing.max_per_second,
        1..=MAX_TRACES_PER_SECOND as i32,
    );
    let headers = tracing.headers_secret.as_ref().map(|secret| {
        secret_key("spec.tracing.headersSecret", &secret.name, ("key", &secret.key), errors)
    });
    (Tracing { endpoint: Some(tracing.endpoint.clone()), max_per_second: most }, headers)
}
