//! What is aimed at, and whether it was reached.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figures::Figures;

/// From so many hosts on, the figures of a big fleet are aimed at.
const BIG: usize = 10_000;

/// A figure and what is aimed at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    what: &'static str,
    target: String,
    measured: f64,
    reached: bool,
}

/// The direction in which a figure is good.
#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

/// The life of a fleet.
pub(crate) fn life(hosts: usize, figures: &Figures, smaller: Option<&Figures>) -> Vec<Row> {
    use Aim::{AtLeast, AtMost};
    let mut aims = vec![
        (
            "from creation to available, hosts/min",
            "available.rate",
            AtLeast(1500.0),
        ),
        (
            "Kubernetes writes per host to available",
            "available.writes",
            AtMost(8.0),
        ),
        (
            "Ironic calls per host to available",
            "available.calls",
            AtMost(15.0),
        ),
        (
            "Kubernetes writes per host, whole life",
            "life.writes",
            AtMost(20.0),
        ),
        ("CPU of bmo per host, whole life, ms", "life.cpu", AtMost(10.0)),
        ("RSS of bmo at most, MiB", "rss.peak", AtMost(80.0)),
        (
            "idle: Kubernetes writes besides Leases",
            "idle.writes",
            AtMost(0.0),
        ),
        ("idle: Ironic calls besides list pages", "idle.calls", AtMost(0.0)),
        ("idle: CPU of bmo, % of a core", "idle.cpu", AtMost(1.0)),
        (
            "a change in Ironic shows on the host, s",
            "change.seconds",
            AtMost(3.0),
        ),
        ("a restart is ready, s", "restart.seconds", AtMost(10.0)),
    ];
    if hosts >= BIG {
        // The others are told of a thousand hosts.
        aims.retain(|(_, figure, _)| ["rss.peak", "restart.seconds"].contains(figure));
        aims.iter_mut()
            .filter(|(_, figure, _)| *figure == "rss.peak")
            .for_each(|(_, _, aim)| *aim = AtMost(300.0));
    }
    let mut rows = compare(figures, aims);
    let rates = smaller
        .and_then(|smaller| smaller.get("available.rate"))
        .zip(figures.get("available.rate"));
    if let Some((small, big)) = rates {
        rows.push(row(
            "time per host, times that of the smaller fleet",
            small / big,
            AtMost(1.3),
        ));
    }
    rows
}

/// Machines on hosts.
pub(crate) fn machines(figures: &Figures) -> Vec<Row> {
    use Aim::AtMost;
    let aims = vec![
        ("hosts given to two machines", "claims.double", AtMost(0.0)),
        (
            "a free host is taken by a machine that waits, ms",
            "woken.worst",
            AtMost(1000.0),
        ),
        (
            "idle: requests of capm3 besides Leases",
            "idle.requests",
            AtMost(0.0),
        ),
        (
            "idle: calls of the HostService by capm3",
            "idle.calls",
            AtMost(0.0),
        ),
        (
            "idle: requests of capm3 to workload clusters besides watches",
            "idle.workload",
            AtMost(0.0),
        ),
        ("idle: CPU of capm3, % of a core", "idle.cpu", AtMost(1.0)),
    ];
    compare(figures, aims)
}

/// Claims and reads of many callers.
pub(crate) fn claims(figures: &Figures) -> Vec<Row> {
    use Aim::{AtLeast, AtMost};
    let aims = vec![
        ("hosts given to two machines", "claims.double", AtMost(0.0)),
        ("ClaimHost, all at once, claims/s", "burst.rate", AtLeast(150.0)),
        ("ClaimHost, all at once, p99, ms", "burst.p99", AtMost(500.0)),
        ("ClaimHost, evenly, p99, ms", "even.p99", AtMost(500.0)),
        ("GetHost p99, ms", "get.p99", AtMost(2.0)),
    ];
    compare(figures, aims)
}

/// One change to many watchers, from the write on.
pub(crate) fn watches(figures: &Figures) -> Vec<Row> {
    compare(
        figures,
        vec![("a change to 50 watchers, p99, ms", "watch.p99", Aim::AtMost(50.0))],
    )
}

/// The figures with their targets; what was not measured is left out.
fn compare(figures: &Figures, aims: Vec<(&'static str, &'static str, Aim)>) -> Vec<Row> {
    aims.into_iter()
        .filter_map(|(what, figure, aim)| Some(row(what, figures.get(figure)?, aim)))
        .collect()
}

fn row(what: &'static str, measured: f64, aim: Aim) -> Row {
    let (target, reached) = match aim {
        Aim::AtMost(limit) => (format!("≤ {limit}"), measured <= limit),
        Aim::AtLeast(limit) => (format!("≥ {limit}"), measured >= limit),
    };
    Row {
        what,
        target,
        measured,
        reached,
    }
}

/// A table in Markdown.
pub(crate) fn table(rows: &[Row], runs: usize) -> String {
    let measured = if runs > 1 {
        format!("median of {runs}")
    } else {
        "measured".to_owned()
    };
    let mut text = format!("\n| figure | target | {measured} | reached |\n|---|---|---|---|\n");
    for row in rows {
        let reached = if row.reached { "yes" } else { "no" };
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {reached} |",
            row.what, row.target, row.measured
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_reached_from_the_right_side() {
        assert!(
            row("a", 1500.0, Aim::AtLeast(1500.0)).reached && !row("a", 1499.0, Aim::AtLeast(1500.0)).reached
        );
        assert!(row("a", 8.0, Aim::AtMost(8.0)).reached && !row("a", 8.1, Aim::AtMost(8.0)).reached);
    }
}
