//! Metrics that are put together when a scrape asks, from numbers that others keep: nothing is kept per series.

use prometheus::core::Desc;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// A metric: what its numbers mean and which labels they have.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Name, with its unit and `_total` as Prometheus wants them.
    pub name: &'static str,
    /// Meaning, in a sentence.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricType,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Shape {
    /// A gauge with these labels.
    pub const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::GAUGE, labels }
    }

    /// A counter with these labels.
    pub const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::COUNTER, labels }
    }

    /// A histogram with these labels.
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::HISTOGRAM, labels }
    }

    /// The description by which a registry finds two of one name.
    ///
    /// # Errors
    /// When a name is not one for Prometheus.
    pub fn desc(&self) -> prometheus::Result<Desc> {
        let labels = self.labels.iter().map(|name| (*name).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, Default::default())
    }

    /// The metric without numbers.
    pub fn family(self) -> Family {
        Family { shape: self, metrics: Vec::new() }
    }
}

/// A metric and its numbers at one instant.
#[derive(Debug)]
pub struct Family {
    shape: Shape,
    metrics: Vec<Metric>,
}

impl Family {
    /// Adds the series of these label values, in the order of the shape's names.
    pub fn add(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.metric(labels);
        if self.shape.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    /// The same, as a step that can be chained.
    #[must_use]
    pub fn with(mut self, labels: &[&str], value: f64) -> Self {
        self.add(labels, value);
        self
    }

    /// Adds a histogram. `counts` are not cumulative: one per bound, and one of what is beyond all of them.
    pub fn add_histogram(
        &mut self,
        labels: &[&str],
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) {
        let mut metric = self.metric(labels);
        let mut below = 0;
        let bucket = |(bound, count): (f64, &u64)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(bounds.zip(counts).map(bucket).collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    fn metric(&self, values: &[&str]) -> Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut pairs: Vec<_> = self.shape.labels.iter().zip(values).map(pair).collect();
        // As those of the library: readers of the text find a series by its labels in this order.
        pairs.sort_by(|one, other| one.name().cmp(other.name()));
        Metric::from_label(pairs)
    }
}

impl From<Family> for MetricFamily {
    fn from(family: Family) -> Self {
        let mut made = Self::default();
        made.set_name(family.shape.name.to_owned());
        made.set_help(family.shape.help.to_owned());
        made.set_field_type(family.shape.kind);
        made.set_metric(family.metrics);
        made
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn a_family_reads_as_the_library_would_have_written_it() {
        let shape = Shape::gauge("a_bytes", "A.", &["z", "b"]);
        let gauge = shape.family().with(&["1", "2"], 7.0);
        let mut histogram = Shape::histogram("b_seconds", "B.", &[]).family();
        histogram.add_histogram(&[], [0.1, 1.0].into_iter(), &[2, 1, 1], 3.5);
        let counter = Shape::counter("c_total", "C.", &[]).family().with(&[], 3.0);
        let families = [gauge.into(), histogram.into(), counter.into()];
        let text = TextEncoder::new().encode_to_string(&families).unwrap();
        let expected = "\
# HELP a_bytes A.
# TYPE a_bytes gauge
a_bytes{b=\"2\",z=\"1\"} 7
# HELP b_seconds B.
# TYPE b_seconds histogram
b_seconds_bucket{le=\"0.1\"} 2
b_seconds_bucket{le=\"1\"} 3
b_seconds_bucket{le=\"+Inf\"} 4
b_seconds_sum 3.5
b_seconds_count 4
# HELP c_total C.
# TYPE c_total counter
c_total 3
";
        assert_eq!(text, expected);
        assert!(shape.desc().is_ok());
    }
}
