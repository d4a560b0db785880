//! `wsgw disconnect`: ends the connections of a user or of a token, keeps them out for a while, and takes that back.
//!
//! It writes an annotation of the WsGateway, with the rights of whoever runs it; the operator brings it to the pods. Nothing
//! of the time of this machine is in what is written.

mod page;

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;
use wsgateway_crds::{BadLine, DISCONNECT, DisconnectEntry, Disconnects, Full, Whom, WsGateway};

use crate::cli::{DisconnectArgs, Select};
use crate::cluster::{Asked, Cluster, GATEWAYS};
use crate::error::Error;
use crate::output::print;
use crate::screen::{Terminal, Tone};

/// Who writes.
const MANAGER: &str = "wsgw";
/// Others who write at the same moment: each attempt begins with what they have written.
const ATTEMPTS: usize = 10;
/// Between two looks at what the operator has made of it.
const PACE: Duration = Duration::from_millis(250);

/// Why nobody was disconnected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DisconnectError {
    #[error("{0}")]
    Entry(#[from] BadLine),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("which WsGateway? namespace {namespace} has {names}")]
    Which { namespace: String, names: String },
    #[error("others write WsGateway {0} again and again: try again")]
    Contended(String),
    #[error(
        "it is written, and the operator has not taken it up within {after:?}: does it run, is spec.paused true, or spec \
         refused (kubectl wsgw status {gateway})? It does as soon as it can; to take it back, say --lift"
    )]
    Late { gateway: String, after: Duration },
}

/// Writes or shows what the command line says.
pub(crate) async fn run(options: &DisconnectArgs) -> Result<(), Error> {
    let cluster = Cluster::new(&options.reach).await?;
    if options.list {
        let select = Select { name: options.name.clone(), ..Select::default() };
        let gateways = cluster.gateways(&select).await?;
        return print(&page::list(&gateways, options.show)?);
    }
    let whom = match (&options.user, &options.token_id) {
        (Some(user), _) => Whom::User(user.clone()),
        (None, id) => Whom::Token(id.clone().unwrap_or_default()),
    };
    let entry = DisconnectEntry::new(whom, options.ban).map_err(DisconnectError::from)?;
    let gateway = match &options.name {
        Some(name) => name.strip_prefix("wsgateway/").unwrap_or(name).to_owned(),
        None => only_one(&cluster).await?,
    };
    let terminal = Terminal::new(options.show.color);
    let say = |tone, text: &str| {
        print(&format!("{}\n", terminal.paint(tone, &terminal.wrap(text, 0, 2))))
    };
    let written = write(&cluster, &gateway, &entry, options.lift).await?;
    let Some(written) = written else {
        return say(Tone::Plain, &page::nothing_stands(&entry.whom));
    };
    if written.spec.auth.is_none() && !options.lift {
        say(Tone::Warn, page::NO_AUTH)?;
    }
    if options.lift {
        return say(Tone::Good, &page::lifted(&entry.whom));
    }
    tokio::select! {
        stamped = stamped(&cluster, &gateway, &entry.whom, options.timeout) => {
            say(Tone::Good, &page::done(&entry.whom, stamped?.until))
        }
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// The name of the namespace's WsGateway, if it has one.
async fn only_one(cluster: &Cluster) -> Result<String, Error> {
    let gateways = cluster.gateways(&Select::default()).await?;
    if let [only] = gateways.as_slice() {
        return Ok(only.name_any());
    }
    let names: Vec<String> = gateways.iter().map(ResourceExt::name_any).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(DisconnectError::Which { namespace: cluster.namespace.clone(), names }.into())
}

fn disconnects(gateway: &WsGateway) -> Disconnects {
    gateway.annotations().get(DISCONNECT).map(|text| Disconnects::parse(text)).unwrap_or_default()
}

async fn get(cluster: &Cluster, name: &str) -> Result<WsGateway, Error> {
    let asked = Asked { verb: "get", resource: GATEWAYS, namespace: Some(&cluster.namespace) };
    match cluster.api::<WsGateway>(false).get_opt(name).await {
        Ok(Some(gateway)) => Ok(gateway),
        Ok(None) => Err(cluster.no_gateway(name).await.into()),
        Err(error) => Err(cluster.trouble(error, asked).into()),
    }
}

/// Changes the annotation, on top of what others have written; `None`: there was nothing to lift.
async fn write(
    cluster: &Cluster,
    name: &str,
    entry: &DisconnectEntry,
    lift: bool,
) -> Result<Option<WsGateway>, Error> {
    let parameters =
        PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    for _ in 0..ATTEMPTS {
        let gateway = get(cluster, name).await?;
        let mut all = disconnects(&gateway);
        if !lift {
            all.add(entry.clone()).map_err(DisconnectError::from)?;
        } else if all.lift(&entry.whom) == 0 {
            return Ok(None);
        }
        let patch = json!({ "metadata": {
            "annotations": { DISCONNECT: all.render() },
            "resourceVersion": gateway.metadata.resource_version,
        } });
        let api = cluster.api::<WsGateway>(false);
        match api.patch_metadata(name, &parameters, &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(Some(gateway)),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => {
                let namespace = Some(cluster.namespace.as_str());
                let asked = Asked { verb: "patch", resource: GATEWAYS, namespace };
                return Err(cluster.trouble(error, asked).into());
            }
        }
    }
    Err(DisconnectError::Contended(name.to_owned()).into())
}

/// Waits until the operator has taken up all that stands for somebody; the last of it.
async fn stamped(
    cluster: &Cluster,
    gateway: &str,
    whom: &Whom,
    timeout: Duration,
) -> Result<DisconnectEntry, Error> {
    let until = Instant::now() + timeout;
    loop {
        let all = disconnects(&get(cluster, gateway).await?);
        let theirs = || all.entries().filter(|entry| entry.whom == *whom);
        if theirs().all(|entry| entry.at.is_some())
            && let Some(last) = theirs().max_by_key(|entry| entry.until)
        {
            return Ok(last.clone());
        }
        if Instant::now() >= until {
            let (gateway, after) = (gateway.to_owned(), timeout);
            return Err(DisconnectError::Late { gateway, after }.into());
        }
        tokio::time::sleep(PACE).await;
    }
}
