//! What it costs: counters at one time, from those who do the work.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use metal3_testkit::http;

/// Counters by name; differences of two of them are what happened in between.
pub(crate) type Counts = BTreeMap<String, f64>;

/// Linux has used 100 clock ticks per second on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was counted more since.
pub(crate) fn since(before: &Counts, now: &Counts) -> Counts {
    now.iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0.0)))
        .filter(|(_, count)| *count > 0.0)
        .collect()
}

/// Adds counts.
pub(crate) fn add(sum: &mut Counts, more: &Counts) {
    for (name, count) in more {
        *sum.entry(name.clone()).or_default() += count;
    }
}

/// The samples of a metric: labels and value.
pub(crate) fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line
            .strip_prefix(name)
            .filter(|rest| rest.starts_with(['{', ' ']))?;
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

/// The value of a label.
pub(crate) fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let found = labels
        .split([',', '{', '}'])
        .find_map(|label| label.strip_prefix(name)?.strip_prefix('='));
    found.map_or("", |value| value.trim_matches('"'))
}

/// Writes by kind and requests to Ironic by route, as bmo counts them.
pub(crate) async fn of_bmo(metrics: &str) -> Result<(Counts, Counts)> {
    let (_, text) = http::get(metrics).await?;
    let mut writes = Counts::new();
    for (labels, value) in series(&text, "metal3_kubernetes_writes_total") {
        *writes.entry(label(labels, "kind").to_owned()).or_default() += value;
    }
    let mut calls = Counts::new();
    for (labels, value) in series(&text, "metal3_ironic_requests_total") {
        let route = format!("{} {}", label(labels, "method"), label(labels, "route"));
        *calls.entry(route).or_default() += value;
    }
    Ok((writes, calls))
}

/// Writes as the API server counts them, whoever made them, by verb and resource. Reviews of tokens and access change
/// nothing.
pub(crate) fn of_apiserver(text: &str) -> Counts {
    requests_of_apiserver(text, |verb, resource| {
        let writing = ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(&verb);
        // The API server's own lease is no work of ours, and neither is an account for a test.
        writing && !["tokenreviews", "subjectaccessreviews", "apiservices", ""].contains(&resource)
    })
}

/// Successful requests as the API server counts them, by verb and resource, of those that are wanted.
pub(crate) fn requests_of_apiserver(text: &str, wanted: impl Fn(&str, &str) -> bool) -> Counts {
    let mut requests = Counts::new();
    for (labels, value) in series(text, "apiserver_request_total") {
        let (verb, resource) = (label(labels, "verb"), label(labels, "resource"));
        if wanted(verb, resource) && label(labels, "code").starts_with('2') {
            let subresource = match label(labels, "subresource") {
                "" => String::new(),
                subresource => format!("/{subresource}"),
            };
            *requests
                .entry(format!("{verb} {resource}{subresource}"))
                .or_default() += value;
        }
    }
    requests
}

/// Seconds of CPU that a process used.
pub(crate) fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name may hold spaces; the fields after it do not.
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("an odd /proc/<pid>/stat")?;
    Ok((user + system) / TICKS_PER_SECOND)
}

/// MiB that a process holds in RAM: now, and at most since [`forget_peak`].
pub(crate) fn memory(pid: u32) -> Result<(f64, f64)> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    };
    field("VmRSS:")
        .zip(field("VmHWM:"))
        .context("an odd /proc/<pid>/status")
}

/// The kernel begins to look for the peak anew.
pub(crate) fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_told_by_verb_and_resource_and_refused_ones_are_none() {
        let text = "\
apiserver_request_total{code=\"200\",resource=\"baremetalhosts\",subresource=\"status\",verb=\"PUT\"} 8
apiserver_request_total{code=\"409\",resource=\"baremetalhosts\",subresource=\"status\",verb=\"PUT\"} 1
apiserver_request_total{code=\"201\",resource=\"events\",subresource=\"\",verb=\"POST\"} 6
apiserver_request_total{code=\"200\",resource=\"events\",subresource=\"\",verb=\"LIST\"} 4
apiserver_request_total{code=\"201\",resource=\"tokenreviews\",subresource=\"\",verb=\"POST\"} 3
";
        let writes = of_apiserver(text);
        assert_eq!(
            writes.into_iter().collect::<Vec<_>>(),
            [
                ("POST events".to_owned(), 6.0),
                ("PUT baremetalhosts/status".to_owned(), 8.0)
            ]
        );
    }

    #[test]
    fn only_what_was_counted_more_is_told() {
        let counts = |list: &[(&str, f64)]| -> Counts {
            list.iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        let more = since(
            &counts(&[("a", 1.0), ("b", 2.0)]),
            &counts(&[("a", 1.0), ("b", 5.0), ("c", 1.0)]),
        );
        assert_eq!(more, counts(&[("b", 3.0), ("c", 1.0)]));
    }
}
