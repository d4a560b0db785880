//! `operator self-test`: whether the operators of a release work, seen from inside of the cluster. `helm test` runs it.
//!
//! In: the API server, the Lease, the Service for metrics. Out: a line for each check on stdout. It writes nothing, and needs no
//! right but `get` on the Lease: what the API server serves, everybody may ask.

use std::io::Write as _;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client};
use tokio::time::Instant;
use wsgateway_crds::{GROUP, VERSION};

use crate::cli::{Options, SelfTestOptions};
use crate::metrics_api;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// One request that hangs is not the end of all attempts.
const REQUEST: Duration = Duration::from_secs(5);
/// Metrics of an operator with 1,000 WsGateways are under 2 MiB.
const LONGEST_ANSWER: usize = 16 << 20;
/// Every operator has it from its start.
const METRIC: &str = "wsgateway_operator_";

/// Checks that failed.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the checks failed")]
pub struct SelfTestError(usize);

/// Runs all checks of an operator with these options, each until it succeeds or the time is over.
///
/// # Errors
/// When one of them failed.
pub async fn self_test(
    options: &Options,
    how: &SelfTestOptions,
    client: Client,
) -> Result<(), SelfTestError> {
    let end = Instant::now() + Duration::from_secs(how.timeout_seconds.get().into());
    let mut failed = 0;
    failed += told("the API server serves WsGateways", eventually(end, || api(&client)).await);
    if options.election.leader_elect {
        let home = crate::app::home(options, &client);
        let leases: Api<Lease> = Api::namespaced(client.clone(), &home);
        let name = &options.election.lease_name;
        let leads = leads(&leases, name, end).await;
        failed += told("an operator leads and renews its Lease", leads);
    }
    if !how.metrics_url.is_empty() {
        let metrics = eventually(end, || metrics(&how.metrics_url)).await;
        failed += told("an operator answers with its metrics", metrics);
    }
    if options.metrics_api.metrics_api {
        let served = eventually(end, || autoscalers(&client)).await;
        failed += told("autoscalers get metrics", served);
    }
    if failed == 0 { Ok(()) } else { Err(SelfTestError(failed)) }
}

/// Prints what was found. 1 if it failed.
fn told(check: &str, result: Result<String, String>) -> usize {
    let (line, failed) = match result {
        Ok(found) => (format!("ok      {check}: {found}"), 0),
        Err(error) => (format!("FAILED  {check}: {error}"), 1),
    };
    // Nobody reads a pipe that is closed.
    drop(writeln!(std::io::stdout(), "{line}"));
    failed
}

/// The first success, or the last error before `end`.
async fn eventually<F>(end: Instant, attempt: impl Fn() -> F) -> Result<String, String>
where
    F: Future<Output = Result<String, String>>,
{
    loop {
        let late = || Err(format!("no answer within {REQUEST:?}"));
        let result = tokio::time::timeout(REQUEST, attempt()).await.unwrap_or_else(|_late| late());
        if result.is_ok() || Instant::now() + PAUSE >= end {
            return result;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn api(client: &Client) -> Result<String, String> {
    let version = format!("{GROUP}/{VERSION}");
    let list = client.list_api_group_resources(&version).await;
    let list = list.map_err(|error| {
        format!("{version}: {error}; is the CustomResourceDefinition of this version applied?")
    })?;
    match list.resources.iter().any(|resource| resource.name == "wsgateways") {
        true => Ok(version),
        false => Err(format!("{version} has no wsgateways: apply the CustomResourceDefinition")),
    }
}

/// Whether the Lease is held by somebody who renews it: two times are compared that the same holder wrote, so no clock matters.
async fn leads(leases: &Api<Lease>, name: &str, end: Instant) -> Result<String, String> {
    let first = eventually(end, async || held(leases, name).await.map(|held| held.renewed)).await?;
    let renewed = || async {
        let now = held(leases, name).await?;
        match now.renewed == first {
            false => Ok(now.holder),
            true => Err(format!("{} holds {name} and does not renew it", now.holder)),
        }
    };
    eventually(end, renewed).await
}

struct Held {
    holder: String,
    renewed: String,
}

async fn held(leases: &Api<Lease>, name: &str) -> Result<Held, String> {
    let lease = leases.get(name).await.map_err(|error| format!("Lease {name}: {error}"))?;
    match lease.spec {
        Some(LeaseSpec { holder_identity: Some(holder), renew_time: Some(renewed), .. })
            if !holder.is_empty() =>
        {
            Ok(Held { holder, renewed: renewed.0.to_string() })
        }
        _ => Err(format!("nobody holds the Lease {name}: read the logs of the operators")),
    }
}

async fn metrics(url: &str) -> Result<String, String> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(REQUEST));
    let http: HttpClient<_, Empty<Bytes>> =
        HttpClient::builder(TokioExecutor::new()).build(connector);
    let uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let failed = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{url}: {error}: {source}"),
        None => format!("{url}: {error}"),
    };
    let response = http.get(uri).await.map_err(|error| failed(&error))?;
    if !response.status().is_success() {
        return Err(format!("{url}: {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let body = body.map_err(|error| format!("{url}: {error}"))?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    match text.lines().filter(|line| line.starts_with(METRIC)).count() {
        0 => Err(format!("{url} has no {METRIC}…: is it an operator?")),
        count => Ok(format!("{count} series at {url}")),
    }
}

/// Whoever serves them: a group that another adapter has is left to it.
async fn autoscalers(client: &Client) -> Result<String, String> {
    let group = metrics_api::GROUP;
    let groups = client.list_api_groups().await.map_err(|error| error.to_string())?;
    let found = groups.groups.into_iter().find(|known| known.name == group);
    let version = found
        .and_then(|known| known.preferred_version.or_else(|| known.versions.into_iter().next()))
        .ok_or_else(|| {
            format!("nobody serves {group}: kubectl get apiservice v1beta2.{group} says why")
        })?;
    let name = version.group_version;
    let list = client.list_api_group_resources(&name).await;
    list.map(|_| name.clone()).map_err(|error| format!("{name}: {error}"))
}
