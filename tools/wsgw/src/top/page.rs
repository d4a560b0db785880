//! The screens of `wsgw top` and `wsgw connections` (pure).

use std::fmt::Write as _;

use super::figures::{Line, Snapshot};
use crate::cli::{Format, From};
use crate::screen::{Column, Table, Terminal, Tone, bytes, count};

/// From here on people should know.
const WARN_PERCENT: u64 = 80;
const BAD_PERCENT: u64 = 90;

pub(super) fn top(
    snapshot: &Snapshot,
    namespaces: bool,
    format: Format,
    terminal: Terminal,
) -> String {
    let mut table = Table::new(&[
        Column::flexible("NAMESPACE"),
        Column::flexible("WSGATEWAY"),
        Column::flexible("POD"),
        Column::text("STATE"),
        Column::number("CONN"),
        Column::number("CAP"),
        Column::number("MSG/S"),
        Column::number("SENT/S"),
        Column::number("LAG"),
        Column::number("SLOW"),
        Column::number("CPU"),
        Column::number("MEM"),
        Column::number("RESTARTS"),
        Column::flexible("NODE"),
    ]);
    for line in &snapshot.lines {
        table.row(cells(line));
    }
    if snapshot.lines.len() > 1 {
        let sum = cells(&snapshot.sum()).into_iter().map(|(text, tone)| {
            let tone = if tone == Tone::Plain { Tone::Bold } else { tone };
            (text, tone)
        });
        table.row(sum);
    }
    let many = snapshot.lines.iter().any(|line| line.gateway != snapshot.lines[0].gateway);
    let is_wide = format == Format::Wide;
    let table = table.only(|title| match title {
        "NAMESPACE" => namespaces,
        "WSGATEWAY" => many,
        "NODE" => is_wide,
        _ => true,
    });
    page(snapshot, &table, terminal)
}

fn cells(line: &Line) -> Vec<(String, Tone)> {
    let plain = |text: String| (text, Tone::Plain);
    let number = |number: Option<u64>| plain(number.map(count).unwrap_or_default());
    let worry = |number: Option<u64>| {
        let tone = if number.is_some_and(|number| number > 0) { Tone::Warn } else { Tone::Plain };
        (number.map(count).unwrap_or_default(), tone)
    };
    let percent = |percent: Option<u64>| {
        let tone = match percent {
            Some(BAD_PERCENT..) => Tone::Bad,
            Some(WARN_PERCENT..) => Tone::Warn,
            _ => Tone::Plain,
        };
        (percent.map(|percent| format!("{percent}%")).unwrap_or_default(), tone)
    };
    let state = match line.state.as_str() {
        "Serving" => Tone::Good,
        "" => Tone::Dim,
        _ => Tone::Warn,
    };
    vec![
        plain(line.namespace.clone()),
        plain(line.gateway.clone()),
        plain(line.pod.clone()),
        (line.state.clone(), state),
        number(line.connections),
        percent(line.capacity_percent),
        number(line.messages_per_second),
        number(line.deliveries_per_second),
        worry(line.lag_messages),
        worry(line.slow_clients),
        percent(line.cpu_percent),
        plain(line.memory_bytes.map(bytes).unwrap_or_default()),
        worry(line.restarts.and_then(|restarts| u64::try_from(restarts).ok())),
        plain(line.node.clone().unwrap_or_default()),
    ]
}

pub(super) fn connections(snapshot: &Snapshot, namespaces: bool, terminal: Terminal) -> String {
    let mut table = Table::new(&[
        Column::flexible("NAMESPACE"),
        Column::flexible("WSGATEWAY"),
        Column::flexible("POD"),
        Column::text("STATE"),
        Column::number("CONNECTIONS"),
        Column::number("CAPACITY"),
        Column::number("SHARE"),
        Column::number("SUBSCRIPTIONS"),
        Column::number("ACCEPTED"),
        Column::number("SENT AWAY"),
        Column::number("REFUSED"),
        Column::number("CLOSED SLOW"),
    ]);
    let all = snapshot.sum();
    let sum = (snapshot.lines.len() > 1).then_some(&all);
    for line in snapshot.lines.iter().chain(sum) {
        let plain = |text: String| (text, Tone::Plain);
        let number = |number: Option<u64>| plain(number.map(count).unwrap_or_default());
        let share = line.connections.zip(all.connections).and_then(|(connections, all)| {
            Some(format!("{} %", connections.saturating_mul(100).checked_div(all)?))
        });
        let totals = line.totals.as_ref();
        table.row([
            plain(line.namespace.clone()),
            plain(line.gateway.clone()),
            plain(line.pod.clone()),
            plain(line.state.clone()),
            number(line.connections),
            number(line.capacity),
            plain(share.unwrap_or_default()),
            number(totals.and_then(|totals| totals.subscriptions)),
            number(totals.and_then(|totals| totals.accepted)),
            number(totals.and_then(|totals| totals.sent_away)),
            number(totals.and_then(|totals| totals.refused)),
            number(totals.and_then(|totals| totals.slow_closed)),
        ]);
    }
    let from_pods = snapshot.source == From::Pods;
    let table = table.only(|title| match title {
        "NAMESPACE" => namespaces,
        "SUBSCRIPTIONS" | "ACCEPTED" | "SENT AWAY" | "REFUSED" | "CLOSED SLOW" => from_pods,
        _ => true,
    });
    page(snapshot, &table, terminal)
}

/// Where the figures are from, the table, and what else is to be said.
fn page(snapshot: &Snapshot, table: &Table, terminal: Terminal) -> String {
    if snapshot.lines.is_empty() {
        return terminal.wrap("no gateway pods here; kubectl wsgw status says why", 0, 0) + "\n";
    }
    let source = match snapshot.source {
        From::Metrics => "as the operator polled last",
        From::Pods => "as the pods answer now",
        From::Status | From::Auto => "as the status has it: rounded, at most a minute old",
    };
    let mut text = String::new();
    for line in terminal.wrap(source, 0, 0).lines() {
        let _ = writeln!(text, "{}", terminal.paint(Tone::Dim, line));
    }
    text.push_str(&table.render(terminal));
    for note in &snapshot.notes {
        let note = terminal.wrap(note, 0, 2);
        let _ = write!(text, "\n{}\n", terminal.paint(Tone::Warn, &note));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Sort;

    const TERMINAL: Terminal = Terminal { width: None, height: None, color: false };

    fn line(pod: &str, connections: u64) -> Line {
        Line {
            namespace: "trading".to_owned(),
            gateway: "odin".to_owned(),
            pod: format!("odin-gateway-5d4f-{pod}"),
            state: "Serving".to_owned(),
            connections: Some(connections),
            capacity: Some(10_000),
            messages_per_second: Some(400),
            deliveries_per_second: Some(connections * 4),
            lag_messages: Some(0),
            slow_clients: Some(connections / 5_000),
            cpu_percent: Some(connections / 100),
            memory_bytes: Some(80 << 20),
            restarts: Some(0),
            ..Line::default()
        }
    }

    fn snapshot(source: From) -> Snapshot {
        let mut silent = line("c", 0);
        (silent.state, silent.connections, silent.memory_bytes) =
            ("Starting".to_owned(), None, None);
        let mut snapshot = Snapshot {
            lines: vec![line("a", 3_000), line("b", 9_500), silent],
            source,
            notes: Vec::new(),
        };
        snapshot.finish();
        snapshot
    }

    #[test]
    fn pods_and_their_sums() {
        let mut snapshot = snapshot(From::Metrics);
        insta::assert_snapshot!(top(&snapshot, false, Format::Table, TERMINAL));
        snapshot.sort(Sort::Connections);
        assert!(snapshot.lines[0].pod.ends_with("-b") && snapshot.lines[2].pod.ends_with("-c"));
        snapshot.notes.push("rates are not known: you may not read them".to_owned());
        let narrow = Terminal { width: Some(20), ..TERMINAL };
        insta::assert_snapshot!(top(&snapshot, false, Format::Table, narrow));
    }

    #[test]
    fn shares_of_the_clients() {
        insta::assert_snapshot!(connections(&snapshot(From::Status), true, TERMINAL));
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        use unicode_width::UnicodeWidthStr as _;
        for width in 20..120 {
            let terminal = Terminal { width: Some(width), ..TERMINAL };
            let text = top(&snapshot(From::Pods), true, Format::Wide, terminal);
            assert!(text.lines().all(|line| line.width() <= width), "{width}: {text}");
        }
    }
}
