//! The Service for clients, and the headless one behind which Prometheus finds every pod.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wsgateway_crds::{ADMIN_PORT, ValidGateway};

use super::meta::{metadata, selector, some};

/// Name of the client port in pods and Service.
pub(super) const CLIENTS: &str = "ws";
/// Name of the admin port in pods and Service.
pub(super) const ADMIN: &str = "admin";

pub(super) fn clients(gateway: &ValidGateway) -> Service {
    let port = ServicePort {
        // Tells proxies and meshes that connections are upgraded, and whether they are encrypted. The name of the port stays,
        // since Ingresses of others name it.
        app_protocol: Some(
            match gateway.tls {
                None => "kubernetes.io/ws",
                Some(_) => "kubernetes.io/wss",
            }
            .to_owned(),
        ),
        ..port(CLIENTS, gateway.port)
    };
    let exposed = &gateway.expose.service;
    let families: Vec<String> =
        exposed.ip_families.iter().map(|family| (*family).to_owned()).collect();
    let mut service = service(
        gateway,
        gateway.name.clone(),
        ServiceSpec {
            type_: Some(exposed.kind.to_owned()),
            load_balancer_class: exposed.load_balancer_class.clone(),
            external_traffic_policy: exposed.external_traffic_policy.map(str::to_owned),
            ip_family_policy: exposed.ip_family_policy.map(str::to_owned),
            ip_families: (!families.is_empty()).then_some(families),
            ..spec(gateway, port)
        },
    );
    service.metadata.annotations = some(&exposed.annotations);
    service
}

pub(super) fn admin(gateway: &ValidGateway, name: String) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        // Metrics of a pod that does not take clients are the interesting ones.
        publish_not_ready_addresses: Some(true),
        ..spec(gateway, port(ADMIN, ADMIN_PORT))
    };
    service(gateway, name, spec)
}

fn service(gateway: &ValidGateway, name: String, spec: ServiceSpec) -> Service {
    Service { metadata: metadata(gateway, name), spec: Some(spec), ..Service::default() }
}

fn spec(gateway: &ValidGateway, port: ServicePort) -> ServiceSpec {
    ServiceSpec {
        selector: Some(selector(&gateway.name)),
        ports: Some(vec![port]),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
