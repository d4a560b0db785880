//! `wsgw plan`: what a manifest would change in its stream, by the very plan that the operator follows, and in its pods.

mod pods;
mod scale;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::SystemTime;

use wsgateway_config::JetStreamSource;
use wsgateway_crds::{PodStatus, ValidGateway, ValidNats, ValidSource, WsGatewayStatus, validate};
use wsgateway_nats::{Claim, OWNER_KEY, Observed, Owner, Plan, RELEASED_BY_KEY, fresh_epoch, plan};

use crate::cli;
use crate::error::Error;
use crate::given::{self, Words};
use crate::manifest::Manifest;
use crate::server::{Server, policy};

/// Stands for an identity that is not known here.
const UNKNOWN: &str = "new";

pub(crate) fn run(options: &cli::Plan) -> Result<(), Error> {
    wsgateway_runtime::logs::init_with("wsgw", "warn");
    let manifest = Manifest::read(&options.file)?;
    let gateway = named(&manifest, options)?;
    let mut text = String::new();
    if let Some(path) = &options.before {
        let before = Manifest::read(path)?;
        let status = before.object()?.status;
        pods::describe(&before.gateway()?, &gateway, &now(status), &mut text)?;
    }
    let ValidSource::Nats(nats) = &gateway.source else {
        text.push_str("stream: none, since messages come from Redis\n");
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    let planned = runtime.block_on(ask(options, &gateway, nats));
    if let Ok(planned) = &planned {
        describe(planned, &nats.stream.name, &mut text);
    }
    // What is known of the pods is shown even if the stream cannot be asked.
    std::io::stdout().write_all(text.as_bytes())?;
    match planned? {
        Planned { plan: Plan::Refuse(refusal), server, .. } => {
            Err(server.refused(&nats.stream.name, refusal))
        }
        _ => Ok(()),
    }
}

/// The WsGateway of the manifest, in the namespace that is given if it names none.
fn named(manifest: &Manifest, options: &cli::Plan) -> Result<ValidGateway, Error> {
    // First as a whole, so that every error is listed.
    let gateway = manifest.gateway()?;
    let mut object = manifest.object()?;
    if object.metadata.namespace.is_none() {
        object.metadata.namespace.clone_from(&options.namespace);
    } else {
        return Ok(gateway);
    }
    validate(&object).map_err(|errors| manifest.wrong(errors))
}

fn now(status: Option<WsGatewayStatus>) -> pods::Now {
    let pod = |pod: PodStatus| pods::Pod { name: pod.name, connections: pod.connections };
    status.map_or_else(pods::Now::default, |status| pods::Now {
        pods: status.replicas,
        connections: status.connections,
        each: status.pods.into_iter().map(pod).collect(),
        more: status.more_pods.unwrap_or_default(),
    })
}

struct Planned {
    plan: Plan,
    observed: Option<Observed>,
    server: Server,
}

async fn ask(
    options: &cli::Plan,
    gateway: &ValidGateway,
    nats: &ValidNats,
) -> Result<Planned, Error> {
    const HINT: &str = "give a server that can be reached from here with --nats, after kubectl port-forward for example";
    let stream = nats.stream.name.as_str();
    let url = options.nats.as_deref();
    let (source, words) = match given::source("--nats", url, &options.access, stream)? {
        Some(source) => (source, Words::Flags("--nats")),
        None => (of_manifest(nats)?, Words::Manifest),
    };
    let server = Server::connect(&source, "wsgw plan", words, HINT).await?;
    let observed = server.observe(stream).await?;
    let owner = owner(gateway, options.cluster.as_deref(), observed.as_ref());
    let claim = Claim::new(&owner, policy(nats.adoption));
    let fresh = fresh_epoch(SystemTime::now(), fastrand::u64(..));
    let plan = plan(&nats.stream, &claim, observed.as_ref(), &fresh);
    Ok(Planned { plan, observed, server })
}

/// The servers of the manifest, if they ask for nothing that is only in the cluster.
pub(crate) fn of_manifest(nats: &ValidNats) -> Result<JetStreamSource, Error> {
    if !nats.files().is_empty() {
        return Err(Error::SecretsElsewhere);
    }
    let mut source = JetStreamSource::new(nats.servers.clone(), &nats.stream.name);
    if let Some(prefix) = &nats.api_prefix {
        source.api_prefix.clone_from(prefix);
    }
    if let Some(prefix) = &nats.inbox_prefix {
        source.inbox_prefix.clone_from(prefix);
    }
    Ok(source)
}

/// The owner that the operator would be. The manifest knows neither its cluster nor its uid: a mark of its namespace and name
/// is taken for its own, unless it is of another cluster than the one that is given.
fn owner(gateway: &ValidGateway, cluster: Option<&str>, observed: Option<&Observed>) -> Owner {
    let metadata = observed.map(|observed| observed.config.metadata()).unwrap_or_default();
    let released = metadata.get(RELEASED_BY_KEY).map(|place| format!("{place}/{UNKNOWN}"));
    let mark = metadata.get(OWNER_KEY).cloned().or(released);
    let ours = |mark: &Owner| {
        mark.namespace() == gateway.namespace
            && mark.name() == gateway.name
            && cluster.is_none_or(|cluster| cluster == mark.cluster())
    };
    mark.as_deref().and_then(Owner::parse).filter(ours).unwrap_or_else(|| {
        let uid = if gateway.uid.is_empty() { UNKNOWN } else { &gateway.uid };
        Owner::new(cluster.unwrap_or(UNKNOWN), &gateway.namespace, &gateway.name, uid)
    })
}

fn describe(planned: &Planned, stream: &str, text: &mut String) {
    let url = planned.server.url();
    let mut lines: Vec<String> = Vec::new();
    let summary = match &planned.plan {
        Plan::Create(config) => {
            let fields = config.fields().into_iter().filter(|(field, _)| !is_mark(field));
            lines.extend(fields.map(|(field, value)| format!("{field}: {value}")));
            "would be created"
        }
        Plan::Update { changes, .. } => {
            lines.extend(changes.iter().map(ToString::to_string));
            "would be changed"
        }
        Plan::StepWise { changes, .. } => {
            lines.extend(changes.iter().map(ToString::to_string));
            "would be taken over: first its mark, then what is different"
        }
        Plan::Noop(differing) if differing.is_empty() => "is as specified",
        Plan::Noop(differing) => {
            lines.extend(differing.iter().map(ToString::to_string));
            "is observed and stays as it is; different from the specification are"
        }
        Plan::Refuse(_) => "would be refused, and stays as it is",
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "stream {stream} on {url} {summary}");
    if let (Some(observed), Some(config)) = (&planned.observed, planned.plan.config()) {
        lines.extend(discarded(observed, config.number("max_msgs"), config.number("max_bytes")));
    }
    for line in &lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn is_mark(field: &str) -> bool {
    ["owner", "epoch"].contains(&field)
}

/// What new limits discard at once.
fn discarded(observed: &Observed, messages: i64, bytes: i64) -> Vec<String> {
    let beyond = |kept: u64, limit: i64| {
        u64::try_from(limit)
            .ok()
            .filter(|limit| *limit > 0)
            .and_then(|limit| kept.checked_sub(limit))
    };
    let mut lines = Vec::new();
    if let Some(count) = beyond(observed.messages, messages).filter(|count| *count > 0) {
        lines.push(format!("discards the oldest {count} of {} messages", observed.messages));
    }
    if let Some(count) = beyond(observed.bytes, bytes).filter(|count| *count > 0) {
        lines.push(format!("discards the oldest messages, {count} of {} bytes", observed.bytes));
    }
    lines
}

#[cfg(test)]
mod tests {
    use wsgateway_nats::Settings;

    use super::*;

    fn observed(metadata: &[(&str, &str)]) -> Observed {
        let metadata: serde_json::Map<String, serde_json::Value> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        let config: Settings =
            serde_json::from_value(serde_json::json!({ "metadata": metadata })).unwrap();
        Observed {
            config,
            epoch: String::new(),
            messages: 100,
            bytes: 5_000,
            first_sequence: 1,
            last_sequence: 100,
            consumers: 0,
        }
    }

    #[test]
    fn a_mark_of_the_same_namespace_and_name_is_taken_for_our_own() {
        let gateway = Manifest::demo().gateway().unwrap();
        let (namespace, name) = (&gateway.namespace, &gateway.name);
        let ours = format!("c1/{namespace}/{name}/u1");
        let marked = observed(&[(OWNER_KEY, &ours)]);
        assert_eq!(owner(&gateway, None, Some(&marked)).to_string(), ours);
        assert_eq!(owner(&gateway, Some("c1"), Some(&marked)).to_string(), ours);
        assert_eq!(owner(&gateway, Some("c2"), Some(&marked)).cluster(), "c2");
        let released = observed(&[(RELEASED_BY_KEY, &format!("c1/{namespace}/{name}"))]);
        assert_eq!(owner(&gateway, None, Some(&released)).cluster(), "c1");
        let theirs = observed(&[(OWNER_KEY, "c1/other/odin/u1")]);
        assert_eq!(owner(&gateway, None, Some(&theirs)).cluster(), UNKNOWN);
    }

    #[test]
    fn what_new_limits_discard_is_counted() {
        assert_eq!(discarded(&observed(&[]), 40, -1), ["discards the oldest 60 of 100 messages"]);
        assert_eq!(discarded(&observed(&[]), -1, 4_000).len(), 1);
        assert!(discarded(&observed(&[]), 100, 0).is_empty());
    }
}
