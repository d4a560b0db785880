//! The charts of a run: an overview of all servers, and the curves of growth.

mod bars;
mod curves;
mod svg;

use crate::report::Results;

/// File names and their SVG; a chart without figures is left out.
pub(crate) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let charts =
        [("overview.svg", bars::overview(results)), ("growth.svg", curves::growth(results))];
    charts.into_iter().filter_map(|(name, svg)| Some((name, svg?))).collect()
}
