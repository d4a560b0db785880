//! The pages of `wsgw status` (pure).

use std::fmt::Write as _;

use jiff::Timestamp;
use wsgateway_crds::{DisruptionStatus, HaltStatus, Ownership};

use super::account::{Account, kind, pod_tone};
use crate::cli::Format;
use crate::screen::{Column, Table, Terminal, Tone, age, bytes, clean, count};

/// Where the values of a page begin.
const INDENT: usize = 13;

/// That there are no WsGateways.
pub(super) fn none(place: Option<&str>, selector: Option<&str>, terminal: Terminal) -> String {
    let place =
        place.map_or("the cluster".to_owned(), |namespace| format!("namespace {namespace}"));
    let which = selector.map(|selector| format!(" with {selector}")).unwrap_or_default();
    let text = format!("no WsGateway{which} in {place}; -A shows those of all namespaces");
    terminal.wrap(&text, 0, 0) + "\n"
}

/// A row for each, then what is the matter with some.
pub(super) fn all(
    accounts: &[Account],
    namespaces: bool,
    format: Format,
    now: Timestamp,
    terminal: Terminal,
) -> String {
    let mut table = Table::new(&[
        Column::flexible("NAMESPACE"),
        Column::flexible("NAME"),
        Column::text("READY"),
        Column::flexible("STATUS"),
        Column::text("PODS"),
        Column::number("CONNECTIONS"),
        Column::number("CAPACITY"),
        Column::flexible("STREAM"),
        Column::text("UNDER WAY"),
        Column::text("AGE"),
        Column::flexible("ENDPOINT"),
        Column::text("EPOCH"),
    ]);
    for account in accounts {
        table.row(row(account, now));
    }
    let is_wide = format == Format::Wide;
    let table = table.only(|title| match title {
        "NAMESPACE" => namespaces,
        "ENDPOINT" | "EPOCH" => is_wide,
        _ => true,
    });
    let mut text = table.render(terminal);
    for account in accounts {
        let full = format!("{}/{}", account.namespace, account.name);
        let name = if namespaces { full } else { account.name.clone() };
        for (tone, line) in remarks(account) {
            let line = terminal.wrap(&format!("{name}: {}", clean(&line)), 0, 2);
            let _ = write!(text, "\n{}\n", terminal.paint(tone, &line));
        }
    }
    text
}

fn row(account: &Account, now: Timestamp) -> Vec<(String, Tone)> {
    let plain = |text: String| (text, Tone::Plain);
    let (state, tone) = account.state();
    let ready = if account.ready { "True" } else { "False" };
    let replicas = &account.replicas;
    let pods = format!("{}/{}", replicas.serving, replicas.wanted);
    let short = replicas.serving < replicas.wanted;
    let stream = account.stream.as_ref();
    let under_way = account.under_way.as_ref().map(|note| note.reason.clone());
    vec![
        plain(account.namespace.clone()),
        (account.name.clone(), Tone::Bold),
        (ready.to_owned(), if account.ready { Tone::Good } else { Tone::Bad }),
        (state, tone),
        (pods, if short { Tone::Warn } else { Tone::Plain }),
        plain(account.connections.map(count).unwrap_or_default()),
        account.load(),
        plain(stream.map(|stream| stream.name.clone()).unwrap_or_default()),
        (under_way.unwrap_or_default(), Tone::Warn),
        plain(since(account.created, now).unwrap_or_default()),
        plain(account.endpoint.clone().unwrap_or_default()),
        plain(stream.map(|stream| stream.epoch.clone()).unwrap_or_default()),
    ]
}

/// What a person has to know besides the row.
fn remarks(account: &Account) -> Vec<(Tone, String)> {
    let mut remarks = Vec::new();
    if account.reason.is_none() {
        remarks.push((Tone::Bad, UNSEEN.to_owned()));
    }
    if !account.ready
        && let Some(message) = &account.message
    {
        remarks.push((Tone::Bad, message.clone()));
    } else if let Some(note) = account.problems.first() {
        remarks.push((Tone::Warn, format!("{} {}: {}", note.condition, note.reason, note.message)));
    }
    if let Some(halt) = &account.halt {
        remarks.push((Tone::Bad, halted(halt, account)));
    }
    remarks
}

const UNSEEN: &str = "no operator has seen it yet: see whether one runs (kubectl get pods -A -l \
                      app.kubernetes.io/component=operator), which namespaces it watches, and spec.class";

fn halted(halt: &HaltStatus, account: &Account) -> String {
    if halt.continued {
        return format!(
            "{} goes on by annotation, after {} of {} clients lost messages",
            kind(halt.kind),
            halt.lost,
            halt.clients
        );
    }
    format!(
        "{} halted: {} of {} clients who were moved missed messages, {} were refused: find out why, then go on with kubectl \
         -n {} annotate wsgw {} --overwrite wsgateway.dev/continue=\"$(date -u +%FT%TZ)\"",
        kind(halt.kind),
        count(halt.lost),
        count(halt.clients),
        count(halt.refused),
        account.namespace,
        account.name
    )
}

/// Everything about one.
pub(super) fn one(account: &Account, now: Timestamp, terminal: Terminal) -> String {
    let mut text = String::new();
    for line in terminal.wrap(&format!("{} in {}", account.name, account.namespace), 0, 2).lines() {
        let _ = writeln!(text, "{}", terminal.paint(Tone::Bold, line));
    }
    let mut line = |title: &str, tone: Tone, value: String| {
        let value = terminal.wrap(&clean(&value), INDENT, INDENT);
        let lines: Vec<String> = value.split('\n').map(|line| terminal.paint(tone, line)).collect();
        let _ = writeln!(text, "{title:<INDENT$}{}", lines.join("\n"));
    };
    let (state, tone) = account.state();
    let message = account.message.as_deref().unwrap_or(UNSEEN);
    line(
        "Ready",
        tone,
        format!("{}, {state}: {message}", if account.ready { "yes" } else { "no" }),
    );
    if !account.is_current && account.reason.is_some() {
        line("", Tone::Warn, "the specification has changed since".to_owned());
    }
    let replicas = &account.replicas;
    let short = if replicas.serving < replicas.wanted { Tone::Warn } else { Tone::Plain };
    let pods = format!(
        "{} wanted, {} exist, {} take clients",
        replicas.wanted, replicas.existing, replicas.serving
    );
    line("Pods", short, pods);
    line("Connections", account.load().1, connections(account, now));
    if let Some(stream) = &account.stream {
        let owner = match stream.ownership {
            Ownership::Owned => "kept by this WsGateway",
            Ownership::Foreign => "kept by somebody else",
        };
        let (messages, size) = (count(stream.messages), bytes(stream.bytes.unsigned_abs()));
        line(
            "Stream",
            Tone::Plain,
            format!("{}: {messages} messages, {size}, {owner}", stream.name),
        );
    }
    if let Some(endpoint) = &account.endpoint {
        line("Clients to", Tone::Plain, endpoint.clone());
    }
    if let Some(note) = &account.under_way {
        line("Under way", Tone::Warn, format!("{}: {}", note.reason, note.message));
    }
    if let Some(halt) = &account.halt {
        line("Halted", Tone::Bad, halted(halt, account));
    }
    let others = account.problems.iter().filter(|note| note.condition != "Ready");
    for note in others {
        line(&note.condition, Tone::Warn, format!("{}: {}", note.reason, note.message));
    }
    if let Some(pods) = pods_table(account) {
        let _ = write!(text, "\n{}", pods.render(terminal));
    }
    if let Some(disruptions) = disruptions(&account.disruptions, now) {
        let title = terminal.wrap("What clients were put to, the newest last:", 0, 0);
        let _ = write!(text, "\n{title}\n{}", disruptions.render(terminal));
    }
    text
}

fn connections(account: &Account, now: Timestamp) -> String {
    let Some(connections) = account.connections else {
        return "no pod has answered yet".to_owned();
    };
    let (percent, _) = account.load();
    let places = count(account.capacity);
    let seen = since(account.numbers_time, now);
    let seen = seen.map(|ago| format!(", as of {ago} ago")).unwrap_or_default();
    format!(
        "{} of {places} ({}){seen}",
        count(connections),
        if percent.is_empty() { "-" } else { &percent }
    )
}

fn pods_table(account: &Account) -> Option<Table> {
    let mut table = Table::new(&[
        Column::flexible("POD"),
        Column::text("STATE"),
        Column::number("CONNECTIONS"),
        Column::text("SOURCE"),
        Column::number("LAG"),
        Column::flexible("NODE"),
        Column::flexible("PROBLEM"),
    ]);
    for pod in &account.pods {
        let plain = |text: String| (text, Tone::Plain);
        let source = pod.source.clone().unwrap_or_default();
        let is_live = source == "live";
        table.row([
            plain(pod.name.clone()),
            (format!("{:?}", pod.state), pod_tone(pod)),
            plain(pod.connections.map(count).unwrap_or_default()),
            (source, if is_live { Tone::Plain } else { Tone::Warn }),
            (pod.lag_messages.map(count).unwrap_or_default(), Tone::Warn),
            plain(pod.node.clone().unwrap_or_default()),
            (pod.problem.clone().unwrap_or_default(), Tone::Bad),
        ]);
    }
    if account.more_pods > 0 {
        table.row([(format!("and {} more", account.more_pods), Tone::Dim)]);
    }
    let has_problem = account.pods.iter().any(|pod| pod.problem.is_some());
    (!account.pods.is_empty()).then(|| table.only(|title| title != "PROBLEM" || has_problem))
}

fn disruptions(entries: &[DisruptionStatus], now: Timestamp) -> Option<Table> {
    let mut table = Table::new(&[
        Column::text("WHY"),
        Column::text("BEGAN"),
        Column::text("TOOK"),
        Column::number("CLIENTS"),
        Column::number("RECOVERED"),
        Column::number("LOST"),
        Column::number("REFUSED"),
        Column::number("AWAY P99"),
    ]);
    for entry in entries {
        let plain = |text: String| (text, Tone::Plain);
        let began = since(Some(entry.began.0), now).unwrap_or_default();
        let took = entry
            .ended
            .as_ref()
            .map(|ended| age(ended.0.as_second().saturating_sub(entry.began.0.as_second())));
        let bad = |number: i64| (count(number), if number > 0 { Tone::Bad } else { Tone::Plain });
        table.row([
            plain(kind(entry.kind).to_owned()),
            plain(format!("{began} ago")),
            took.map_or_else(|| ("goes on".to_owned(), Tone::Warn), plain),
            plain(count(entry.clients)),
            plain(count(entry.recovered)),
            bad(entry.lost),
            bad(entry.refused),
            plain(entry.away_p99_ms.map(|ms| format!("{} ms", count(ms))).unwrap_or_default()),
        ]);
    }
    (!entries.is_empty()).then_some(table)
}

fn since(time: Option<Timestamp>, now: Timestamp) -> Option<String> {
    time.map(|time| age(now.as_second().saturating_sub(time.as_second())))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
