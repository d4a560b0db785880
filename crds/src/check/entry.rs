//! Rules of who may come in at the clients' port, and how often.

use std::collections::BTreeSet;

use wsgateway_config::{
    AcceptRate, Accepts, HOST_HINT, MAX_ACCEPTS, MAX_NETWORKS, MAX_ORIGINS, Network, ORIGIN_HINT,
    ProxyProtocol, is_host_pattern, is_origin_pattern,
};

use super::errors::Errors;
use crate::spec::AcceptRate as Spec;
use crate::{ValidEntry, WsGatewaySpec};

pub(super) fn entry(spec: &WsGatewaySpec, errors: &mut Errors) -> ValidEntry {
    let (listener, rates) = (&spec.listener, &spec.rate_limits);
    let (origins, hosts) = (&listener.allowed_origins, &listener.allowed_hosts);
    errors.ensure(
        are_good(origins, is_origin_pattern),
        "spec.listener.allowedOrigins",
        &format!("are at most {MAX_ORIGINS} different origins: {ORIGIN_HINT}"),
    );
    errors.ensure(
        are_good(hosts, is_host_pattern),
        "spec.listener.allowedHosts",
        &format!("are at most {MAX_ORIGINS} different hosts: {HOST_HINT}"),
    );
    let proxy_protocol = listener.proxy_protocol.into();
    errors.ensure(
        proxy_protocol == ProxyProtocol::None || !listener.trusted_proxies.is_empty(),
        "spec.listener.proxyProtocol",
        "needs listener.trustedProxies, or anybody could write any address: list the networks that the load balancer \
         connects from",
    );
    ValidEntry {
        allowed_origins: origins.clone(),
        allowed_hosts: hosts.clone(),
        trusted_proxies: networks(
            "spec.listener.trustedProxies",
            &listener.trusted_proxies,
            errors,
        ),
        forwarded_header: listener.forwarded_header.into(),
        proxy_protocol,
        accepts: Accepts {
            all: rate("spec.rateLimits.accepts", &rates.accepts, errors),
            per_address: rate(
                "spec.rateLimits.acceptsPerAddress",
                &rates.accepts_per_address,
                errors,
            ),
            connections_per_address: errors.number(
                "spec.capacity.connectionsPerAddress",
                spec.capacity.connections_per_address,
                0..=1_000_000,
            ),
            exempt_networks: networks(
                "spec.rateLimits.exemptNetworks",
                &rates.exempt_networks,
                errors,
            ),
        },
    }
}

fn rate(path: &str, rate: &Spec, errors: &mut Errors) -> AcceptRate {
    let most = i32::try_from(MAX_ACCEPTS).unwrap_or(i32::MAX);
    AcceptRate {
        per_second: errors.number(&format!("{path}.perSecond"), rate.per_second, 0..=most),
        burst: errors.number(&format!("{path}.burst"), rate.burst, 1..=most),
    }
}

fn networks(path: &str, texts: &[String], errors: &mut Errors) -> Vec<Network> {
    let read: Vec<Network> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    errors.ensure(
        read.len() == texts.len() && texts.len() <= MAX_NETWORKS && are_different(texts),
        path,
        "are at most 256 different networks: write an address, a slash and a number of bits, such as 10.0.0.0/8 or \
         fd00::/8; an address alone is 192.0.2.7/32",
    );
    read
}

fn are_good(texts: &[String], is_good: fn(&str) -> bool) -> bool {
    texts.len() <= MAX_ORIGINS && are_different(texts) && texts.iter().all(|text| is_good(text))
}

fn are_different(texts: &[String]) -> bool {
    texts.iter().collect::<BTreeSet<_>>().len() == texts.len()
}
