//! The charts of a run: an overview of all servers, and the curves of growth.

mod bars;
mod curves;

use crate::report::Results;

/// File names and their SVG; a chart without figures is left out.
pub(crate) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let charts =
        [("overview.svg", bars::overview(results)), ("growth.svg", curves::growth(results))];
    charts.into_iter().filter_map(|(name, svg)| Some((name, svg?))).collect()
}

#[cfg(test)]
mod tests {
    use crate::report::tests::example;
    use crate::samples::Samples;

    use super::*;

    #[test]
    fn charts_show_every_server_with_its_value_and_are_well_formed() {
        let charts = all(&example());
        assert_eq!(
            charts.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["overview.svg", "growth.svg"]
        );
        let (_, overview) = &charts[0];
        for text in [">wsgateway<", ">1.50<", ">Bun (uWebSockets)<", ">40.00<", ">1.05<"] {
            assert!(overview.contains(text), "{text} is missing in {overview}");
        }
        for (name, svg) in &charts {
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count(), "{name}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
        }
    }

    #[test]
    fn without_figures_there_is_no_chart() {
        let results = Results { samples: Samples::default(), ..example() };
        assert!(all(&results).is_empty());
    }
}
