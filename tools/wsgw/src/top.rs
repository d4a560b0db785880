//! `wsgw top` and `wsgw connections`: what each pod does at this moment.
//!
//! The figures come from the operator (custom.metrics.k8s.io), from the pods' admin ports (pods/proxy) or from the status,
//! the first that answers; names and restarts from the pods themselves. Whatever may not be read is left out, and said once.

mod admin;
mod figures;
mod metrics;
mod page;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use wsgateway_crds::WsGateway;

use crate::cli::{ConnectionsArgs, Format, From, Select, TopArgs};
use crate::cluster::{Cluster, Trouble};
use crate::error::Error;
use crate::output::{Redraw, document, print};
use crate::screen::Terminal;

pub(crate) use admin::Admin;
pub(crate) use figures::Line;
use figures::Snapshot;

/// The labels of gateway pods.
const PODS: &str =
    "app.kubernetes.io/managed-by=wsgateway-operator,app.kubernetes.io/component=gateway";
/// The label with the name of the WsGateway.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// Between two questions to a pod, where a rate is asked for once.
const MOMENT: Duration = Duration::from_secs(1);
/// Failures of the API server in a row through which a screen goes on.
const MOST_FAILURES: u32 = 30;

/// Reads figures again and again.
struct Reader {
    cluster: Cluster,
    select: Select,
    from: From,
    admin: Admin,
}

/// Shows what the command line of `top` asks for.
pub(crate) async fn run(options: &TopArgs) -> Result<(), Error> {
    let mut reader = Reader::new(options.select.clone(), &options.reach, options.from).await?;
    let mut snapshot = reader.first().await?;
    if options.once {
        return print(&shown(&mut snapshot, options, false)?);
    }
    let mut redraw = Redraw::new(options.show);
    let refreshing = async {
        let mut failures = 0;
        loop {
            redraw.draw(&shown(&mut snapshot, options, true)?)?;
            tokio::time::sleep(options.interval).await;
            match reader.read().await {
                Ok(read) => (snapshot, failures) = (read, 0),
                Err(trouble) if trouble.may_pass() && failures < MOST_FAILURES => {
                    failures += 1;
                    snapshot.notes = vec![format!("{trouble}; these are the last figures")];
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
    };
    crate::until_interrupted(refreshing).await
}

fn shown(snapshot: &mut Snapshot, options: &TopArgs, follow: bool) -> Result<String, Error> {
    snapshot.sort(options.sort);
    let format = options.show.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return document(&snapshot.lines, format, follow);
    }
    let terminal = Terminal::new(options.show.color);
    Ok(page::top(snapshot, options.select.all_namespaces, format, terminal))
}

/// Shows what the command line of `connections` asks for.
pub(crate) async fn connections(options: &ConnectionsArgs) -> Result<(), Error> {
    let mut reader = Reader::new(options.select.clone(), &options.reach, options.from).await?;
    reader.admin.wants_stats = true;
    let mut snapshot = reader.read().await?;
    snapshot.sort(crate::cli::Sort::Connections);
    let format = options.show.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return print(&document(&snapshot.lines, format, false)?);
    }
    let terminal = Terminal::new(options.show.color);
    print(&page::connections(&snapshot, options.select.all_namespaces, terminal))
}

impl Reader {
    async fn new(select: Select, reach: &crate::cli::Reach, from: From) -> Result<Self, Trouble> {
        let cluster = Cluster::new(reach).await?;
        Ok(Self { cluster, select, from, admin: Admin::default() })
    }

    /// The figures, with rates: of pods that are asked for the first time they need two answers.
    async fn first(&mut self) -> Result<Snapshot, Trouble> {
        let snapshot = self.read().await?;
        if snapshot.source != From::Pods || snapshot.lines.is_empty() {
            return Ok(snapshot);
        }
        tokio::time::sleep(MOMENT).await;
        self.read().await
    }

    async fn read(&mut self) -> Result<Snapshot, Trouble> {
        let gateways = self.cluster.gateways(&self.select).await?;
        let (mut snapshot, pods) = self.known(&gateways).await;
        // Many answers, or none, are the same to those who wait: each source fills in what it knows.
        let sources: &[From] = match self.from {
            From::Auto => &[From::Metrics, From::Pods],
            From::Metrics => &[From::Metrics],
            From::Pods => &[From::Pods],
            From::Status => &[],
        };
        for source in sources {
            let outcome = match source {
                From::Metrics => metrics::fill(&self.cluster, &mut snapshot.lines).await,
                _ => self.admin.fill(&self.cluster, &mut snapshot.lines, &pods).await,
            };
            match outcome {
                Ok(()) => {
                    snapshot.source = *source;
                    // Why another one was passed over is no news then.
                    snapshot.notes.retain(|note| !note.starts_with(figures::PASSED));
                    break;
                }
                Err(why) => snapshot.notes.push(format!("{}{why}", figures::PASSED)),
            }
        }
        snapshot.finish();
        Ok(snapshot)
    }

    /// What the status and the pods say.
    async fn known(&self, gateways: &[WsGateway]) -> (Snapshot, Vec<Pod>) {
        let all = self.select.all_namespaces;
        let parameters = match &self.select.name {
            Some(name) => ListParams::default().labels(&format!("{PODS},{INSTANCE}={name}")),
            None => ListParams::default().labels(PODS),
        };
        match self.cluster.list::<Pod>(all, parameters, "pods").await {
            Ok(list) => (Snapshot::new(gateways, Some(&list.items)), list.items),
            Err(trouble) => {
                let mut snapshot = Snapshot::new(gateways, None);
                snapshot.notes.push(format!("restarts are not known: {trouble}"));
                (snapshot, Vec::new())
            }
        }
    }
}

/// Whether a pod is a gateway's, and whose.
pub(crate) fn gateway_of(pod: &Pod) -> Option<&str> {
    let labels = pod.labels();
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let ours = is("app.kubernetes.io/managed-by", "wsgateway-operator")
        && is("app.kubernetes.io/component", "gateway");
    labels.get(INSTANCE).map(String::as_str).filter(|_| ours)
}

/// The pods of gateways in the cluster's namespace.
pub(crate) async fn gateway_pods(cluster: &Cluster) -> Result<Vec<Pod>, Trouble> {
    Ok(cluster.list::<Pod>(false, ListParams::default().labels(PODS), "pods").await?.items)
}
