//! The plots of a report: curves over time (pure).

use crate::latency::Percentiles;
use crate::run::{Point, Traders};
use crate::simulate::traders::Kind;
use crate::svg::{Anchor, FAINT, INK, OURS, PEER, RULE, Style, Svg, ceiling};

const SIZE: (f64, f64) = (960.0, 250.0);
/// Left, top, right, bottom of the axes.
const MARGIN: [f64; 4] = [70.0, 40.0, 130.0, 34.0];
/// Parts of an axis.
const STEPS: u8 = 5;

const ORANGE: &str = "#c2570c";
const RED: &str = "#b42318";
const GREEN: &str = "#2f7d32";

struct Curve {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

type Value = fn(&Point) -> Option<f64>;

/// Plots of what was measured; what was not is left out.
pub(crate) fn all(points: &[Point]) -> Vec<String> {
    let curve = |name, colour, value: Value| {
        let point = |point: &Point| Some((point.seconds, value(point)?));
        Curve { name, colour, points: points.iter().filter_map(point).collect() }
    };
    let latency: [(&str, &str, Value); 4] = [
        ("max", PEER, |point| latency(point, |latency| latency.max_ms)),
        ("p99", RED, |point| latency(point, |latency| latency.p99_ms)),
        ("p90", ORANGE, |point| latency(point, |latency| latency.p90_ms)),
        ("p50", OURS, |point| latency(point, |latency| latency.p50_ms)),
    ];
    let connected = curve("connected", OURS, |point| Some(point.connected as f64));
    let rate = curve("messages/s", OURS, |point| Some(point.per_second));
    let cpu = curve("busiest target", OURS, |point| point.cpu_percent);
    let memory =
        curve("largest target", OURS, |point| Some((point.memory_bytes? as f64) / 1_048_576.0));
    let latency = latency.map(|(name, colour, value)| curve(name, colour, value)).into();
    let harmed = points.last().is_some_and(|p| p.lost != 0 || p.twice != 0 || p.errors != 0);
    let harm: [(&str, &str, Value); 3] = [
        ("errors", ORANGE, |point| Some(point.errors as f64)),
        ("lost", RED, |point| Some(point.lost as f64)),
        ("twice", OURS, |point| Some(point.twice as f64)),
    ];
    let harm = harm.map(|(name, colour, value)| curve(name, colour, value));
    let charts = [
        ("Connections", vec![connected]),
        ("Traders of each type", traders(points)),
        ("Latency (ms)", latency),
        ("Messages a second, over all clients", vec![rate]),
        ("Lost, twice and errors so far", if harmed { harm.into() } else { Vec::new() }),
        ("CPU of the target (%)", vec![cpu]),
        ("Memory of the target (MiB)", vec![memory]),
    ];
    let drawn = |(title, curves): (&str, Vec<Curve>)| {
        curves.iter().any(|curve| curve.points.len() > 1).then(|| draw(title, &curves))
    };
    charts.into_iter().filter_map(drawn).collect()
}

/// A curve for each type; what there should be in all is for the eye to compare with.
fn traders(points: &[Point]) -> Vec<Curve> {
    let of = |name, colour, value: &dyn Fn(Traders) -> u32| {
        let point = |point: &Point| Some((point.seconds, f64::from(value(point.traders?))));
        Curve { name, colour, points: points.iter().filter_map(point).collect() }
    };
    let kinds = Kind::ALL.into_iter().zip([OURS, RED, ORANGE, GREEN, INK]);
    let aim = of("there should be", PEER, &|traders| traders.aim);
    let curve = |(kind, colour): (Kind, _)| {
        of(kind.name(), colour, &|traders| traders.present[kind.index()])
    };
    std::iter::once(aim).chain(kinds.map(curve)).collect()
}

fn latency(point: &Point, of: fn(&Percentiles) -> f64) -> Option<f64> {
    point.latency.as_ref().map(of)
}

fn draw(title: &str, curves: &[Curve]) -> String {
    let [left, top, right, bottom] = MARGIN;
    let (width, height) = (SIZE.0 - left - right, SIZE.1 - top - bottom);
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let end_x = all().map(|point| point.0).fold(0.0, f64::max).max(1e-3);
    let end_y = ceiling(all().map(|point| point.1).fold(0.0, f64::max));
    let at = |(x, y): (f64, f64)| (left + width * x / end_x, top + height * (1.0 - y / end_y));
    let mut svg = Svg::new(SIZE.0, SIZE.1);
    svg.text((left - 50.0, 22.0), title, Style::new(14.0, INK).bold());
    let small = Style::new(11.0, FAINT);
    for step in 0..=STEPS {
        let share = f64::from(step) / f64::from(STEPS);
        let (x, y) = at((end_x * share, end_y * share));
        svg.line((left, y), (left + width, y), RULE, 1.0);
        svg.text((left - 8.0, y + 4.0), &label(end_y * share), small.at(Anchor::End));
        let seconds = format!("{} s", label(end_x * share));
        svg.text((x, top + height + 17.0), &seconds, small.at(Anchor::Middle));
    }
    for (number, curve) in curves.iter().enumerate() {
        let points: Vec<(f64, f64)> = curve.points.iter().copied().map(at).collect();
        svg.path(&points, curve.colour);
        let place = (left + width + 14.0, top + 12.0 + number as f64 * 18.0);
        svg.text(place, curve.name, Style::new(12.5, curve.colour).bold());
    }
    svg.finish(title)
}

fn label(value: f64) -> String {
    match value {
        value if value >= 100.0 || value.fract().abs() < 1e-9 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_has_no_plot() {
        assert!(all(&[]).is_empty());
        assert!(all(&[Point::default()]).is_empty(), "one point is no curve");
        let point = |seconds| Point { seconds, per_second: 1.0, ..Point::default() };
        let charts = all(&[point(1.0), point(2.0)]);
        assert_eq!(charts.len(), 2);
        assert!(charts.iter().all(|chart| !chart.contains("NaN")));
    }
}
