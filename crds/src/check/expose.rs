//! Rules of what stands in front of the gateway.

use std::collections::BTreeSet;

use wsgateway_config::Millis;

use super::errors::Errors;
use super::names::{is_host, is_label_key, is_object_name};
use super::pod::annotations;
use crate::spec::{
    Expose, ExposeHttpRoute, ExposeIngress, ExposeService, IpFamily, IpFamilyPolicy, ParentRef,
    ServiceType,
};
use crate::{ValidExpose, ValidIngress, ValidParent, ValidRoute, ValidService};

const SERVICE: &str = "spec.expose.service";
const LONGEST_REQUEST: Millis = Millis::from_secs(86_400);

pub(super) fn expose(expose: &Expose, errors: &mut Errors) -> ValidExpose {
    ValidExpose {
        service: service(&expose.service, errors),
        ingress: expose.ingress.as_ref().map(|given| ingress(given, errors)),
        route: expose.http_route.as_ref().map(|given| route(given, errors)),
    }
}

fn service(given: &ExposeService, errors: &mut Errors) -> ValidService {
    annotations(&format!("{SERVICE}.annotations"), &given.annotations, errors);
    if let Some(class) = &given.load_balancer_class {
        let path = format!("{SERVICE}.loadBalancerClass");
        errors.ensure(
            given.kind == ServiceType::LoadBalancer,
            &path,
            "needs type LoadBalancer: set it, or drop the class",
        );
        errors.ensure(
            class.len() <= 253 && is_label_key(class),
            &path,
            "must be the class as its implementation names it, such as service.k8s.aws/nlb",
        );
    }
    errors.ensure(
        given.external_traffic_policy.is_none() || given.kind != ServiceType::ClusterIP,
        &format!("{SERVICE}.externalTrafficPolicy"),
        "needs type LoadBalancer or NodePort: set one, or drop the policy",
    );
    families(given, errors);
    ValidService {
        kind: given.kind.as_str(),
        annotations: given.annotations.clone(),
        load_balancer_class: given.load_balancer_class.clone(),
        external_traffic_policy: given.external_traffic_policy.map(|policy| policy.as_str()),
        ip_family_policy: given.ip_family_policy.map(IpFamilyPolicy::as_str),
        ip_families: given.ip_families.iter().map(|family| family.as_str()).collect(),
    }
}

fn families(given: &ExposeService, errors: &mut Errors) {
    let path = format!("{SERVICE}.ipFamilies");
    let twice = matches!(given.ip_families[..], [IpFamily::IPv4, IpFamily::IPv4, ..])
        || matches!(given.ip_families[..], [IpFamily::IPv6, IpFamily::IPv6, ..]);
    errors.ensure(
        given.ip_families.len() <= 2 && !twice,
        &path,
        "must be at most two, IPv4 and IPv6, each once",
    );
    errors.ensure(
        given.ip_families.len() < 2
            || given.ip_family_policy.is_some_and(|policy| policy != IpFamilyPolicy::Single),
        &path,
        "names two families: set ipFamilyPolicy PreferDualStack or RequireDualStack, or drop one",
    );
}

fn ingress(given: &ExposeIngress, errors: &mut Errors) -> ValidIngress {
    const PATH: &str = "spec.expose.ingress";
    errors.ensure(
        given.class_name.as_deref().is_none_or(is_object_name),
        &format!("{PATH}.className"),
        "must be the name of an IngressClass, such as nginx",
    );
    errors.ensure(
        given.tls_secret.as_deref().is_none_or(is_object_name),
        &format!("{PATH}.tlsSecret"),
        "must be the name of a Secret in this namespace, such as odin-tls",
    );
    hosts(&format!("{PATH}.hosts"), &given.hosts, errors);
    path(&format!("{PATH}.path"), &given.path, errors);
    annotations(&format!("{PATH}.annotations"), &given.annotations, errors);
    ValidIngress {
        class: given.class_name.clone(),
        hosts: given.hosts.clone(),
        path: given.path.clone(),
        tls_secret: given.tls_secret.clone(),
        annotations: given.annotations.clone(),
    }
}

fn route(given: &ExposeHttpRoute, errors: &mut Errors) -> ValidRoute {
    const PATH: &str = "spec.expose.httpRoute";
    errors.ensure(
        (1..=8).contains(&given.parent_refs.len()),
        &format!("{PATH}.parentRefs"),
        "name 1 to 8 Gateways",
    );
    hosts(&format!("{PATH}.hostnames"), &given.hostnames, errors);
    path(&format!("{PATH}.path"), &given.path, errors);
    annotations(&format!("{PATH}.annotations"), &given.annotations, errors);
    let request_timeout = given.request_timeout.as_deref().map(|text| {
        errors.duration_within(
            &format!("{PATH}.requestTimeout"),
            text,
            Millis(0)..=LONGEST_REQUEST,
            "must be at most 24h, or 0 for no limit",
        )
    });
    let parents = given.parent_refs.iter().enumerate();
    ValidRoute {
        parents: parents
            .map(|(at, given)| parent(&format!("{PATH}.parentRefs[{at}]"), given, errors))
            .collect(),
        hosts: given.hostnames.clone(),
        path: given.path.clone(),
        request_timeout,
        annotations: given.annotations.clone(),
    }
}

fn parent(path: &str, given: &ParentRef, errors: &mut Errors) -> ValidParent {
    errors.ensure(is_object_name(&given.name), &format!("{path}.name"), "must be a Gateway's name");
    errors.ensure(
        given
            .namespace
            .as_ref()
            .is_none_or(|name| name.len() <= 63 && !name.contains('.') && is_object_name(name)),
        &format!("{path}.namespace"),
        "must be the name of a namespace, such as gateways",
    );
    errors.ensure(
        given.section_name.as_deref().is_none_or(is_object_name),
        &format!("{path}.sectionName"),
        "must be the name of the Gateway's listener, such as https",
    );
    ValidParent {
        name: given.name.clone(),
        namespace: given.namespace.clone(),
        section: given.section_name.clone(),
        port: given.port.map(|port| errors.number(&format!("{path}.port"), port, 1..=65_535)),
    }
}

fn hosts(path: &str, hosts: &[String], errors: &mut Errors) {
    let distinct: BTreeSet<&String> = hosts.iter().collect();
    errors.ensure(
        hosts.len() <= 16 && distinct.len() == hosts.len(),
        path,
        "must be at most 16 host names, each once",
    );
    for (at, host) in hosts.iter().enumerate() {
        errors.ensure(
            is_host(host),
            &format!("{path}[{at}]"),
            "write a host name in lower case, such as ws.example.com or *.example.com",
        );
    }
}

fn path(path: &str, given: &str, errors: &mut Errors) {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    errors.ensure(
        given.starts_with('/') && given.len() <= 255 && given.chars().all(ok),
        path,
        "write what paths begin with, such as / or /live: letters, digits and - . _ ~ between slashes",
    );
}
