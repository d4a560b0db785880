//! Schemas of what stands in front of the gateway.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{matching, object_name};

/// Label of a host name.
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/// Class of load balancers: a name with a domain or without.
pub(crate) fn load_balancer_class(_: &mut SchemaGenerator) -> Schema {
    matching(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        253,
        "write the class as its implementation names it, such as service.k8s.aws/nlb",
    )
}

/// Name of an IngressClass.
pub(crate) fn ingress_class(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of an IngressClass, such as nginx")
}

/// Name of a Secret with a certificate.
pub(crate) fn tls_secret(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of a Secret in this namespace, such as odin-tls")
}

/// Name of a Gateway.
pub(crate) fn gateway_name(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of a Gateway, such as public")
}

/// Name of a listener of a Gateway.
pub(crate) fn section_name(_: &mut SchemaGenerator) -> Schema {
    object_name("write the name of the Gateway's listener, such as https")
}

/// Name of a namespace.
pub(crate) fn namespace_name(_: &mut SchemaGenerator) -> Schema {
    matching(&format!("^{LABEL}$"), 63, "write the name of a namespace, such as gateways")
}

/// Host names, with a wildcard as their first label or without.
pub(crate) fn hosts(_: &mut SchemaGenerator) -> Schema {
    let host = matching(
        &format!(r"^(\*\.)?{LABEL}(\.{LABEL})*$"),
        253,
        "write a host name in lower case, such as ws.example.com or *.example.com",
    );
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": host,
        "x-kubernetes-list-type": "set",
    })
}

/// What the paths of requests begin with.
pub(crate) fn route_path(_: &mut SchemaGenerator) -> Schema {
    matching(
        "^/[-A-Za-z0-9._~/]*$",
        255,
        "write what paths begin with, such as / or /live: letters, digits and - . _ ~ between slashes",
    )
}
