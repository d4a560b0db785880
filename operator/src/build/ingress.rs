//! The Ingress that leads to the clients' Service, if one is wanted.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};
use wsgateway_crds::ValidGateway;

use super::meta::{child_name, metadata, some};
use super::services::CLIENTS;

pub(super) fn build(gateway: &ValidGateway) -> Option<Ingress> {
    let wanted = gateway.expose.ingress.as_ref()?;
    let rule = |host: Option<String>| IngressRule {
        host,
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some(wanted.path.clone()),
                path_type: "Prefix".to_owned(),
                backend: backend(gateway),
            }],
        }),
    };
    let rules = match wanted.hosts.as_slice() {
        [] => vec![rule(None)],
        hosts => hosts.iter().map(|host| rule(Some(host.clone()))).collect(),
    };
    let tls = wanted.tls_secret.clone().map(|secret| {
        vec![IngressTLS {
            hosts: (!wanted.hosts.is_empty()).then(|| wanted.hosts.clone()),
            secret_name: Some(secret),
        }]
    });
    let mut metadata = metadata(gateway, child_name(&gateway.name));
    metadata.annotations = some(&wanted.annotations);
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: wanted.class.clone(),
            rules: Some(rules),
            tls,
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    })
}

fn backend(gateway: &ValidGateway) -> IngressBackend {
    IngressBackend {
        service: Some(IngressServiceBackend {
            name: gateway.name.clone(),
            port: Some(ServiceBackendPort {
                name: Some(CLIENTS.to_owned()),
                ..ServiceBackendPort::default()
            }),
        }),
        ..IngressBackend::default()
    }
}
