//! Curves: how cost grows, on linear axes, so that a straight line is what it should be.

use crate::report::{OURS as US, Results};
use crate::samples::number;
use wsgateway_load::svg::{Anchor, FAINT, FLOOR, INK, OURS, RULE, Style, Svg, ceiling};

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 700.0;
const MARGIN: f64 = 28.0;
const PANEL: (f64, f64) = (390.0, 200.0);

/// Parts of an axis: a fifth of 1, 2, 2.5 or 5 is a short number.
const STEPS: u8 = 5;

/// A curve with its name and colour.
struct Curve {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// One set of axes.
struct Panel {
    title: &'static str,
    across: &'static str,
    curves: Vec<Curve>,
}

pub(super) fn growth(results: &Results) -> Option<String> {
    let panels = panels(results);
    if panels.iter().all(|panel| panel.curves.iter().all(|curve| curve.points.len() < 2)) {
        return None;
    }
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let head = "How cost grows with connections and subscriptions";
    svg.text((MARGIN, 36.0), head, Style::new(21.0, INK).bold());
    let lead = "linear axes from 0 · one message in flight · subscriptions: 1,000 receivers among 8,000 connections";
    svg.text((MARGIN, 58.0), lead, Style::new(13.0, FAINT));
    for (at, panel) in panels.iter().enumerate() {
        let (column, row) = ((at % 2) as f64, (at / 2) as f64);
        draw(&mut svg, panel, (MARGIN + 58.0 + column * 490.0, 118.0 + row * 292.0));
    }
    svg.text((MARGIN, HEIGHT - 14.0), &results.machine.text(), Style::new(11.0, FAINT));
    Some(svg.finish(head))
}

fn panels(results: &Results) -> [Panel; 4] {
    let curve = |name, scenario: &str, server: &str, figure: &str| {
        let point = |case: &str| {
            let value = results.spread(scenario, case, server, figure)?;
            Some((case.parse().ok()?, value.median))
        };
        let points = results.samples.cases(scenario).into_iter().filter_map(point).collect();
        Curve { name, colour: if server == US { OURS } else { FLOOR }, points }
    };
    let (connections, subscriptions) = ("p12-connections", "p12-subscriptions");
    [
        Panel {
            title: "CPU per message (ms)",
            across: "connections",
            curves: vec![
                curve("floor", connections, "floor", "cpuMsPerMessage"),
                curve("wsgateway", connections, US, "cpuMsPerMessage"),
            ],
        },
        Panel {
            title: "Memory of the gateway (MB)",
            across: "connections, 3 subscriptions each",
            curves: vec![curve("wsgateway", connections, US, "userMb")],
        },
        Panel {
            title: "CPU per delivery (µs)",
            across: "further subscriptions",
            curves: vec![curve("wsgateway", subscriptions, US, "cpuUsPerDelivery")],
        },
        Panel {
            title: "Memory of the gateway (MB)",
            across: "further subscriptions",
            curves: vec![curve("wsgateway", subscriptions, US, "userMb")],
        },
    ]
}

fn draw(svg: &mut Svg, panel: &Panel, (left, top): (f64, f64)) {
    let (width, height) = PANEL;
    let all = || panel.curves.iter().flat_map(|curve| &curve.points);
    let end_x = ceiling(all().map(|point| point.0).fold(0.0, f64::max));
    let end_y = ceiling(all().map(|point| point.1).fold(0.0, f64::max));
    svg.text((left - 48.0, top - 22.0), panel.title, Style::new(14.0, INK).bold());
    let small = Style::new(11.0, FAINT);
    for step in 0..=STEPS {
        let share = f64::from(step) / f64::from(STEPS);
        let (x, y) = (left + width * share, top + height * (1.0 - share));
        svg.line((left, y), (left + width, y), RULE, 1.0);
        svg.text((left - 8.0, y + 4.0), &label(end_y * share), small.at(Anchor::End));
        svg.text((x, top + height + 17.0), &label(end_x * share), small.at(Anchor::Middle));
    }
    let middle = (left + width / 2.0, top + height + 36.0);
    svg.text(middle, panel.across, Style::new(12.0, FAINT).at(Anchor::Middle));
    let last = |curve: &Curve| curve.points.last().map_or(0.0, |point| point.1);
    let highest = panel.curves.iter().map(last).fold(0.0, f64::max);
    for curve in &panel.curves {
        let at = |(x, y): (f64, f64)| (left + width * x / end_x, top + height * (1.0 - y / end_y));
        let points: Vec<(f64, f64)> = curve.points.iter().copied().map(at).collect();
        svg.curve(&points, curve.colour);
        let Some((x, y)) = points.last() else { continue };
        // The name of the lower curve stands below it, so that two close curves keep theirs apart.
        let dy = if last(curve) < highest { 22.0 } else { -10.0 };
        let name = Style::new(12.5, curve.colour).bold().at(Anchor::End);
        svg.label((x - 4.0, y + dy), curve.name, name);
    }
}

/// A number on an axis, as short as can be.
fn label(value: f64) -> String {
    let digits = match value {
        value if value == 0.0 || value >= 100.0 => 0,
        value if value >= 10.0 && value.fract() == 0.0 => 0,
        value if (value * 10.0).fract().abs() < 1e-9 => 1,
        _ => 2,
    };
    number(value, digits)
}
