//! Scaling: by hand through the scale subresource, and by the autoscaler.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, World};

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

#[tokio::test]
async fn kubectl_scale_reaches_the_pods() -> Result<()> {
    let world = World::new("scale").await?;
    world.create(&json!({})).await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(1)).await?;

    let api = world.api::<WsGateway>();
    api.patch_scale(
        ODIN,
        &PatchParams::default(),
        &Patch::Merge(json!({ "spec": { "replicas": 2 } })),
    )
    .await?;

    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(2)).await?;
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    let scale = api.get_scale(ODIN).await?;
    let status = scale.status.expect("the status is set");
    assert_eq!(status.replicas, 2);
    assert_eq!(
        status.selector.as_deref(),
        Some(
            "app.kubernetes.io/component=gateway,app.kubernetes.io/instance=odin,app.kubernetes.io/name=wsgateway"
        )
    );
    Ok(())
}

#[tokio::test]
async fn the_autoscaler_can_scale_the_wsgateway_and_goes_when_unwanted() -> Result<()> {
    let world = World::new("autoscale").await?;
    world
        .create(&json!({ "spec": { "autoscaling": { "minReplicas": 2, "maxReplicas": 4 } } }))
        .await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(2)).await?;

    let autoscaler = world
        .object::<HorizontalPodAutoscaler>("odin-gateway", |autoscaler| {
            let conditions =
                autoscaler.status.as_ref().and_then(|status| status.conditions.as_deref());
            conditions
                .unwrap_or_default()
                .iter()
                .any(|c| c.type_ == "AbleToScale" && c.status == "True")
        })
        .await?;
    let metrics = autoscaler.spec.and_then(|spec| spec.metrics).unwrap_or_default();
    let target = metrics[0].pods.as_ref().and_then(|pods| pods.target.average_value.clone());
    assert_eq!(target.map(|quantity| quantity.0).as_deref(), Some("8k"));

    world.edit(&json!({ "spec": { "autoscaling": null } })).await?;

    world.gone::<HorizontalPodAutoscaler>("odin-gateway").await?;
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_that_is_added_or_changed_later_follows() -> Result<()> {
    let world = World::new("autoscale-later").await?;
    world.create(&json!({})).await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(1)).await?;

    for (least, most, target) in [(2, 4, "900"), (3, 5, "800")] {
        let autoscaling = json!({ "minReplicas": least, "maxReplicas": most, "targetConnectionsPerPod": target.parse::<i32>()? });
        world.edit(&json!({ "spec": { "autoscaling": autoscaling } })).await?;

        world
            .object::<HorizontalPodAutoscaler>("odin-gateway", |autoscaler| {
                autoscaler.spec.as_ref().is_some_and(|spec| {
                    let metric = spec.metrics.as_ref().and_then(|metrics| metrics[0].pods.as_ref());
                    let value = metric.and_then(|pods| pods.target.average_value.as_ref());
                    (spec.min_replicas, spec.max_replicas) == (Some(least), most)
                        && value.is_some_and(|value| value.0 == target)
                })
            })
            .await?;
        world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(least)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_scale_against_the_autoscaler_stays_within_its_bounds_and_is_put_back() -> Result<()>
{
    let world = World::new("scale-against").await?;
    world
        .create(&json!({ "spec": { "autoscaling": { "minReplicas": 2, "maxReplicas": 3 } } }))
        .await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(2)).await?;
    let api = world.api::<WsGateway>();
    for (asked, least, most) in [(9, 3, 3), (1, 2, 3)] {
        let scale = Patch::Merge(json!({ "spec": { "replicas": asked } }));
        api.patch_scale(ODIN, &PatchParams::default(), &scale).await?;
        // The real autoscaler brings the number back within its bounds.
        world
            .object::<WsGateway>(ODIN, |found| (least..=most).contains(&found.spec.replicas))
            .await?;
        world
            .object::<Deployment>("odin-gateway", |d| {
                replicas(d).is_some_and(|count| (least..=most).contains(&count))
            })
            .await?;
    }
    // None is the one number that it leaves alone.
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    api.patch_scale(ODIN, &PatchParams::default(), &none).await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(0)).await?;
    world.condition(ODIN, "Autoscaling", "False", "ScaledToZero").await?;
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_of_somebody_else_is_a_condition_and_is_left_alone() -> Result<()> {
    let world = World::new("two-autoscalers").await?;
    world
        .create(&json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 3 } } }))
        .await?;
    let theirs = json!({
        "metadata": { "name": "theirs" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "name": ODIN },
            "minReplicas": 2, "maxReplicas": 9,
        },
    });
    let api = world.api::<HorizontalPodAutoscaler>();
    api.create(&PostParams::default(), &serde_json::from_value(theirs)?).await?;
    let message = world.condition(ODIN, "Autoscaling", "False", "SeveralAutoscalers").await?;
    assert!(message.contains("delete it, or remove spec.autoscaling"), "{message}");
    let theirs = world.object::<HorizontalPodAutoscaler>("theirs", |_| true).await?;
    assert_eq!(theirs.spec.map(|spec| spec.max_replicas), Some(9), "it is not ours");

    api.delete("theirs", &DeleteParams::default()).await?;
    // The plane has no metrics: that is what is left to say.
    world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    Ok(())
}
