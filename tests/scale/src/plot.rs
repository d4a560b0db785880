//! A plot of the connections of each pod over time, with the events: an SVG file for the docs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::report::Results;

const SIZE: (u32, u32) = (1_200, 520);

/// Draws the plot into a file.
///
/// # Errors
/// When it cannot be written.
pub fn draw(results: &Results, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    chart(results, &root).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn chart<'a>(
    results: &Results,
    root: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
) -> Drawn<'a> {
    root.fill(&WHITE)?;
    let end = results.samples.last().map_or(1.0, |sample| sample.seconds);
    let all = results.samples.iter().flat_map(|sample| sample.connections.values());
    let most = all.copied().max().unwrap_or(1) as f64 * 1.15;
    let mut chart = ChartBuilder::on(root)
        .caption("Connections of each pod; numbers: the events of the table", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("connections")
        .light_line_style(WHITE)
        .draw()?;
    for (number, row) in (1..).zip(&results.rows) {
        let at = row.began_seconds;
        let line = [(at, 0.0), (at, most)];
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.35)))?;
        let text =
            Text::new(format!("{number}"), (at + end * 0.004, most * 0.97), ("sans-serif", 16));
        chart.draw_series(std::iter::once(text))?;
    }
    for (index, line) in lines(results).into_values().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        chart.draw_series(LineSeries::new(line, color))?;
    }
    root.present()
}

/// The points of each pod.
fn lines(results: &Results) -> BTreeMap<&str, Vec<(f64, f64)>> {
    let mut lines: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in &results.samples {
        for (pod, connections) in &sample.connections {
            lines.entry(pod).or_default().push((sample.seconds, *connections as f64));
        }
    }
    lines
}
