use super::exposition::Exposition;
use super::lint;

const GOOD: &str = "\
# HELP jobs Jobs done.
# TYPE jobs counter
jobs_total{kind=\"a\\\"b\\\\c\\nd\"} 3
jobs_total{kind=\"b\"} 0
# HELP open Things open.
# TYPE open gauge
open 1.5
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_sum{of=\"x\"} 7.5
took_seconds_count{of=\"x\"} 3
took_seconds_bucket{le=\"1.0\",of=\"x\"} 1
took_seconds_bucket{le=\"5.0\",of=\"x\"} 2
took_seconds_bucket{le=\"+Inf\",of=\"x\"} 3
# EOF
";

fn refused(text: &str) -> String {
    format!("{:#}", Exposition::parse(text, true).unwrap_err())
}

/// What is found fault with after a change of the good text.
fn faults(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    lint::problems(&Exposition::parse(&GOOD.replace(from, to), true).unwrap()).join("; ")
}

#[test]
fn what_is_right_passes() {
    let good = Exposition::parse(GOOD, true).unwrap();
    assert_eq!(lint::problems(&good), Vec::<String>::new());
    assert_eq!((good.families.len(), good.samples().count()), (3, 8));
    assert_eq!(good.samples().next().unwrap().label("kind"), Some("a\"b\\c\nd"));
    assert_eq!(good.widest(), (3, "took_seconds{le}".into()));
    // The older format names the counter in full.
    let old = "# HELP a_total A.\n# TYPE a_total counter\na_total 1 1700000000\n";
    assert!(lint::problems(&Exposition::parse(old, false).unwrap()).is_empty());
}

#[test]
fn what_cannot_be_read_is_refused() {
    for (from, to, told) in [
        ("# EOF\n", "", "EOF"),
        (
            "# HELP open Things open.\n# TYPE open gauge\n",
            "",
            "announce open",
        ),
        ("open 1.5", "open one", "no number"),
        ("open 1.5", "open", "without a value"),
        ("open 1.5", "open 1 2 3", "more than"),
        ("open 1.5", "öpen 1.5", "no name of a metric"),
        ("{kind=\"b\"}", "{kind=\"b}", "closing quote"),
        ("{kind=\"b\"}", "{kind=\"\\x\"}", "no escape"),
        ("{kind=\"b\"}", "{0kind=\"b\"}", "no name of a label"),
        ("{kind=\"b\"}", "{__kind=\"b\"}", "no name of a label"),
        ("{kind=\"b\"}", "{kind=\"b\",kind=\"c\"}", "twice"),
        ("{kind=\"b\"}", "{kind=\"b\" x=\"c\"}", "comma"),
        ("open 1.5", "open 1.5\nopen 1.5", "twice"),
        (
            "# TYPE open gauge",
            "# TYPE open gauge\n# TYPE open gauge",
            "twice",
        ),
        ("open 1.5", "open 1.5\n# HELP open Again.", "after samples"),
        ("# EOF\n", "# HELP jobs Again.\n# EOF\n", "not together"),
        ("jobs_total{kind=\"b\"} 0", "jobs 0", "announce jobs"),
        ("open 1.5", "open 1.5\n# a remark", "free comments"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = refused(&GOOD.replacen(from, to, 1));
        assert!(text.contains(told), "{from} -> {to}: {text}");
    }
}

#[test]
fn what_promtool_finds_fault_with_is_found() {
    for (from, to, told) in [
        ("# HELP open Things open.\n", "", "no HELP"),
        ("# TYPE open gauge", "# TYPE open thing", "TYPE \"thing\""),
        ("open 1.5\n", "", "no samples"),
        ("open", "open_total", "no counter"),
        ("open", "open_count", "reserved"),
        ("open", "open_milliseconds", "base unit"),
        ("open", "open_ms", "abbreviates"),
        ("open", "open_gauge", "type in its name"),
        ("open", "openThings", "capitals"),
        ("open 1.5", "open{le=\"1\"} 1.5", "no histogram"),
        ("open 1.5", "open{aB=\"1\"} 1.5", "capitals in label"),
        ("} 0", "} -1", "value -1"),
        ("5.0\",of=\"x\"} 2", "5.0\",of=\"x\"} 0", "not cumulative"),
        ("5.0\",of", "0.5\",of", "not cumulative"),
        ("_count{of=\"x\"} 3", "_count{of=\"x\"} 4", "_count is"),
        ("took_seconds_sum{of=\"x\"} 7.5\n", "", "no _sum"),
        ("took_seconds_bucket{le=\"+Inf\",of=\"x\"} 3\n", "", "+Inf"),
    ] {
        let text = faults(from, to);
        assert!(text.contains(told), "{from} -> {to}: {text:?}");
    }
}
