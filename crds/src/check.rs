//! From a manifest to a [`ValidGateway`], or every reason why not.

mod auth;
mod channels;
mod entry;
mod errors;
mod expose;
mod fleet;
mod limits;
mod names;
mod nats;
mod network;
mod overrides;
mod pod;
mod protocols;
mod redis;
mod stream;
mod tracing;

use kube::ResourceExt as _;
use wsgateway_config::{Log, Protocol};

pub use errors::FieldError;

use crate::{
    Asked, Derived, ValidGateway, ValidLimits, ValidNats, ValidRedis, ValidResources, ValidRollout,
    ValidSource, WsGateway, WsGatewaySpec, is_class_name,
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
    errors.ensure(
        spec.class.is_empty() || is_class_name(&spec.class),
        "spec.class",
        "is the name that an operator was given with --class: use up to 63 lower-case letters, digits and dashes, beginning \
         and ending with a letter or digit, or leave it out",
    );
    let autoscaling = fleet::autoscaling(spec, &mut errors);
    let mut limits = limits::limits(spec, &mut errors);
    let protocols = protocols::protocols(spec, &mut errors);
    let source = source(spec, &mut errors).unwrap_or_else(no_source);
    let pod = pod::pod(&spec.pod, &mut errors);
    let paces = fleet::paces(spec, &mut errors);
    let odin = protocols.served.contains(&Protocol::Odin);
    let derived = size(spec, &mut limits, odin, &pod.resources, &mut errors);
    let (tracing, tracing_headers) = tracing::tracing(spec, &mut errors);
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
        tls: fleet::tls(&spec.listener, &mut errors),
        derived,
        protocols,
        auth: auth::auth(spec, &mut errors),
        disconnects: Vec::new(),
        limits,
        log: Log { level: spec.log_level.into() },
        autoscaling,
        rollout: ValidRollout {
            drain: fleet::drain(&spec.rollout, &mut errors),
            connections_per_minute: paces.rollout,
        },
        scale_down_per_minute: paces.scale_down,
        rebalance: fleet::rebalance(&spec.rebalance, paces.rebalance, &mut errors),
        disruption: fleet::disruption(&spec.disruption, &mut errors),
        monitoring: fleet::monitoring(&spec.monitoring, &mut errors),
        tracing,
        tracing_headers,
        network: network::network(&spec.network, &mut errors),
        pod,
        expose: expose::expose(&spec.expose, &mut errors),
    };
    errors.finish(valid)
}

/// The NATS servers of a WsGateway with who we are to them, whatever is wrong elsewhere in it. `None` when there is none, or
/// `spec.nats` itself cannot work. Of the stream only the name counts, and that is not checked.
pub fn reachable(gateway: &WsGateway) -> Option<ValidNats> {
    let mut errors = Errors::default();
    let source = source(&gateway.spec, &mut errors)?;
    match source {
        ValidSource::Nats(nats) if !errors.within("spec.nats") => Some(*nats),
        ValidSource::Nats(_) | ValidSource::Redis(_) => None,
    }
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
        tls: spec.listener.tls.is_some(),
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

/// A filler, as for every field that cannot work.
fn no_source() -> ValidSource {
    ValidSource::Redis(Box::new(ValidRedis {
        servers: Vec::new(),
        channels: Vec::new(),
        username: None,
        password: None,
        ca: None,
        max_message_bytes: 0,
    }))
}

fn is_service_name(name: &str) -> bool {
    name.len() <= 50
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(nats: &str, rest: &str) -> Option<ValidNats> {
        let text = format!(
            "{{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {{name: tiny}}, \
             spec: {{nats: {{{nats}}}, {rest}}}}}"
        );
        let gateway = crate::parse(&text).unwrap();
        assert!(validate(&gateway).is_err());
        reachable(&gateway)
    }

    #[test]
    fn nats_is_reachable_whatever_is_wrong_elsewhere_but_not_if_it_is_wrong_itself() {
        let (good, overlapping) =
            ("servers: ['nats://nats']", "stream: {name: TINY, subjects: ['a.>', 'a.b']}");
        let reached_it = reached(good, overlapping).unwrap();
        assert_eq!(reached_it.servers, ["nats://nats"]);
        for wrong in ["servers: [nats]", "servers: ['nats://nats'], credentials: {key: a}"] {
            assert_eq!(reached(wrong, "stream: {name: TINY, subjects: ['a.>']}"), None, "{wrong}");
        }
    }
}
