//! What a scrape gets: samples of the table's rows, in Prometheus's text format 0.0.4.

use super::families::{Family, Kind};
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, TextEncoder};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// From this value on, Go writes a number with an exponent.
const EXPONENT_FROM: f64 = 1e6;

/// The samples that were written so far, by the names of their families.
#[derive(Default)]
pub(super) struct Output(BTreeMap<String, MetricFamily>);

/// A histogram.
pub(super) struct Distribution {
    /// The upper bounds of all buckets but the last, which has none.
    pub(super) bounds: Vec<f64>,
    /// How many observations are in each bucket, and in no lower one.
    pub(super) counts: Vec<u64>,
    /// The sum of the observations.
    pub(super) sum: f64,
}

impl Output {
    /// Families that were collected elsewhere.
    pub(super) fn new(collected: Vec<MetricFamily>) -> Self {
        Self(collected.into_iter().map(|family| (family.name().to_owned(), family)).collect())
    }

    /// A sample of a counter; `labels` are values in the order of the family's names.
    pub(super) fn counter(&mut self, family: &Family, labels: &[&str], value: u64) {
        self.counter_of(family, labels, float(value));
    }

    /// The same of a counter that does not count whole things.
    pub(super) fn counter_of(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        let mut metric = metric(family, labels);
        metric.set_counter(counter);
        self.add(family, metric);
    }

    /// A sample of a gauge.
    pub(super) fn gauge(&mut self, family: &Family, labels: &[&str], value: u64) {
        self.gauge_of(family, labels, float(value));
    }

    /// The same of a gauge that is no whole number.
    pub(super) fn gauge_of(&mut self, family: &Family, labels: &[&str], value: f64) {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut metric = metric(family, labels);
        metric.set_gauge(gauge);
        self.add(family, metric);
    }

    /// A sample of a histogram. Its count is the sum of its buckets, so that they fit even if
    /// they were read while more was counted.
    pub(super) fn histogram(&mut self, family: &Family, labels: &[&str], values: Distribution) {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(values.bounds.len());
        let mut counts = values.counts.into_iter();
        for (bound, more) in values.bounds.into_iter().zip(&mut counts) {
            count += more;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count + counts.sum::<u64>());
        histogram.set_sample_sum(values.sum);
        let mut metric = metric(family, labels);
        metric.set_histogram(histogram);
        self.add(family, metric);
    }

    /// All of it as text, sorted.
    ///
    /// # Errors
    /// If a family is malformed.
    pub(super) fn text(self) -> Result<String, Error> {
        let families: Vec<_> = self.0.into_values().collect();
        Ok(with_bounds_as_go(&TextEncoder::new().encode_to_string(&families)?))
    }

    fn add(&mut self, family: &Family, metric: Metric) {
        let entry = self.0.entry(family.name.to_owned()).or_insert_with(|| {
            let mut empty = MetricFamily::default();
            empty.set_name(family.name.to_owned());
            empty.set_help(family.help.to_owned());
            empty.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            empty
        });
        entry.mut_metric().push(metric);
    }
}

fn metric(family: &Family, labels: &[&str]) -> Metric {
    debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
    let pairs = family.labels.iter().zip(labels).map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

#[expect(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// The text with the bounds of buckets as Go writes them, `1.048576e+06`: to Prometheus 2, a
/// bucket with another text is another series than distribution's.
fn with_bounds_as_go(text: &str) -> String {
    const LABEL: &str = "le=\"";
    let mut written = String::with_capacity(text.len() + text.len() / 16);
    for line in text.split_inclusive('\n') {
        // Quotes within values are escaped, so this can only be a label.
        let at = line.find(LABEL).filter(|at| line[..*at].ends_with(['{', ',']));
        let bound = at.and_then(|at| {
            let rest = &line[at + LABEL.len()..];
            let (bound, after) = rest.split_once('"')?;
            let number = bound.parse().ok().filter(|number| is_long(*number))?;
            Some((&line[..at + LABEL.len()], number, after))
        });
        match bound {
            Some((before, number, after)) => {
                written.push_str(before);
                as_go(&mut written, number);
                written.push('"');
                written.push_str(after);
            }
            None => written.push_str(line),
        }
    }
    written
}

fn is_long(number: f64) -> bool {
    number.is_finite() && number >= EXPONENT_FROM
}

/// Writes a number with an exponent of at least two digits.
fn as_go(text: &mut String, number: f64) {
    let rust = format!("{number:e}");
    let (digits, exponent) = rust.split_once('e').unwrap_or((&rust, "0"));
    let _ = write!(text, "{digits}e+{exponent:0>2}");
}

#[cfg(test)]
mod tests {
    use super::{Output, with_bounds_as_go};
    use crate::metrics::families::{BUILD, LOGINS};

    #[test]
    fn bounds_are_those_of_go() {
        for (rust, go) in [
            ("a_bucket{le=\"1024\"} 1\n", "a_bucket{le=\"1024\"} 1\n"),
            ("a_bucket{le=\"0.005\"} 1\n", "a_bucket{le=\"0.005\"} 1\n"),
            ("a_bucket{le=\"+Inf\"} 1\n", "a_bucket{le=\"+Inf\"} 1\n"),
            ("a_bucket{le=\"524288\"} 1\n", "a_bucket{le=\"524288\"} 1\n"),
            ("a_bucket{x=\"y\",le=\"1048576\"} 7\n", "a_bucket{x=\"y\",le=\"1.048576e+06\"} 7\n"),
            ("a_bucket{le=\"1000000\"} 1\n", "a_bucket{le=\"1e+06\"} 1\n"),
            ("a_bucket{le=\"2147483648\"} 1\n", "a_bucket{le=\"2.147483648e+09\"} 1\n"),
            ("a{role=\"1048576\"} 1\n", "a{role=\"1048576\"} 1\n"),
            ("a{x=\",le=\\\"1048576\\\"\"} 1\n", "a{x=\",le=\\\"1048576\\\"\"} 1\n"),
            ("", ""),
        ] {
            assert_eq!(with_bounds_as_go(rust), go);
        }
    }

    #[test]
    fn odd_labels_are_escaped() {
        let mut output = Output::default();
        output.gauge(&BUILD, &["a\nb", "c\"} 1\nd{", "e\\f"], 1);
        output.counter(&LOGINS, &["\u{e4}"], 0);
        let text = output.text().unwrap();
        let line = "roadstead_build_info{commit=\"a\\nb\",component=\"c\\\"} 1\\nd{\",version=\"e\\\\f\"} 1\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("roadstead_logins_total{outcome=\"\u{e4}\"} 0\n"), "{text}");
        // A comment of each, and a sample.
        assert_eq!(text.lines().count(), 6);
    }
}
