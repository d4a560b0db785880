//! What stands in front of the gateway: made, repaired, changed and removed with the specification.

use anyhow::Result;
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use wsgateway_config::yaml;

use crate::world::{ODIN, SOON, World};

/// How many annotations an object has that are not the operator's own.
fn given(object: &impl kube::ResourceExt) -> usize {
    object.annotations().keys().filter(|key| !key.starts_with("wsgateway.dev/")).count()
}

const HTTP_ROUTE: &str = include_str!("httproute-crd.yaml");

#[tokio::test]
async fn an_ingress_follows_the_specification_is_repaired_and_goes_when_unwanted() -> Result<()> {
    let world = World::new("ingress").await?;
    world
        .create(&json!({ "spec": { "expose": { "ingress": {
            "className": "nginx", "hosts": ["ws.example.com", "*.example.com"], "tlsSecret": "odin-tls",
            "annotations": { "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600" },
        } } } }))
        .await?;
    let ingress = world.object::<Ingress>("odin-gateway", |_| true).await?;
    assert_eq!(ingress.annotations()["nginx.ingress.kubernetes.io/proxy-read-timeout"], "3600");
    assert_eq!(ingress.spec.clone().unwrap_or_default().rules.unwrap_or_default().len(), 2);

    world.api::<Ingress>().delete("odin-gateway", &DeleteParams::default()).await?;
    world.object::<Ingress>("odin-gateway", |new| new.uid() != ingress.uid()).await?;

    world
        .edit(&json!({ "spec": { "expose": { "ingress": { "path": "/live", "annotations": null } } } }))
        .await?;
    world
        .object::<Ingress>("odin-gateway", |ingress| {
            let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_ref());
            let path = rules.and_then(|rules| rules[0].http.as_ref()?.paths[0].path.clone());
            path.as_deref() == Some("/live") && given(ingress) == 0
        })
        .await?;

    world.edit(&json!({ "spec": { "expose": { "ingress": null } } })).await?;
    world.gone::<Ingress>("odin-gateway").await
}

#[tokio::test]
async fn a_service_becomes_a_load_balancer_and_is_taken_back() -> Result<()> {
    let world = World::new("balancer").await?;
    world
        .create(&json!({ "spec": { "expose": { "service": {
            "type": "LoadBalancer", "loadBalancerClass": "service.k8s.aws/nlb", "externalTrafficPolicy": "Local",
            "ipFamilyPolicy": "PreferDualStack",
            "annotations": { "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal" },
        } } } }))
        .await?;
    let service = world.object::<Service>("odin", |_| true).await?;
    assert_eq!(given(&service), 1);
    let spec = service.spec.unwrap_or_default();
    assert_eq!(spec.type_.as_deref(), Some("LoadBalancer"));
    assert_eq!(spec.load_balancer_class.as_deref(), Some("service.k8s.aws/nlb"));
    assert_eq!(spec.external_traffic_policy.as_deref(), Some("Local"));
    assert_eq!(spec.ip_families.unwrap_or_default().len(), 1, "the cluster has one family");

    world.edit(&json!({ "spec": { "expose": { "service": null } } })).await?;

    world
        .object::<Service>("odin", |service| {
            given(service) == 0
                && service.spec.as_ref().is_some_and(|spec| {
                    spec.type_.as_deref() == Some("ClusterIP") && spec.load_balancer_class.is_none()
                })
        })
        .await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await.map(drop)
}

#[tokio::test]
async fn what_the_cluster_cannot_do_is_a_condition_in_the_api_servers_words() -> Result<()> {
    let world = World::new("families").await?;
    let two = json!({ "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"] });
    world.create(&json!({ "spec": { "expose": { "service": two } } })).await?;

    let message = world.condition(ODIN, "GatewayReady", "False", "RefusedByApiServer").await?;
    assert!(message.contains("Service odin") && message.contains("ipFamil"), "{message}");

    world.edit(&json!({ "spec": { "expose": { "service": null } } })).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await.map(drop)
}

#[tokio::test]
async fn a_route_is_made_once_the_cluster_knows_the_kind_and_goes_when_unwanted() -> Result<()> {
    let world = World::new("route").await?;
    world
        .create(&json!({ "spec": { "expose": { "httpRoute": {
            "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "https", "port": 443 }],
            "hostnames": ["ws.example.com"], "requestTimeout": "0",
        } } } }))
        .await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.condition(ODIN, "ExposeReady", "False", "HttpRouteUnknown").await?;
    // Clients inside the cluster are served.
    world.condition(ODIN, "Ready", "True", "HttpRouteUnknown").await?;

    world.plane.apply_crd(&yaml::from_str(HTTP_ROUTE)?).await?;

    world.condition(ODIN, "ExposeReady", "True", "ExposeApplied").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
    ));
    let routes: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let route = routes.get("odin-gateway").await?;
    let rule = &route.data["spec"]["rules"][0];
    assert_eq!(rule["timeouts"]["request"], "0s");
    assert_eq!(rule["backendRefs"][0]["name"], "odin");
    assert_eq!(route.data["spec"]["parentRefs"][0]["kind"], "Gateway", "the API server's default");

    routes.delete("odin-gateway", &DeleteParams::default()).await?;
    wait_until_some(SOON, "the route to come back", async || {
        routes.get_opt("odin-gateway").await.ok()?.filter(|new| new.uid() != route.uid())
    })
    .await?;

    world.edit(&json!({ "spec": { "expose": { "httpRoute": null } } })).await?;
    wait_until(SOON, "the end of the route", async || {
        routes.get_opt("odin-gateway").await.is_ok_and(|route| route.is_none())
    })
    .await
}
