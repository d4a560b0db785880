//! Asks every running pod for its /status, next to the controller: a slow pod holds up nothing but itself.
//!
//! In: the pods that are due. Out: their answers, into [`Pods`], and a wake for a WsGateway of which something that is
//! worth writing has changed. At most [`AT_ONCE`] requests at a time, each for at most [`TIMEOUT`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wsgateway_crds::ADMIN_PORT;

use super::report::Report;
use super::store::{Pods, Target};
use crate::wake::{Name, Wake};

/// A pod that needs longer has other worries.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Pods asked at the same time: enough for thousands of which a tenth is silent.
const AT_ONCE: usize = 64;
/// A status is a few hundred bytes.
const LONGEST_ANSWER: usize = 64 << 10;
/// Between two looks for pods that are due.
const TICK: Duration = Duration::from_millis(250);

type Http = HttpClient<HttpConnector, Empty<Bytes>>;

/// Asks the pods of the WsGateways that are kept, until dropped.
pub(crate) async fn run(
    pods: Arc<Pods>,
    is_kept: impl Fn(&Name) -> bool + Send + 'static,
    wake: Wake,
) {
    let http = http();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for target in pods.due(Instant::now(), &is_kept) {
                    let (http, places) = (http.clone(), Arc::clone(&places));
                    running.spawn(async move {
                        // Never closed.
                        let _place = places.acquire_owned().await;
                        let answer = ask(&http, target.address).await;
                        (target, answer)
                    });
                }
                // Also without an answer: what changed little has waited long enough.
                pods.worth_telling(Instant::now()).into_iter().for_each(|key| wake.wake(key));
            }
            Some(done) = running.join_next(), if !running.is_empty() => {
                if let Ok((target, answer)) = done {
                    note(&pods, &target, answer);
                }
            }
        }
    }
}

fn note(pods: &Pods, target: &Target, answer: Result<Report, String>) {
    let report = match answer {
        Ok(report) => Some(report),
        Err(error) => {
            let Name { namespace, .. } = &target.key;
            tracing::debug!(namespace, pod = target.pod, error, "a pod does not report");
            None
        }
    };
    pods.answered(target, report, Instant::now(), fastrand::f64());
}

fn http() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(TIMEOUT));
    // A pod is asked every few seconds: thousands of them would be as many idle connections.
    HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

async fn ask(http: &Http, address: IpAddr) -> Result<Report, String> {
    match tokio::time::timeout(TIMEOUT, fetch(http, address)).await {
        Ok(answer) => answer,
        Err(_late) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}

async fn fetch(http: &Http, address: IpAddr) -> Result<Report, String> {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let uri =
        format!("http://{host}:{ADMIN_PORT}/status").parse().map_err(|error| format!("{error}"))?;
    let response = http.get(uri).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(response.status().to_string());
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Report::parse(&body.to_bytes()).map_err(|error| error.to_string())
}
