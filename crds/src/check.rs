//! From a manifest to a [`ValidGateway`], or every reason why not.

mod channels;
mod errors;
mod expose;
mod fleet;
mod limits;
mod names;
mod nats;
mod overrides;
mod pod;
mod protocols;
mod redis;
mod stream;

use kube::ResourceExt as _;
use wsgateway_config::Protocol;

pub use errors::FieldError;

use crate::{
    Asked, Derived, ValidGateway, ValidLimits, ValidNats, ValidResources, ValidSource, WsGateway,
    WsGatewaySpec,
};
use errors::Errors;

/// Checks a WsGateway as a whole.
///
/// # Errors
/// Every field that cannot work, with its path and what to write instead.
pub fn validate(gateway: &WsGateway) -> Result<ValidGateway, Vec<FieldError>> {
    let mut errors = Errors::default();
    let spec = &gateway.spec;
    let name = gateway.name_any();
    errors.ensure(
        is_service_name(&name),
        "metadata.name",
        "becomes the name of Services: use up to 50 lower-case letters, digits and dashes, beginning with a letter and \
         not ending with a dash",
    );
    let autoscaling = fleet::autoscaling(spec, &mut errors);
    let mut limits = limits::limits(spec, &mut errors);
    let protocols = protocols::protocols(spec, &mut errors);
    let Some(source) = source(spec, &mut errors) else { return errors.none() };
    let pod = pod::pod(&spec.pod, &mut errors);
    let odin = protocols.served.contains(&Protocol::Odin);
    let derived = size(spec, &mut limits, odin, &pod.resources, &mut errors);
    let valid = ValidGateway {
        namespace: gateway.namespace().unwrap_or_else(|| "default".to_owned()),
        name,
        uid: gateway.uid().unwrap_or_default(),
        generation: gateway.metadata.generation.unwrap_or_default(),
        replicas: errors.number("spec.replicas", spec.replicas, 0..=1000),
        source,
        strip_prefix: channels::strip_prefix(spec, &mut errors),
        rules: channels::rules(spec, &mut errors),
        path: fleet::path(&spec.listener, &mut errors),
        port: fleet::port(&spec.listener, &mut errors),
        derived,
        protocols,
        limits,
        autoscaling,
        monitoring: fleet::monitoring(&spec.monitoring, &mut errors),
        pod,
        expose: expose::expose(&spec.expose, &mut errors),
    };
    errors.finish(valid)
}

/// What a pod needs, and how much history fits into it.
fn size(
    spec: &WsGatewaySpec,
    limits: &mut ValidLimits,
    odin: bool,
    resources: &ValidResources,
    errors: &mut Errors,
) -> Derived {
    let connections = errors.number(
        "spec.capacity.connectionsPerPod",
        spec.capacity.connections_per_pod,
        1..=1_000_000,
    );
    let target =
        spec.autoscaling.as_ref().and_then(|autoscaling| autoscaling.target_connections_per_pod);
    let derived = Derived::new(&Asked {
        connections,
        limits,
        history_may_shrink: spec.history.bytes.is_none(),
        odin,
        target: target.and_then(|target| u32::try_from(target).ok()),
        memory_request: resources.memory_request,
        memory_limit: resources.memory_limit,
    });
    let derived = errors.value("spec.pod.resources.limits.memory", derived);
    limits.history.bytes = derived.history_bytes;
    derived
}

/// The one source that is given; None, with the error noted, when it is none or more than one.
fn source(spec: &WsGatewaySpec, errors: &mut Errors) -> Option<ValidSource> {
    match (&spec.nats, &spec.stream, &spec.redis) {
        (Some(nats), Some(stream), None) => Some(ValidSource::Nats(Box::new(ValidNats {
            servers: stream::servers(nats, errors),
            credentials: nats::credentials(nats, errors),
            tls: nats::tls(nats, errors),
            api_prefix: nats::api_prefix(nats, errors),
            inbox_prefix: nats::inbox_prefix(nats, errors),
            stream: stream::stream(stream, errors),
            adoption: stream.adoption_policy,
            deletion: stream.deletion_policy,
        }))),
        (None, None, Some(redis)) => {
            Some(ValidSource::Redis(Box::new(redis::redis(redis, errors))))
        }
        (_, _, Some(_)) => {
            errors.refuse("spec.redis", "stands for itself: leave nats and stream out, or redis");
            None
        }
        (None, _, None) => {
            errors.refuse("spec.nats", "is missing: give nats and stream, or redis alone");
            None
        }
        (Some(_), None, None) => {
            errors.refuse("spec.stream", "is missing: give nats and stream, or redis alone");
            None
        }
    }
}

fn is_service_name(name: &str) -> bool {
    name.len() <= 50
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
