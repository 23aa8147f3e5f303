//! What `promtool check metrics` finds fault with, and that histograms add up.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Family, Sample};

/// Words for units that are no base units.
const DERIVED: [&str; 26] = [
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "weeks",
    "kilobytes",
    "kibibytes",
    "megabytes",
    "mebibytes",
    "gigabytes",
    "gibibytes",
    "bits",
    "kilobits",
    "percent",
    "percents",
    "milliamperes",
    "fahrenheit",
    "kelvins",
    "millimeters",
    "kilometers",
    "kilograms",
    "milligrams",
    "milliwatts",
    "kilowatts",
];
/// Abbreviated units.
const SHORT: [&str; 22] = [
    "s", "sec", "secs", "ms", "us", "ns", "m", "min", "mins", "h", "hr", "b", "kb", "kib", "mb", "mib", "gb",
    "gib", "tb", "pct", "mem", "msec",
];
const KINDS: [&str; 5] = ["counter", "gauge", "histogram", "summary", "info"];
/// Endings that mean something; the encoder writes them.
const RESERVED: [&str; 5] = ["_bucket", "_sum", "_count", "_created", "_info"];

/// All that is wrong.
pub(crate) fn problems(exposition: &Exposition) -> Vec<String> {
    exposition.families.iter().flat_map(family).collect()
}

fn family(family: &Family) -> Vec<String> {
    let mut found = Vec::new();
    let mut wrong = |what: String| found.push(format!("{}: {what}", family.name));
    if family.help.trim().is_empty() {
        wrong("has no HELP".into());
    }
    if !KINDS.contains(&family.kind.as_str()) {
        wrong(format!("has TYPE {:?}", family.kind));
    }
    if family.samples.is_empty() {
        wrong("has no samples".into());
    }
    let name = family.name.trim_end_matches("_total");
    if family.kind != "counter" && family.name.ends_with("_total") {
        wrong("ends in _total and is no counter".into());
    }
    if family.kind == "counter"
        && family
            .samples
            .iter()
            .any(|sample| !sample.name.ends_with("_total") && !sample.name.ends_with("_created"))
    {
        wrong("is a counter and does not end in _total".into());
    }
    for ending in RESERVED.iter().filter(|ending| name.ends_with(**ending)) {
        wrong(format!("ends in {ending}, which is reserved"));
    }
    if name.contains(':') || name.chars().any(|letter| letter.is_ascii_uppercase()) {
        wrong("has colons or capitals in its name".into());
    }
    for word in name.split('_') {
        if DERIVED.contains(&word) {
            wrong(format!("is counted in {word}: use the base unit"));
        }
        if SHORT.contains(&word) {
            wrong(format!("abbreviates a unit: {word}"));
        }
        if word == family.kind {
            wrong("has its type in its name".into());
        }
    }
    for sample in &family.samples {
        values(family, sample, &mut wrong);
    }
    if family.kind == "histogram" {
        histogram(family, &mut wrong);
    }
    found
}

fn values(family: &Family, sample: &Sample, wrong: &mut impl FnMut(String)) {
    if family.kind == "counter" && !(sample.value.is_finite() && sample.value >= 0.0) {
        wrong(format!("is a counter with value {}", sample.value));
    }
    for (label, kind) in [("le", "histogram"), ("quantile", "summary")] {
        if sample.label(label).is_some() && family.kind != kind {
            wrong(format!("has label {label} and is no {kind}"));
        }
    }
    for label in sample.labels.keys() {
        if label.chars().any(|letter| letter.is_ascii_uppercase()) {
            wrong(format!("has capitals in label {label}"));
        }
    }
}

#[derive(Default)]
struct Series {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

fn histogram(family: &Family, wrong: &mut impl FnMut(String)) {
    let mut all: BTreeMap<BTreeMap<String, String>, Series> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels
            .remove("le")
            .map(|bound| bound.replace("+Inf", "inf").parse().unwrap_or(f64::NAN));
        let series = all.entry(labels).or_default();
        match (sample.name.strip_prefix(&family.name), bound) {
            (Some("_bucket"), Some(bound)) => series.buckets.push((bound, sample.value)),
            (Some("_bucket"), None) => wrong("has a bucket without le".into()),
            (Some("_count"), _) => series.count = Some(sample.value),
            (Some("_sum"), _) => series.sum = Some(sample.value),
            _ => {}
        }
    }
    for (labels, series) in all {
        // Fails for what is no number, too.
        let rising = series
            .buckets
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 <= b.1));
        if !rising {
            wrong(format!("{labels:?}: buckets are not cumulative"));
        }
        let last = series.buckets.last().filter(|(bound, _)| *bound == f64::INFINITY);
        if last.map(|(_, count)| *count) != series.count || series.count.is_none() {
            wrong(format!(
                "{labels:?}: bucket +Inf is {last:?}, _count is {:?}",
                series.count
            ));
        }
        if series.sum.is_none() {
            wrong(format!("{labels:?}: no _sum"));
        }
    }
}
