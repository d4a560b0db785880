//! `wsgw stream`: the JetStream streams of WsGateways, as their status and specification have them.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use wsgateway_crds::{Ownership, WsGateway};

use crate::cli::{Format, StreamArgs};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateways;
use crate::output::document;
use crate::screen::{Column, Table, Terminal, Tone, age, bytes, clean, count};
use crate::status::pod_tone;

/// A stream, in the fields of `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    namespace: String,
    gateway: String,
    /// nats or redis, which has no stream.
    source: &'static str,
    servers: Vec<String>,
    name: Option<String>,
    subjects: Vec<String>,
    /// Limits as the specification has them; absent ones are the defaults of the kind.
    limits: serde_json::Value,
    ready: bool,
    reason: Option<String>,
    message: Option<String>,
    ownership: Option<Ownership>,
    epoch: Option<String>,
    messages: Option<i64>,
    bytes: Option<i64>,
    first_sequence: Option<i64>,
    last_sequence: Option<i64>,
    consumers: Option<i32>,
    as_of: Option<Timestamp>,
    readers: Vec<Reader>,
}

/// A pod that reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reader {
    pod: String,
    source: Option<String>,
    lag_messages: Option<i64>,
    #[serde(skip)]
    tone: Tone,
}

/// Shows what the command line asks for.
pub(crate) async fn run(options: &StreamArgs) -> Result<(), Error> {
    let cluster = Cluster::new(&options.reach).await?;
    let shown = |gateways: &[WsGateway]| shown(gateways, options);
    gateways::show(&cluster, &options.select, options.show, options.watch, shown).await
}

fn shown(gateways: &[WsGateway], options: &StreamArgs) -> Result<String, Error> {
    let accounts: Vec<Account> = gateways.iter().map(Account::of).collect();
    let format = options.show.output;
    if matches!(format, Format::Json | Format::Yaml) {
        return document(&accounts, format, options.watch);
    }
    let (terminal, now) = (Terminal::new(options.show.color), Timestamp::now());
    Ok(match (&options.select.name, accounts.as_slice()) {
        (_, []) => "no WsGateway here; -A shows those of all namespaces\n".to_owned(),
        (Some(_), [one]) => page(one, now, terminal),
        (_, all) => table(all, options.select.all_namespaces).render(terminal),
    })
}

impl Account {
    fn of(gateway: &WsGateway) -> Self {
        let status = gateway.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().find(|one| one.type_ == "StreamReady");
        let (spec, seen) = (&gateway.spec, status.stream.as_ref());
        let stream = spec.stream.as_ref();
        let servers = spec.nats.as_ref().map(|nats| nats.servers.clone());
        let redis = spec.redis.as_ref().map(|redis| redis.servers.clone());
        // Written as the manifest has it, so that new limits are shown, too.
        let mut limits =
            stream.and_then(|stream| serde_json::to_value(stream).ok()).unwrap_or_default();
        if let Some(fields) = limits.as_object_mut() {
            fields.retain(|field, _| field != "name" && field != "subjects");
        }
        let reader = |pod: &wsgateway_crds::PodStatus| Reader {
            pod: pod.name.clone(),
            source: pod.source.clone(),
            lag_messages: pod.lag_messages,
            tone: pod_tone(pod),
        };
        Self {
            namespace: gateway.namespace().unwrap_or_default(),
            gateway: gateway.name_any(),
            source: if spec.redis.is_some() { "redis" } else { "nats" },
            servers: servers.or(redis).unwrap_or_default(),
            name: stream.map(|stream| stream.name.clone()),
            subjects: stream.map(|stream| stream.subjects.clone()).unwrap_or_default(),
            limits,
            ready: ready.is_some_and(|one| one.status == "True"),
            reason: ready.map(|one| one.reason.clone()),
            message: ready.map(|one| one.message.clone()),
            ownership: seen.map(|seen| seen.ownership),
            epoch: seen.map(|seen| seen.epoch.clone()),
            messages: seen.map(|seen| seen.messages),
            bytes: seen.map(|seen| seen.bytes),
            first_sequence: seen.map(|seen| seen.first_sequence),
            last_sequence: seen.map(|seen| seen.last_sequence),
            consumers: seen.map(|seen| seen.consumers),
            as_of: status.numbers_time.as_ref().map(|time| time.0),
            readers: status.pods.iter().map(reader).collect(),
        }
    }

    fn most_lag(&self) -> i64 {
        self.readers.iter().filter_map(|reader| reader.lag_messages).max().unwrap_or_default()
    }

    fn state(&self) -> (String, Tone) {
        let reason = match self.source {
            "redis" => "Redis".to_owned(),
            _ => self.reason.clone().unwrap_or_else(|| "NotSeen".to_owned()),
        };
        (reason, if self.ready || self.source == "redis" { Tone::Good } else { Tone::Bad })
    }
}

fn lag(messages: i64) -> (String, Tone) {
    (count(messages), if messages > 0 { Tone::Warn } else { Tone::Plain })
}

fn table(accounts: &[Account], namespaces: bool) -> Table {
    let mut table = Table::new(&[
        Column::flexible("NAMESPACE"),
        Column::flexible("NAME"),
        Column::flexible("STREAM"),
        Column::flexible("STATUS"),
        Column::text("OWNER"),
        Column::number("MESSAGES"),
        Column::number("BYTES"),
        Column::number("LAST"),
        Column::number("CONSUMERS"),
        Column::number("MOST LAG"),
    ]);
    for account in accounts {
        let plain = |text: Option<String>| (text.unwrap_or_default(), Tone::Plain);
        table.row([
            plain(Some(account.namespace.clone())),
            (account.gateway.clone(), Tone::Bold),
            plain(account.name.clone()),
            account.state(),
            plain(account.ownership.map(|ownership| format!("{ownership:?}"))),
            plain(account.messages.map(count)),
            plain(account.bytes.map(|size| bytes(size.unsigned_abs()))),
            plain(account.last_sequence.map(count)),
            plain(account.consumers.map(count)),
            lag(account.most_lag()),
        ]);
    }
    table.only(|title| namespaces || title != "NAMESPACE")
}

const INDENT: usize = 11;

fn page(account: &Account, now: Timestamp, terminal: Terminal) -> String {
    let mut text = String::new();
    for (title, tone, value) in fields(account, now) {
        let value = terminal.wrap(&clean(&value), INDENT, INDENT);
        let lines: Vec<String> = value.split('\n').map(|line| terminal.paint(tone, line)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title:<INDENT$}{}", lines.join("\n"));
    }
    let columns = [Column::flexible("POD"), Column::text("SOURCE"), Column::number("LAG")];
    let mut readers = Table::new(&columns);
    for reader in &account.readers {
        let source = reader.source.clone().unwrap_or_default();
        let lag = lag(reader.lag_messages.unwrap_or_default());
        readers.row([(reader.pod.clone(), Tone::Plain), (source, reader.tone), lag]);
    }
    if !account.readers.is_empty() {
        let _ = write!(text, "\n{}", readers.render(terminal));
    }
    text
}

/// A title, and what stands next to it.
type Field = (&'static str, Tone, String);

fn fields(account: &Account, now: Timestamp) -> Vec<Field> {
    let plain = |title, value| (title, Tone::Plain, value);
    let servers = plain("Servers", account.servers.join(", "));
    let Some(name) = &account.name else {
        let none = "none: messages come from Redis Pub/Sub".to_owned();
        return vec![plain("Stream", none), servers];
    };
    let (reason, tone) = account.state();
    let message = account.message.as_deref().unwrap_or("no operator has seen it yet");
    let owner = match account.ownership {
        Some(Ownership::Owned) => {
            let Account { namespace, gateway, .. } = account;
            format!("WsGateway {namespace}/{gateway}, which keeps it as specified")
        }
        Some(Ownership::Foreign) => {
            "somebody else: it is read as it is (spec.stream.adoptionPolicy)".to_owned()
        }
        None => "not known yet".to_owned(),
    };
    let mut fields = vec![
        ("Stream", Tone::Bold, name.clone()),
        ("Status", tone, format!("{reason}: {message}")),
        plain("Owner", owner),
        servers,
        plain("Subjects", account.subjects.join(", ")),
    ];
    if let Some(limits) = account.limits.as_object().filter(|limits| !limits.is_empty()) {
        let limit = |(field, value): (&String, &serde_json::Value)| {
            format!("{field} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        fields.push(plain("Limits", limits.iter().map(limit).collect::<Vec<_>>().join(", ")));
    }
    fields.extend(contents(account, now));
    fields
}

/// What the stream holds, once that has been seen.
fn contents(account: &Account, now: Timestamp) -> Vec<Field> {
    let (Some(messages), Some(size)) = (account.messages, account.bytes) else { return Vec::new() };
    let seen = account.as_of.map(|time| age(now.as_second().saturating_sub(time.as_second())));
    let seen = seen.map(|ago| format!(", as of {ago} ago")).unwrap_or_default();
    let number = |number: Option<i64>| count(number.unwrap_or_default());
    let plain = |title, value| (title, Tone::Plain, value);
    vec![
        plain(
            "Holds",
            format!("{} messages, {}{seen}", count(messages), bytes(size.unsigned_abs())),
        ),
        plain(
            "Sequences",
            format!("{} to {}", number(account.first_sequence), number(account.last_sequence)),
        ),
        plain("Consumers", number(account.consumers.map(i64::from))),
        plain("Epoch", account.epoch.clone().unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odin() -> Account {
        let gateway: WsGateway = serde_json::from_value(serde_json::json!({
            "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway",
            "metadata": { "name": "odin", "namespace": "trading" },
            "spec": { "nats": { "servers": ["nats://n:4222"] },
                "stream": { "name": "ODIN", "subjects": ["odin.>"], "maxAge": "30s", "replicas": 3 } },
            "status": {
                "numbersTime": "2026-01-02T03:03:50Z",
                "stream": { "name": "ODIN", "epoch": "e1", "messages": 1_234_567, "bytes": 52_428_800, "firstSequence": 1,
                    "lastSequence": 1_234_567, "consumers": 3, "ownership": "Owned" },
                "pods": [
                    { "name": "odin-gateway-1-a", "state": "Serving", "connections": 10, "source": "live" },
                    { "name": "odin-gateway-1-b", "state": "Serving", "source": "live", "lagMessages": 4_000 },
                ],
                "conditions": [{ "type": "StreamReady", "status": "True", "reason": "StreamAsSpecified",
                    "message": "the stream is as specified", "lastTransitionTime": "2026-01-02T03:00:00Z" }],
            },
        }))
        .unwrap();
        Account::of(&gateway)
    }

    #[test]
    fn a_stream_and_who_reads_it() {
        let terminal = Terminal { width: None, height: None, color: false };
        let now = "2026-01-02T03:04:00Z".parse().unwrap();
        insta::assert_snapshot!(page(&odin(), now, terminal));
        insta::assert_snapshot!(table(&[odin()], false).render(terminal));
    }
}
