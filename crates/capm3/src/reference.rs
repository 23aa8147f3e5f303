//! Pages of the documentation that are made from what the program is.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use metal3_kit::flags::{code, table};

use crate::Args;

/// Paths of upstream's diagnostics address that are not served, and why.
const NOT_SERVED: [(&str, &str); 2] = [
    ("GET /debug/pprof/*", "profiles of Go's runtime"),
    (
        "PUT /debug/flags/v",
        "the level of Go's log library; restart with `-v` or `--log-filter` instead, nothing is lost by that",
    ),
];

/// The part of `docs/flags.md` on capm3.
#[must_use]
pub fn flags() -> String {
    let mut page = String::from(
        "## metal3-capm3\n\n\
         The Cluster API provider. A duration is written as Go writes it (`90s`, `1h30m`).\n\n",
    );
    page.push_str(&table(&Args::command()));
    page.push_str("\n### Not served by capm3\n\n| path | why |\n|---|---|\n");
    for (path, why) in NOT_SERVED {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {} | {why} |", code(path));
    }
    page
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn every_flag_that_has_no_effect_says_why() {
        let unused = crate::args::UnusedArgs::augment_args(clap::Command::new("x"));
        let page = flags();
        for argument in unused.get_arguments() {
            let name = code(&format!("--{}", argument.get_long().unwrap()));
            let row = page
                .lines()
                .find(|row| row.starts_with(&format!("| {name}")))
                .unwrap();
            assert!(row.contains("| Accepted for compatibility"), "{row}");
        }
    }
}
