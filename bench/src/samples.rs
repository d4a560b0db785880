//! Every figure that was measured, by what and when, and what can be said about them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One figure of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// `p1` …
    pub scenario: String,
    /// What varies within a scenario, such as the number of connections.
    pub case: String,
    pub server: String,
    pub round: usize,
    /// Figures by name; the name ends with the unit.
    pub figures: BTreeMap<String, f64>,
}

/// Median of the rounds, with the lowest and the highest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let upper = *values.get(half)?;
        // Of an even number, the mean of the two in the middle.
        let median = match values.len() % 2 {
            0 => f64::midpoint(upper, *values.get(half - 1)?),
            _ => upper,
        };
        Some(Self { low, median, high })
    }

    /// `median (low – high)`; the median alone when there was one round.
    pub(crate) fn text(&self, digits: usize) -> String {
        let Self { low, median, high } = *self;
        let [low, median, high] = [low, median, high].map(|value| number(value, digits));
        match low == high {
            true => median,
            false => format!("{median} ({low} – {high})"),
        }
    }
}

/// A number with so many digits behind the point, and groups of three before it.
pub(crate) fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let behind = whole.len() - at;
        if at > 0 && behind % 3 == 0 && digit.is_ascii_digit() && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// What a figure belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub scenario: &'a str,
    pub case: &'a str,
    pub server: &'a str,
}

/// All samples of a run of the benchmark.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    /// Enters the figures of one run.
    pub(crate) fn push(
        &mut self,
        (scenario, case): (&'static str, &str),
        server: &str,
        round: usize,
        figures: &[(&'static str, f64)],
    ) {
        let [scenario, case, server] = [scenario, case, server].map(str::to_owned);
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.0.push(Sample { scenario, case, server, round, figures });
    }

    /// Takes over what an earlier run measured in scenarios that are missing here; returns their names.
    pub(crate) fn keep(&mut self, earlier: Self) -> Vec<String> {
        let missing = |sample: &Sample| self.0.iter().all(|own| own.scenario != sample.scenario);
        let kept: Vec<Sample> = earlier.0.into_iter().filter(missing).collect();
        let mut names: Vec<String> = kept.iter().map(|sample| sample.scenario.clone()).collect();
        names.dedup();
        self.0.extend(kept);
        names.sort();
        names.dedup();
        names
    }

    fn of<'a>(&'a self, of: Of<'a>) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.scenario == of.scenario && sample.case == of.case && sample.server == of.server
        })
    }

    /// A figure over all rounds.
    pub(crate) fn spread(&self, of: Of<'_>, figure: &str) -> Option<Spread> {
        Spread::of(self.of(of).filter_map(|sample| sample.figures.get(figure).copied()))
    }

    /// A figure of one run.
    pub(crate) fn one(&self, of: Of<'_>, round: usize, figure: &str) -> Option<f64> {
        let sample = self.of(of).find(|sample| sample.round == round)?;
        sample.figures.get(figure).copied()
    }

    /// A figure divided by another one of the same round.
    pub(crate) fn ratio(&self, of: Of<'_>, base: Of<'_>, figure: &str) -> Option<Spread> {
        let value = |sample: &Sample| sample.figures.get(figure).copied();
        Spread::of(self.of(of).filter_map(|sample| {
            let same = self.of(base).find(|other| other.round == sample.round)?;
            let base = value(same).filter(|base| *base > 0.0)?;
            Some(value(sample)? / base)
        }))
    }

    /// Servers of a scenario, in the order in which they came.
    pub(crate) fn servers(&self, scenario: &str) -> Vec<&str> {
        self.names(scenario, |sample| &sample.server)
    }

    /// Cases of a scenario, in the order in which they came.
    pub(crate) fn cases(&self, scenario: &str) -> Vec<&str> {
        self.names(scenario, |sample| &sample.case)
    }

    fn names<'a>(&'a self, scenario: &str, name: fn(&Sample) -> &String) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for sample in self.0.iter().filter(|sample| sample.scenario == scenario) {
            let name = name(sample).as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(server: &str, round: usize, value: f64) -> Sample {
        let figures = BTreeMap::from([("us".to_owned(), value)]);
        Sample { scenario: "p1".into(), case: "1000".into(), server: server.into(), round, figures }
    }

    fn of(server: &str) -> Of<'_> {
        Of { scenario: "p1", case: "1000", server }
    }

    #[test]
    fn a_spread_is_the_median_between_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().text(1), "2.0 (1.0 – 3.0)");
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([2.0]).unwrap().text(0), "2");
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_ratio_is_within_a_round_and_rounds_without_a_partner_do_not_count() {
        let samples = Samples(vec![
            sample("floor", 0, 2.0),
            sample("ours", 0, 3.0),
            sample("ours", 1, 8.0),
            sample("floor", 1, 4.0),
            sample("ours", 2, 100.0),
        ]);
        let ratio = samples.ratio(of("ours"), of("floor"), "us").unwrap();
        assert_eq!((ratio.low, ratio.high), (1.5, 2.0));
        assert_eq!(samples.ratio(of("ours"), of("nobody"), "us"), None);
        assert_eq!(samples.servers("p1"), ["floor", "ours"]);
        assert!(samples.cases("p2").is_empty());
    }

    #[test]
    fn what_an_earlier_run_measured_is_kept_unless_it_was_measured_again() {
        let of_p2 = Sample { scenario: "p2".into(), ..sample("floor", 0, 1.0) };
        let mut samples = Samples(vec![sample("ours", 0, 3.0)]);
        let earlier = Samples(vec![sample("ours", 0, 9.0), sample("floor", 0, 9.0), of_p2]);
        assert_eq!(samples.keep(earlier), ["p2"]);
        assert_eq!(samples.servers("p1"), ["ours"]);
        assert_eq!(samples.servers("p2"), ["floor"]);
    }

    #[test]
    fn numbers_are_grouped() {
        let texts = [(1_234_567.0, 0), (999.96, 1), (-1_000.0, 0), (-100.0, 0), (0.05, 2)]
            .map(|(value, digits)| number(value, digits));
        assert_eq!(texts, ["1,234,567", "1,000.0", "-1,000", "-100", "0.05"]);
    }
}
