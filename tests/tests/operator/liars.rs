//! A pod that lies about its connections, from its answer through the metrics API to what the real autoscaler makes of it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::wait_until;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use wsgateway_crds::{ADMIN_PORT, WsGateway};

use crate::autoscale::{available, plane_of_its_own, raw, served};
use crate::reload::start_pod;
use crate::world::{ODIN, SOON, World, pod_address};

const PLACES: u32 = 50;
/// Far longer than a pod is waited for.
const LATE: Duration = Duration::from_secs(30);

/// The number of connections, as the text in its JSON, and how long the answer takes.
type Said = Arc<Mutex<(&'static str, Duration)>>;

/// Answers on the admin port of a pod.
async fn lie(listener: TcpListener, said: Said) {
    let mut answers = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while answers.try_join_next().is_some() {}
        answers.spawn(answer(socket, Arc::clone(&said)));
    }
}

async fn answer(mut socket: TcpStream, said: Said) -> std::io::Result<()> {
    let mut request = [0; 1 << 12];
    if socket.read(&mut request).await? == 0 {
        return Ok(());
    }
    let (number, delay) = *said.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::time::sleep(delay).await;
    let body = format!(
        r#"{{"connections":{number},"capacity":{PLACES},"source":{{"state":"live","lagMessages":0}}}}"#
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let length = body.len();
    let all = format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(all.as_bytes()).await
}

/// What the metrics API has of a pod, next to a value of the other one.
async fn value(world: &World, liar: &str, honest: &str) -> Option<Option<String>> {
    let path = format!("/namespaces/{}/pods/*/wsgateway_connections", world.namespace);
    let answer = raw(&world.client, &path).await.ok()?;
    let items = answer["items"].as_array()?;
    let of = |pod: &str| {
        let item = items.iter().find(|item| item["describedObject"]["name"] == pod)?;
        item["value"].as_str().map(str::to_owned)
    };
    of(honest).map(|_| of(liar))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_lies_is_left_out_or_counts_as_full_and_scales_nothing_beyond_that() -> Result<()>
{
    let mut world = World::on(plane_of_its_own().await?, "liars").await?;
    let options = served(&world).await?;
    world.start_operator_with(options, world.client.clone()).await?;
    let autoscaling = json!({ "minReplicas": 2, "maxReplicas": 4, "targetConnectionsPerPod": 10 });
    let capacity = json!({ "connectionsPerPod": PLACES });
    let spec = json!({ "replicas": 2, "autoscaling": autoscaling, "capacity": capacity });
    world.create(&json!({ "spec": spec })).await?;
    available(&world.client).await?;

    let pods = world.pods(2).await?;
    let files = world.files(|_| true).await?;
    let gateway = start_pod(&world, &files, &pods[0], pod_address(90)).await?;
    let address: IpAddr = pod_address(91);
    let said: Said = Arc::new(Mutex::new(("3", Duration::ZERO)));
    let listener = TcpListener::bind((address, ADMIN_PORT)).await?;
    let _liar = JoinSet::from_iter([lie(listener, Arc::clone(&said))]);
    world.run_pod(&pods[1], &address.to_string()).await?;

    let shows = async |number: &'static str, delay: Duration, expected: Option<&str>| {
        *said.lock().unwrap_or_else(PoisonError::into_inner) = (number, delay);
        let what = format!("{expected:?} of a pod that says {number} after {delay:?}");
        wait_until(SOON, &what, async || {
            let value = value(&world, &pods[1], &pods[0]).await;
            value.is_some_and(|value| value.as_deref() == expected)
        })
        .await
    };
    let lies = [
        ("-1", Duration::ZERO),
        ("9223372036854775808", Duration::ZERO),
        ("1e300", Duration::ZERO),
        ("NaN", Duration::ZERO),
        (r#""NaN""#, Duration::ZERO),
        ("7", LATE),
    ];
    for (number, delay) in lies {
        shows("3", Duration::ZERO, Some("3")).await?;
        shows(number, delay, None).await?;
        let gateway = world.api::<WsGateway>().get(ODIN).await?;
        assert_eq!(gateway.spec.replicas, 2, "after {number}");
    }
    world.condition(ODIN, "Autoscaling", "True", "Active").await?;

    // What is possible is believed, but for no more than its places; and that is bounded by maxReplicas.
    shows("4294967295", Duration::ZERO, Some("50")).await?;
    wait_until(SOON, "as many pods as may be", async || {
        let gateway = world.api::<WsGateway>().get(ODIN).await;
        gateway.is_ok_and(|gateway| gateway.spec.replicas == 4)
    })
    .await
    .context("the autoscaler")?;
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}
