//! `wsgw events`: what Kubernetes and the operator said of WsGateways and of what belongs to them, the newest last.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde::Serialize;
use wsgateway_crds::WsGateway;

use crate::cli::{EventsArgs, Format, Show};
use crate::cluster::{Cluster, Follow, follow};
use crate::error::Error;
use crate::output::{document, print};
use crate::screen::{Column, Table, Terminal, Tone, age, clean};

const EVENTS: &str = "events";
/// Kinds of what belongs to a WsGateway, or is made by what does. A ScaledObject of KEDA has the name of the Deployment.
const KINDS: [&str; 13] = [
    "WsGateway",
    "Pod",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "ScaledObject",
    "PodDisruptionBudget",
    "Service",
    "ConfigMap",
    "Ingress",
    "HTTPRoute",
    "NetworkPolicy",
    "ServiceAccount",
];

/// An event, in the fields of `-o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    namespace: String,
    gateway: String,
    /// When it happened last.
    time: Option<Timestamp>,
    #[serde(rename = "type")]
    kind: String,
    reason: String,
    object: String,
    count: i32,
    message: String,
}

/// Names of WsGateways by namespace.
type Names = BTreeMap<String, BTreeSet<String>>;

/// Shows what the command line asks for.
pub(crate) async fn run(options: &EventsArgs) -> Result<(), Error> {
    let cluster = Cluster::new(&options.reach).await?;
    let select = &options.select;
    // One that has been deleted has events, too.
    let gateways = cluster.gateway_list(select).await?.items;
    let mut names = names(&gateways);
    if let Some(name) = &select.name {
        names.entry(cluster.namespace.clone()).or_default().insert(name.clone());
    }
    let is_meant = |told: &Told| !options.warnings || told.kind == "Warning";
    if !options.watch {
        let list =
            cluster.list::<Event>(select.all_namespaces, ListParams::default(), EVENTS).await?;
        let mut told: Vec<Told> =
            list.items.iter().filter_map(|event| told(event, &names)).filter(is_meant).collect();
        if told.is_empty()
            && gateways.is_empty()
            && let Some(name) = &select.name
        {
            return Err(cluster.no_gateway(name).await.into());
        }
        told.sort_by_key(|told| told.time);
        return print(&shown(&told, options.show, select.all_namespaces)?);
    }
    let what =
        Follow { all: select.all_namespaces, parameters: ListParams::default(), resource: EVENTS };
    let mut seen: BTreeMap<(Option<String>, String), (i32, Option<Timestamp>)> = BTreeMap::new();
    let mut is_first = true;
    let show = |known: &BTreeMap<(Option<String>, String), Event>| {
        seen.retain(|key, _| known.contains_key(key));
        let mut new = Vec::new();
        for (key, event) in known {
            let Some(told) = told(event, &names).filter(is_meant) else { continue };
            let mark = (told.count, told.time);
            if seen.insert(key.clone(), mark) != Some(mark) {
                new.push(told);
            }
        }
        new.sort_by_key(|told| told.time);
        let first = std::mem::take(&mut is_first);
        print(&lines(&new, first, options.show, select.all_namespaces)?)
    };
    crate::until_interrupted(follow::<Event, Error>(&cluster, &what, show)).await
}

fn names(gateways: &[WsGateway]) -> Names {
    let mut names = Names::new();
    for gateway in gateways {
        names
            .entry(gateway.namespace().unwrap_or_default())
            .or_default()
            .insert(gateway.name_any());
    }
    names
}

/// What an event says, if it is of one of these WsGateways.
fn told(event: &Event, names: &Names) -> Option<Told> {
    let object = &event.involved_object;
    let (kind, name) = (object.kind.as_deref()?, object.name.as_deref()?);
    let namespace = object.namespace.clone().or_else(|| event.namespace())?;
    let gateway = owner(kind, name, names.get(&namespace)?)?;
    let series = event.series.as_ref();
    // Which of them is set depends on who wrote it.
    let time = (series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0))
        .or_else(|| event.last_timestamp.as_ref().map(|time| time.0))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|time| time.0));
    Some(Told {
        gateway: gateway.to_owned(),
        time,
        kind: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        object: format!("{}/{name}", kind.to_lowercase()),
        count: series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1),
        message: clean(event.message.as_deref().unwrap_or_default().trim()),
        namespace,
    })
}

/// The WsGateway that an object belongs to, by its name: objects that are gone have nothing else. Of several the longest
/// name: odin-admin is a WsGateway before it is the Service of odin.
fn owner<'a>(kind: &str, name: &str, names: &'a BTreeSet<String>) -> Option<&'a str> {
    if !KINDS.contains(&kind) {
        return None;
    }
    let is_of = |gateway: &&String| {
        let Some(rest) = name.strip_prefix(gateway.as_str()) else { return false };
        match kind {
            "WsGateway" => rest.is_empty(),
            "ConfigMap" => rest == "-live" || rest.starts_with("-config"),
            "Service" => rest.is_empty() || rest.starts_with("-admin"),
            // Pods and ReplicaSets of its Deployment, and what has that name.
            _ => {
                rest.is_empty()
                    || rest == "-keda"
                    || rest == "-gateway"
                    || rest.starts_with("-gateway-")
            }
        }
    };
    names.iter().filter(is_of).max_by_key(|gateway| gateway.len()).map(String::as_str)
}

fn shown(told: &[Told], show: Show, namespaces: bool) -> Result<String, Error> {
    match show.output {
        Format::Json | Format::Yaml => document(told, show.output, false),
        Format::Table | Format::Wide if told.is_empty() => {
            Ok("no events: Kubernetes keeps them for an hour\n".to_owned())
        }
        Format::Table | Format::Wide => {
            Ok(table(told, Timestamp::now(), namespaces).render(Terminal::new(show.color)))
        }
    }
}

fn table(told: &[Told], now: Timestamp, namespaces: bool) -> Table {
    let mut table = Table::new(&[
        Column::text("AGE"),
        Column::flexible("NAMESPACE"),
        Column::text("TYPE"),
        Column::flexible("REASON"),
        Column::flexible("OBJECT"),
        Column::flexible("MESSAGE"),
    ]);
    for told in told {
        let ago = told.time.map(|time| age(now.as_second().saturating_sub(time.as_second())));
        let ago = ago.unwrap_or_default();
        let times = if told.count > 1 { format!("{ago} (x{})", told.count) } else { ago };
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        table.row([
            (times, Tone::Dim),
            plain(&told.namespace),
            (told.kind.clone(), tone(told)),
            (told.reason.clone(), tone(told)),
            plain(&told.object),
            plain(&told.message),
        ]);
    }
    table.only(|title| namespaces || title != "NAMESPACE")
}

fn tone(told: &Told) -> Tone {
    if told.kind == "Warning" { Tone::Warn } else { Tone::Good }
}

/// A line for each, as they come: nothing is known of the widths of those to come.
fn lines(told: &[Told], first: bool, show: Show, namespaces: bool) -> Result<String, Error> {
    if matches!(show.output, Format::Json | Format::Yaml) {
        return if told.is_empty() && !first {
            Ok(String::new())
        } else {
            document(told, show.output, true)
        };
    }
    let terminal = Terminal::new(show.color);
    let mut out = String::new();
    for told in told {
        let time = told.time.map(|time| time.strftime("%H:%M:%S").to_string()).unwrap_or_default();
        let place = if namespaces { format!("{}/", told.namespace) } else { String::new() };
        let head = format!("{time} {}", told.reason);
        let rest =
            terminal.wrap(&format!("{place}{}: {}", told.object, told.message), head.len() + 1, 2);
        out.push_str(&terminal.paint(tone(told), &head));
        out.extend([" ", &rest, "\n"]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_belong_to_the_wsgateway_whose_name_they_begin_with() {
        let names: BTreeSet<String> =
            ["odin", "odin-gateway", "odin-admin"].map(str::to_owned).into();
        let of = |kind, name| owner(kind, name, &names);
        assert_eq!(of("WsGateway", "odin"), Some("odin"));
        assert_eq!(of("Pod", "odin-gateway-5d4f-x2"), Some("odin"));
        assert_eq!(of("Pod", "odin-gateway-gateway-5d4f-x2"), Some("odin-gateway"));
        assert_eq!(of("Service", "odin-admin"), Some("odin-admin"));
        assert_eq!(of("ConfigMap", "odin-config-abc"), Some("odin"));
        assert_eq!(of("Pod", "odina-gateway-1"), None);
        assert_eq!(of("Node", "odin"), None);
        assert_eq!(of("WsGateway", "odin-2"), None);
    }

    #[test]
    fn the_time_is_when_it_happened_last() {
        let names: Names = [("n".to_owned(), ["odin".to_owned()].into())].into();
        let event = |more: serde_json::Value| -> Event {
            let mut event = serde_json::json!({
                "metadata": { "name": "e", "namespace": "n", "creationTimestamp": "2026-01-01T00:00:01Z" },
                "involvedObject": { "kind": "WsGateway", "name": "odin", "namespace": "n" },
                "type": "Warning", "reason": "NatsUnreachable", "message": "no\nanswer",
            });
            for (key, value) in more.as_object().unwrap() {
                event[key] = value.clone();
            }
            serde_json::from_value(event).unwrap()
        };
        let told_of = |more| told(&event(more), &names).unwrap();
        let plain = told_of(serde_json::json!({}));
        assert_eq!((plain.count, plain.message.as_str()), (1, "no answer"));
        assert_eq!(plain.time.unwrap().to_string(), "2026-01-01T00:00:01Z");
        let series = serde_json::json!({ "series": { "count": 7, "lastObservedTime": "2026-01-01T00:09:00.000000Z" } });
        let series = told_of(series);
        assert_eq!(
            (series.count, series.time.unwrap().to_string().as_str()),
            (7, "2026-01-01T00:09:00Z")
        );
    }
}
