//! One table per scenario; a scenario that was not measured has none.

use super::{OURS, Results};
use crate::contestant::title;
use crate::samples::{Spread, number};
use crate::scenarios::{COMPRESSION, LOOKBACK, STALLED, STORM, TLS, storm_crowd};

/// A spread in a cell.
fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("–".to_owned(), |spread| spread.text(digits))
}

/// A server in a cell: ours stands out.
fn name(server: &str) -> String {
    match server {
        OURS => format!("**{}**", title(server)),
        other => title(other).to_owned(),
    }
}

/// A number that names a case, grouped.
pub(super) fn count(case: &str) -> String {
    case.parse().map_or(case.to_owned(), |count: f64| number(count, 0))
}

/// A table, or nothing when it has no rows.
pub(super) fn table(heading: &str, columns: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("{heading}\n\n{}|{}\n", line(columns), "---|".repeat(columns.len()));
    rows.iter().for_each(|row| text += &line(row));
    text + "\n"
}

pub(super) fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Servers of a scenario, the one with the lowest median of a figure first.
pub(crate) fn ranked<'a>(
    results: &'a Results,
    scenario: &str,
    case: &str,
    figure: &str,
) -> Vec<&'a str> {
    let mut servers = results.samples.servers(scenario);
    let key = |server: &str| {
        results.spread(scenario, case, server, figure).map_or(f64::MAX, |spread| spread.median)
    };
    servers.sort_by(|a, b| key(a).total_cmp(&key(b)));
    servers
}

/// P1 and P2.
pub(super) fn fanout(results: &Results) -> String {
    let window = results.scale.window;
    let headings = [
        ("p1", "## P1: CPU per delivery, one message in flight".to_owned()),
        ("p2", format!("## P2: CPU per delivery, {window} messages in flight")),
    ];
    headings.iter().map(|(scenario, heading)| deliveries(results, scenario, heading)).collect()
}

fn deliveries(results: &Results, scenario: &str, heading: &str) -> String {
    let cases = results.samples.cases(scenario);
    let mut heads = columns(&["server"]);
    for case in &cases {
        heads.push(format!("{} connections: × floor", count(case)));
        heads.extend(columns(&["µs", "messages a second"]));
    }
    let first = cases.first().copied().unwrap_or_default();
    let rows: Vec<Vec<String>> = ranked(results, scenario, first, "cpuUsPerDelivery")
        .into_iter()
        .map(|server| {
            let mut row = vec![name(server)];
            for case in &cases {
                let figure = |figure| results.spread(scenario, case, server, figure);
                row.push(cell(results.to_floor(scenario, case, server, "cpuUsPerDelivery"), 2));
                row.push(cell(figure("cpuUsPerDelivery"), 2));
                row.push(cell(figure("messagesPerSecond"), 0));
            }
            row
        })
        .collect();
    table(heading, &heads, &rows)
}

/// P3 and P5.
pub(super) fn connections(results: &Results) -> String {
    let of = |scenario| results.samples.cases(scenario).first().map(|case| (scenario, *case));
    let Some((scenario, case)) = of("p3").or(of("p5")) else { return String::new() };
    let figures: &[(&str, &str, usize)] = &[
        ("userKbPerConnection", "memory per idle connection (kB)", 2),
        ("kernelKbPerSocket", "kernel memory per socket (kB)", 1),
        ("cpuUsPerHandshake", "CPU per connection made (µs)", 1),
    ];
    let rows: Vec<Vec<String>> = ranked(results, scenario, case, "userKbPerConnection")
        .into_iter()
        .map(|server| {
            let figure = |(figure, _, digits): &(&str, _, usize)| {
                cell(results.spread(scenario, case, server, figure), *digits)
            };
            [name(server)].into_iter().chain(figures.iter().map(figure)).collect()
        })
        .collect();
    let heads: Vec<&str> =
        ["server"].into_iter().chain(figures.iter().map(|(_, head, _)| *head)).collect();
    let heading = format!("## P3, P5: what {} connections take", count(case));
    table(&heading, &columns(&heads), &rows)
}

/// P4.
pub(super) fn latency(results: &Results) -> String {
    let cases = results.samples.cases("p4");
    let mut heads = columns(&["server"]);
    for case in &cases {
        heads.push(format!("{} connections: p50 (ms)", count(case)));
        heads.extend(columns(&["× floor", "p99 (ms)", "× floor"]));
    }
    let first = cases.first().copied().unwrap_or_default();
    let rows: Vec<Vec<String>> = ranked(results, "p4", first, "p99Ms")
        .into_iter()
        .map(|server| {
            let mut row = vec![name(server)];
            for case in &cases {
                let behind = results.spread("p4", case, server, "behind");
                let mark = if behind.is_some_and(|spread| spread.high > 0.0) { " †" } else { "" };
                for figure in ["p50Ms", "p99Ms"] {
                    row.push(cell(results.spread("p4", case, server, figure), 2) + mark);
                    row.push(cell(results.to_floor("p4", case, server, figure), 2));
                }
            }
            row
        })
        .collect();
    let text = table("## P4: publish to read, half of the floor's load", &heads, &rows);
    match text.contains('†') {
        true => {
            text + "† did not keep up with the rate: its latency grows with the length of the run.\n\n"
        }
        false => text,
    }
}

/// P6.
pub(super) fn resume(results: &Results) -> String {
    let figures = [
        ("bareMs", 0),
        ("bytesMs", 0),
        ("resumedMs", 0),
        ("ratio", 2),
        ("bareCpuUsPerClient", 0),
        ("resumedCpuUsPerClient", 0),
        ("kbPerClient", 0),
    ];
    let rows: Vec<_> = results
        .samples
        .cases("p6")
        .into_iter()
        .map(|case| {
            let cells = figures
                .iter()
                .map(|(figure, digits)| cell(results.spread("p6", case, OURS, figure), *digits));
            [count(case)].into_iter().chain(cells).collect()
        })
        .collect();
    let heads = [
        "clients",
        "handshakes alone (ms)",
        "floor for the bytes (ms)",
        "all live again (ms)",
        "× their sum",
        "CPU per handshake (µs)",
        "CPU per client that resumes (µs)",
        "kB each",
    ];
    let missed = results.scale.missed;
    let heading = format!("## P6: everybody resumes at once, {missed} missed messages each");
    table(&heading, &columns(&heads), &rows) + &lookback(results) + &storm(results)
}

fn lookback(results: &Results) -> String {
    let rows: Vec<_> = LOOKBACK
        .iter()
        .filter_map(|(case, ..)| {
            let spread = |figure| results.spread("p6-live", case, OURS, figure);
            spread("p99Ms")?;
            let figures = [("p50Ms", 2), ("p99Ms", 2), ("growthKb", 0)];
            let cells = figures.iter().map(|(figure, digits)| cell(spread(figure), *digits));
            Some([(*case).to_owned()].into_iter().chain(cells).collect())
        })
        .collect();
    let small = number(results.scale.small as f64, 0);
    let heads = ["", "p50 of the live clients (ms)", "p99", "growth of memory (kB)"];
    let heading =
        format!("## P6: {small} live clients, while {small} others ask for the whole stream");
    table(&heading, &columns(&heads), &rows)
}

fn storm(results: &Results) -> String {
    let rows: Vec<_> = STORM
        .iter()
        .filter_map(|(case, _)| {
            let spread = |figure| results.spread("p6-storm", case, OURS, figure);
            spread("p99Ms")?;
            let figures = [("p50Ms", 2), ("p99Ms", 2), ("reconnectsPerSecond", 0)];
            let cells = figures.iter().map(|(figure, digits)| cell(spread(figure), *digits));
            Some([(*case).to_owned()].into_iter().chain(cells).collect())
        })
        .collect();
    let (live, crowd) = (results.scale.small as f64, storm_crowd(&results.scale) as f64);
    let heads = ["", "p50 of the live clients (ms)", "p99", "connections made a second"];
    let heading = format!(
        "## P6: {} live clients, while crowds of {} connect, subscribe and leave",
        number(live, 0),
        number(crowd, 0)
    );
    table(&heading, &columns(&heads), &rows)
}

/// P7, P8 and P10: our gateway against itself.
pub(super) fn ours(results: &Results) -> String {
    let row = |scenario: &str, case: &str, figures: &[(&str, usize)]| -> Option<Vec<String>> {
        let spread = |figure| results.spread(scenario, case, OURS, figure);
        spread(figures.first()?.0)?;
        let cells = figures.iter().map(|(figure, digits)| cell(spread(figure), *digits));
        Some([count(case)].into_iter().chain(cells).collect())
    };
    let compression: Vec<_> = COMPRESSION
        .iter()
        .filter_map(|(case, ..)| {
            row("p7", case, &[("cpuUsPerDelivery", 2), ("bytesPerDelivery", 0)])
        })
        .collect();
    let stalled: Vec<_> = STALLED
        .iter()
        .filter_map(|(case, _)| {
            row("p8", case, &[("p50Ms", 2), ("p99Ms", 2), ("growthKb", 0), ("closed", 0)])
        })
        .collect();
    let figures = [
        ("cpuPercentOfACore", 2),
        ("cpuUsPerConnectionSecond", 3),
        ("sendsPerHeartbeat", 2),
        ("userKbPerConnection", 2),
    ];
    let idle: Vec<_> = results
        .samples
        .cases("p10")
        .into_iter()
        .filter_map(|case| row("p10", case, &figures))
        .collect();
    let small = number(results.scale.small as f64, 0);
    [
        table(
            &format!("## P7: compression, {small} clients, tickers"),
            &columns(&["case", "CPU per message and client (µs)", "bytes on the wire"]),
            &compression,
        ),
        table(
            &format!("## P8: one stalled client among {small}, another one every second"),
            &columns(&["case", "p50 of the others (ms)", "p99", "growth of memory (kB)", "closed"]),
            &stalled,
        ),
        table(
            "## P10: idle connections, pinged every 25 s",
            &columns(&[
                "connections",
                "% of a core",
                "µs per connection and second",
                "sends of the floor per heartbeat",
                "kB each",
            ]),
            &idle,
        ),
    ]
    .concat()
}

/// TLS beside none: figures, and as a multiple of the same without.
pub(super) fn tls(results: &Results) -> String {
    let figures = [
        ("cpuUsPerDelivery", 2),
        ("cpuUsPerDelivery16", 2),
        ("cpuUsPerHandshake", 0),
        ("userBytesPerConnection", 0),
    ];
    let (plain, _) = TLS[0];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (case, is_tls) in TLS {
        let spread = |figure| results.spread("tls", case, OURS, figure);
        if spread(figures[0].0).is_none() {
            return String::new();
        }
        let cells = figures.iter().map(|(figure, digits)| cell(spread(figure), *digits));
        rows.push([case.to_owned()].into_iter().chain(cells).collect());
        if is_tls {
            let ratio = |figure| cell(results.between("tls", case, plain, figure), 2);
            let cells = figures.iter().map(|(figure, _)| ratio(figure));
            rows.push([format!("{case} × {plain}")].into_iter().chain(cells).collect());
        }
    }
    let heads = [
        "",
        "CPU per delivery (µs)",
        "with 16 messages in flight",
        "CPU per connection made (µs)",
        "user memory of an idle one (bytes)",
    ];
    let small = number(results.scale.small as f64, 0);
    table(&format!("## TLS on the client port, {small} clients"), &columns(&heads), &rows)
}

/// P9.
pub(super) fn crowd(results: &Results) -> String {
    let figures = [
        ("heldSeconds", "held (s)", 0),
        ("deliveriesPerSecond", "deliveries a second", 0),
        ("lost", "lost", 0),
        ("closed", "closed", 0),
        ("p50Ms", "p50 (ms)", 1),
        ("p99Ms", "p99 (ms)", 1),
        ("maxMs", "max (ms)", 0),
        ("cpuCores", "CPU of the gateways (cores)", 2),
        ("rssKbPerConnection", "RSS each (kB)", 2),
        ("pssKbPerConnection", "PSS each (kB)", 2),
        ("kernelKbPerSocket", "kernel, per socket (kB)", 1),
    ];
    let rows: Vec<Vec<String>> = results
        .samples
        .cases("p9")
        .into_iter()
        .map(|case| {
            let figure = |(figure, _, digits): &(&str, &str, usize)| {
                cell(results.spread("p9", case, OURS, figure), *digits)
            };
            [count(case)].into_iter().chain(figures.iter().map(figure)).collect()
        })
        .collect();
    let heads = ["connections"].into_iter().chain(figures.iter().map(|(_, head, _)| *head));
    table(
        "## P9: many connections over several gateways, one message a second each",
        &columns(&heads.collect::<Vec<_>>()),
        &rows,
    )
}

/// P12.
pub(super) fn growth(results: &Results) -> String {
    let figure = |scenario: &str, case: &str, server: &str, figure: &str, digits| {
        cell(results.spread(scenario, case, server, figure), digits)
    };
    let over_connections: Vec<_> = results
        .samples
        .cases("p12-connections")
        .into_iter()
        .map(|case| {
            let of = |server, name, digits| figure("p12-connections", case, server, name, digits);
            vec![
                count(case),
                of("floor", "cpuMsPerMessage", 2),
                of(OURS, "cpuMsPerMessage", 2),
                of(OURS, "cpuUsPerDelivery", 2),
                of(OURS, "userMb", 2),
            ]
        })
        .collect();
    let over_subscriptions: Vec<_> = results
        .samples
        .cases("p12-subscriptions")
        .into_iter()
        .map(|case| {
            let of = |name, digits| figure("p12-subscriptions", case, OURS, name, digits);
            vec![count(case), of("cpuUsPerDelivery", 2), of("userMb", 2)]
        })
        .collect();
    let floor = "floor: CPU per message (ms)";
    [
        table(
            "## P12: growth with connections",
            &columns(&["connections", floor, "ours", "ours, per delivery (µs)", "memory (MB)"]),
            &over_connections,
        ),
        table(
            "## P12: growth with subscriptions, 1,000 receivers",
            &columns(&["further subscriptions", "CPU per delivery (µs)", "memory (MB)"]),
            &over_subscriptions,
        ),
    ]
    .concat()
}
