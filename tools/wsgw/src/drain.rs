//! `wsgw drain`: the clients of one pod move to others, as they do when a node is drained.
//!
//! The pod is evicted: Kubernetes asks the PodDisruptionBudget, the gateway asks its clients to reconnect at the pace of
//! spec.rollout, and the Deployment starts another pod. What is shown meanwhile is read, never needed.

mod words;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{EvictParams, PostParams};
use kube::{Api, ResourceExt};
use tokio::time::Instant;
use wsgateway_crds::{DisruptionKind, DisruptionStatus, WsGateway};

use crate::cli::DrainArgs;
use crate::cluster::{Asked, Cluster, GATEWAYS, Trouble};
use crate::error::Error;
use crate::output::print;
use crate::screen::{Terminal, Tone, count};
use crate::top::{Admin, gateway_of, gateway_pods};
use words::Clients;

/// Between two looks.
const PACE: Duration = Duration::from_secs(1);
/// Between two attempts that a PodDisruptionBudget forbids.
const AGAIN: Duration = Duration::from_secs(5);

/// Why a drain did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    #[error("pod {pod} is no gateway pod: {names}")]
    NotOurs { pod: String, names: String },
    #[error("standard input is no terminal, so that nobody can be asked: say --yes")]
    NobodyToAsk,
    #[error("nothing was done")]
    Declined,
    #[error("the pod may not go now: {0}")]
    Budget(String),
    #[error("{what} within {after:?}: {next}")]
    Late { what: &'static str, after: Duration, next: String },
}

/// A pod to drain.
struct Drain {
    cluster: Cluster,
    pod: Pod,
    gateway: String,
    until: Instant,
    timeout: Duration,
    terminal: Terminal,
}

/// Drains the pod of the command line.
pub(crate) async fn run(options: &DrainArgs) -> Result<(), Error> {
    let cluster = Cluster::new(&options.reach).await?;
    let pod = find(&cluster, &options.pod).await?;
    let gateway = gateway_of(&pod).unwrap_or_default().to_owned();
    let drain = Drain {
        cluster,
        gateway,
        pod,
        until: Instant::now() + options.timeout,
        timeout: options.timeout,
        terminal: Terminal::new(options.color),
    };
    let before = drain.gateway().await?;
    let clients = drain.clients(&before).await;
    let is_leaving = drain.pod.metadata.deletion_timestamp.is_some();
    drain.say(Tone::Plain, &words::plan(&drain.pod.name_any(), &before, clients, is_leaving))?;
    if options.dry_run {
        drain.evict(true).await?.map_err(DrainError::Budget)?;
        return drain.say(Tone::Good, "it may go now; nothing was done");
    }
    if !options.yes && !is_leaving {
        confirm()?;
    }
    let began = jiff::Timestamp::now();
    if !is_leaving {
        tokio::select! {
            evicted = drain.evicted() => evicted?,
            _ = tokio::signal::ctrl_c() => return Err(DrainError::Declined.into()),
        }
    }
    let name = drain.pod.name_any();
    let next = format!(
        "pod {name} goes on handing its clients over, and stops: see kubectl wsgw top {}",
        drain.gateway
    );
    tokio::select! {
        followed = drain.followed(began) => followed,
        _ = tokio::signal::ctrl_c() => drain.say(Tone::Warn, &format!("\nno longer watching: {next}")),
    }
}

/// The pod, if it is a gateway's.
async fn find(cluster: &Cluster, name: &str) -> Result<Pod, Error> {
    let name = name.strip_prefix("pod/").unwrap_or(name);
    let found = cluster.api::<Pod>(false).get_opt(name).await;
    let asked = Asked { verb: "get", resource: "pods", namespace: Some(&cluster.namespace) };
    let found = found.map_err(|error| cluster.trouble(error, asked))?;
    if let Some(pod) = found.as_ref().filter(|pod| gateway_of(pod).is_some()) {
        return Ok(pod.clone());
    }
    let names: Vec<String> =
        gateway_pods(cluster).await?.iter().map(ResourceExt::name_any).collect();
    if found.is_none() {
        return Err(Trouble::not_found("gateway pod", name, &cluster.namespace, names).into());
    }
    let names = match names.as_slice() {
        [] => format!("namespace {} has none", cluster.namespace),
        names => format!("those are {}", names.join(", ")),
    };
    Err(DrainError::NotOurs { pod: name.to_owned(), names }.into())
}

fn confirm() -> Result<(), Error> {
    if !std::io::stdin().is_terminal() {
        return Err(DrainError::NobodyToAsk.into());
    }
    print("Drain it? [y/N] ")?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(DrainError::Declined.into()),
    }
}

impl Drain {
    fn say(&self, tone: Tone, text: &str) -> Result<(), Error> {
        let text = self.terminal.wrap(text, 0, 2);
        print(&format!("{}\n", self.terminal.paint(tone, &text)))
    }

    async fn gateway(&self) -> Result<WsGateway, Error> {
        let api = self.cluster.api::<WsGateway>(false);
        let namespace = Some(self.cluster.namespace.as_str());
        let asked = Asked { verb: "get", resource: GATEWAYS, namespace };
        Ok(api.get(&self.gateway).await.map_err(|error| self.cluster.trouble(error, asked))?)
    }

    /// Clients of the pod: as it answers, or as the status has it.
    async fn clients(&self, gateway: &WsGateway) -> Clients {
        let name = self.pod.name_any();
        if let Some(clients) = Admin::clients(&self.cluster, &self.cluster.namespace, &name).await {
            return Clients::Now(clients);
        }
        let status = gateway.status.as_ref();
        let listed = status.and_then(|status| status.pods.iter().find(|pod| pod.name == name));
        match listed.and_then(|pod| u64::try_from(pod.connections?).ok()) {
            Some(clients) => Clients::Lately(clients),
            None => Clients::Unknown,
        }
    }

    /// Asks Kubernetes to evict the pod. The inner error is what forbids it for now.
    async fn evict(&self, dry_run: bool) -> Result<Result<(), String>, Error> {
        let api: Api<Pod> = self.cluster.api(false);
        let post_options = PostParams { dry_run, ..PostParams::default() };
        let parameters = EvictParams { delete_options: None, post_options };
        match api.evict(&self.pod.name_any(), &parameters).await {
            Ok(_) => Ok(Ok(())),
            Err(kube::Error::Api(status)) if status.code == 429 => {
                Ok(Err(words::budget(&status, &self.gateway)))
            }
            // It is gone already.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Ok(())),
            Err(error) => {
                let namespace = Some(self.cluster.namespace.as_str());
                let asked = Asked { verb: "create", resource: "pods/eviction", namespace };
                Err(self.cluster.trouble(error, asked).into())
            }
        }
    }

    /// Evicts the pod as soon as the PodDisruptionBudget lets it go.
    async fn evicted(&self) -> Result<(), Error> {
        let mut told = None;
        while let Err(why) = self.evict(false).await? {
            if told.as_ref() != Some(&why) {
                self.say(Tone::Warn, &format!("waiting: {why}"))?;
                told = Some(why);
            }
            if Instant::now() >= self.until {
                let next = "nothing was done; give it more time with --timeout".to_owned();
                return Err(DrainError::Late {
                    what: "the pod could not be evicted",
                    after: self.timeout,
                    next,
                }
                .into());
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }

    /// Shows how clients leave, until the pod is gone and another one serves in its place.
    async fn followed(&self, began: jiff::Timestamp) -> Result<(), Error> {
        let (api, name, start) =
            (self.cluster.api::<Pod>(false), self.pod.name_any(), Instant::now());
        let mut told = None;
        loop {
            // An API server that does not answer for a moment is no reason to look away.
            match api.get_opt(&name).await {
                Ok(found) if found.as_ref().and_then(ResourceExt::uid) != self.pod.uid() => break,
                _ => {}
            }
            let left = Admin::clients(&self.cluster, &self.cluster.namespace, &name).await;
            if left.is_some() && left != told {
                let seconds = start.elapsed().as_secs();
                self.say(
                    Tone::Plain,
                    &format!("{seconds:>4} s  {} clients left", count(left.unwrap_or_default())),
                )?;
                told = left;
            }
            self.pause("the pod has not stopped", &name).await?;
        }
        self.say(
            Tone::Plain,
            &format!("{:>4} s  pod {name} has stopped", start.elapsed().as_secs()),
        )?;
        self.settled(began, start).await
    }

    async fn settled(&self, began: jiff::Timestamp, start: Instant) -> Result<(), Error> {
        loop {
            if let Ok(gateway) = self.gateway().await
                && let Some(status) = &gateway.status
                && status.ready_replicas >= gateway.spec.replicas
                && let Some(entry) = entry(&status.disruptions, began)
            {
                let (tone, cost) = words::cost(entry);
                return self.say(
                    tone,
                    &format!(
                        "{:>4} s  {} pods serve again: {cost}",
                        start.elapsed().as_secs(),
                        status.ready_replicas
                    ),
                );
            }
            self.pause("the operator has not reported the end", &self.gateway).await?;
        }
    }

    async fn pause(&self, what: &'static str, of: &str) -> Result<(), Error> {
        if Instant::now() >= self.until {
            let next = format!(
                "see kubectl -n {} describe wsgw {}, and what is said of {of}",
                self.cluster.namespace, self.gateway
            );
            return Err(DrainError::Late { what, after: self.timeout, next }.into());
        }
        tokio::time::sleep(PACE).await;
        Ok(())
    }
}

/// What clients were put to since, once that has ended: pods that stop at about the same time share an entry.
fn entry(entries: &[DisruptionStatus], began: jiff::Timestamp) -> Option<&DisruptionStatus> {
    let entry = entries.iter().rev().find(|entry| entry.kind == DisruptionKind::PodStopped)?;
    let ended = entry.ended.as_ref()?;
    // Kubernetes' times are whole seconds.
    (ended.0.as_second() >= began.as_second()).then_some(entry)
}
