//! Bars: all servers side by side, one panel per figure, each bar with its value and its spread.

use crate::contestant::title;
use crate::report::tables::ranked;
use crate::report::{OURS as US, Results};
use crate::samples::{Spread, number};
use wsgateway_load::svg::{Anchor, FAINT, FLOOR, INK, OURS, PEER, RULE, Style, Svg, WHISKER};

/// Sizes in user units; the picture is as wide as a README column when shown whole.
const WIDTH: f64 = 1_000.0;
const MARGIN: f64 = 28.0;
const GAP: f64 = 44.0;
const HEAD: f64 = 78.0;
const PANEL_HEAD: f64 = 56.0;
const ROW: f64 = 25.0;
const BAR: f64 = 15.0;
const LABEL: f64 = 162.0;
const VALUE: f64 = 46.0;

/// Bars longer than this many times the median bar are cut, with their value beside them: one slow server would
/// leave nothing to be seen of the others.
const CUT: f64 = 4.0;

/// What one panel shows.
struct Panel {
    title: String,
    unit: &'static str,
    digits: usize,
    /// A line that everybody can be held against.
    target: Option<f64>,
    bars: Vec<(String, Spread)>,
}

/// Every server in every scenario that compares servers.
pub(super) fn overview(results: &Results) -> Option<String> {
    let panels = panels(results);
    if panels.is_empty() {
        return None;
    }
    let columns = 2.min(panels.len());
    let width = (WIDTH - 2.0 * MARGIN - GAP * (columns - 1) as f64) / columns as f64;
    let rows: Vec<&[Panel]> = panels.chunks(columns).collect();
    let height_of = |row: &[Panel]| {
        let most = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
        PANEL_HEAD + most as f64 * ROW + 30.0
    };
    let height = HEAD + rows.iter().map(|row| height_of(row)).sum::<f64>() + 30.0;
    let mut svg = Svg::new(WIDTH, height);
    let head = "Fan-out of one channel: wsgateway beside other servers";
    svg.text((MARGIN, 36.0), head, Style::new(21.0, INK).bold());
    let lead = "shorter is better · bar: median of the rounds, line: lowest to highest · dashed: our target";
    svg.text((MARGIN, 58.0), lead, Style::new(13.0, FAINT));
    let mut top = HEAD;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            let left = MARGIN + column as f64 * (width + GAP);
            draw(&mut svg, panel, (left, top), width);
        }
        if row.len() < columns {
            legend(&mut svg, (MARGIN + row.len() as f64 * (width + GAP), top), width);
        }
        top += height_of(row);
    }
    svg.text((MARGIN, height - 14.0), &results.machine.text(), Style::new(11.0, FAINT));
    Some(svg.finish(head))
}

/// What the words mean, where a panel is left over.
fn legend(svg: &mut Svg, (left, top): (f64, f64), width: f64) {
    svg.line((left, top + 4.0), (left + width, top + 4.0), RULE, 1.0);
    svg.text((left, top + 26.0), "What is compared", Style::new(14.0, INK).bold());
    for (at, line) in [
        "floor: one send system call of a ready frame per delivery, the",
        "least that a server without coalescing can do.",
        "in flight: messages published before all clients have them;",
        "with several, whatever is due to a client can leave together.",
        "half load: a rate at which the floor keeps its core half busy,",
        "the same for every server.",
        "memory: the server process, 3 subscriptions a connection where",
        "the server knows subscriptions.",
        "All are fed by nats-server, the floor by a local connection.",
    ]
    .iter()
    .enumerate()
    {
        svg.text((left, top + 52.0 + at as f64 * 19.0), line, Style::new(12.5, FAINT));
    }
}

fn panels(results: &Results) -> Vec<Panel> {
    let mut panels = Vec::new();
    let count = |case: &str| number(case.parse().unwrap_or(0.0), 0);
    let window = results.scale.window;
    for (scenario, flight, target) in
        [("p1", "1 in flight".to_owned(), 1.05), ("p2", format!("{window} in flight"), 0.1)]
    {
        for case in results.samples.cases(scenario) {
            let title = format!("CPU per delivery, {} connections, {flight}", count(case));
            let bars = bars(results, (scenario, case), "cpuUsPerDelivery", true);
            panels.push(Panel { title, unit: "× floor", digits: 2, target: Some(target), bars });
        }
    }
    for (scenario, figure, title, unit, target) in [
        ("p3", "userKbPerConnection", "Memory per idle connection", "kB", 0.8),
        ("p5", "cpuUsPerHandshake", "CPU per connection made and subscribed", "µs", 40.0),
    ] {
        for case in results.samples.cases(scenario) {
            let bars = bars(results, (scenario, case), figure, false);
            let digits = if unit == "kB" { 1 } else { 0 };
            let target = Some(target);
            panels.push(Panel { title: title.to_owned(), unit, digits, target, bars });
        }
    }
    for case in results.samples.cases("p4") {
        let title = format!("Latency p99 at half load, {} connections", count(case));
        let bars = bars(results, ("p4", case), "p99Ms", true);
        panels.push(Panel { title, unit: "× floor", digits: 2, target: Some(1.15), bars });
    }
    panels.retain(|panel| !panel.bars.is_empty());
    panels
}

fn bars(
    results: &Results,
    (scenario, case): (&str, &str),
    figure: &str,
    to_floor: bool,
) -> Vec<(String, Spread)> {
    let spread = |server: &str| match to_floor {
        true => results.to_floor(scenario, case, server, figure),
        false => results.spread(scenario, case, server, figure),
    };
    let servers = ranked(results, scenario, case, figure);
    servers.into_iter().filter_map(|server| Some((server.to_owned(), spread(server)?))).collect()
}

/// Where the scale of a panel ends.
fn end_of(panel: &Panel) -> f64 {
    let medians = || panel.bars.iter().map(|(_, spread)| spread.median);
    let middle = Spread::of(medians()).map_or(1.0, |spread| spread.median);
    let longest = medians().fold(panel.target.unwrap_or(0.0), f64::max);
    longest.min(middle * CUT).max(panel.target.unwrap_or(0.0)) * 1.06
}

fn draw(svg: &mut Svg, panel: &Panel, (left, top): (f64, f64), width: f64) {
    svg.line((left, top + 4.0), (left + width, top + 4.0), RULE, 1.0);
    svg.text((left, top + 26.0), &panel.title, Style::new(14.0, INK).bold());
    let unit = Style::new(12.0, FAINT).at(Anchor::End);
    svg.text((left + width, top + 26.0), panel.unit, unit);
    let (start, end) = (left + LABEL, end_of(panel));
    let room = width - LABEL - VALUE;
    let x = |value: f64| start + room * (value / end).min(1.0);
    let first = top + PANEL_HEAD;
    if let Some(target) = panel.target {
        let bottom = first + panel.bars.len() as f64 * ROW - ROW + BAR + 4.0;
        svg.dashes((x(target), first - 4.0), (x(target), bottom), OURS);
        let style = Style::new(10.5, OURS).at(Anchor::Middle);
        svg.text((x(target), first - 8.0), &format!("{target}"), style);
    }
    for (number_of, (server, spread)) in panel.bars.iter().enumerate() {
        let y = first + number_of as f64 * ROW;
        bar(svg, panel, (server, spread), y, (start, &x, spread.median > end));
    }
}

/// One bar with its name, value and spread.
fn bar(
    svg: &mut Svg,
    panel: &Panel,
    (server, spread): (&str, &Spread),
    y: f64,
    (start, x, cut): (f64, &dyn Fn(f64) -> f64, bool),
) {
    let (colour, bold) = match server {
        US => (OURS, true),
        "floor" => (FLOOR, false),
        _ => (PEER, false),
    };
    let style = Style { bold, ..Style::new(12.5, INK) };
    let base = y + BAR - 3.0;
    let short = title(server).split(':').next().unwrap_or(server);
    svg.text((start - 8.0, base), short, style.at(Anchor::End));
    let end = x(spread.median);
    svg.rect((start, y), ((end - start).max(1.0), BAR), colour);
    if cut {
        // A gap in the bar says that it goes on.
        svg.rect((end - 14.0, y - 1.0), (4.0, BAR + 2.0), "#ffffff");
    }
    let middle = y + BAR / 2.0;
    let whisker = (x(spread.low), x(spread.high));
    if !cut && whisker.1 - whisker.0 > 1.0 {
        svg.line((whisker.0, middle), (whisker.1, middle), WHISKER, 1.2);
        for edge in [whisker.0, whisker.1] {
            svg.line((edge, middle - 3.0), (edge, middle + 3.0), WHISKER, 1.2);
        }
    }
    let right = if cut { end } else { end.max(whisker.1) };
    svg.label((right + 6.0, base), &number(spread.median, panel.digits), style);
}
