//! What stands in front of the gateway.

use serde_json::json;

use super::*;

#[test]
fn nothing_is_exposed_unless_asked_for() {
    let objects = built(SAMPLE, true);
    assert!(objects.ingress.is_none() && objects.route.is_none());
    let service = objects.clients.spec.unwrap();
    assert_eq!(service.type_.as_deref(), Some("ClusterIP"));
    assert_eq!(
        (service.ip_family_policy, service.ip_families),
        (None, None),
        "the cluster's family"
    );
}

#[test]
fn an_ingress_without_hosts_is_for_all_of_them() {
    let objects = with("\n  expose: { ingress: { tlsSecret: t } }\n");
    let spec = objects.ingress.unwrap().spec.unwrap();
    let rules = spec.rules.unwrap();
    assert_eq!((rules.len(), rules[0].host.as_ref()), (1, None));
    let path = &rules[0].http.as_ref().unwrap().paths[0];
    assert_eq!((path.path.as_deref(), path.path_type.as_str()), (Some("/"), "Prefix"));
    let service = path.backend.service.clone().unwrap();
    assert_eq!(
        (service.name.as_str(), service.port.unwrap().name.as_deref()),
        ("odin", Some("ws"))
    );
    let tls = spec.tls.unwrap();
    assert_eq!((tls[0].hosts.clone(), tls[0].secret_name.as_deref()), (None, Some("t")));
}

#[test]
fn a_route_is_made_only_where_the_kind_is_known() {
    let manifest =
        format!("{SAMPLE}\n  expose: {{ httpRoute: {{ parentRefs: [{{ name: public }}] }} }}\n");
    assert!(built(&manifest, false).route.is_none());
    let route = built(&manifest, true).route.unwrap();
    assert_eq!(
        route.data["spec"],
        json!({
            "parentRefs": [{ "name": "public" }],
            "rules": [{
                "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
                "backendRefs": [{ "name": "odin", "port": 8080 }],
            }],
        })
    );
}
