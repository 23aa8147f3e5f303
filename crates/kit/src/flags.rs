//! Flags as Go's package `flag` has them, so that manifests of upstream can be used as they are, and the table of them that
//! the documentation has.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Arg, Command};

/// The arguments with `--flag` where Go also takes `-flag`: only for flags that there are, so that a typing error stays
/// what it is.
pub fn with_two_dashes(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut rest = false;
    args.into_iter()
        .map(|arg| {
            rest |= arg == "--";
            let Some(text) = arg.to_str().filter(|_| !rest) else {
                return arg;
            };
            let name = text.strip_prefix('-').and_then(|flag| flag.split('=').next());
            match name {
                Some(name) if name.len() > 1 && known(command, name) => format!("-{text}").into(),
                _ => arg,
            }
        })
        .collect()
}

fn known(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|argument| {
        argument.get_long() == Some(name)
            || argument
                .get_all_aliases()
                .is_some_and(|aliases| aliases.contains(&name))
    })
}

/// A word for yes or no, as Go takes them.
///
/// # Errors
/// When it is another word.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

/// The flags of a program as a table in Markdown: names, variable, default, meaning.
pub fn table(command: &Command) -> String {
    let mut page = String::from("| flag | variable | default | meaning |\n|---|---|---|---|\n");
    for argument in command.get_arguments() {
        row(&mut page, argument);
    }
    page
}

fn row(page: &mut String, argument: &Arg) {
    let Some(long) = argument.get_long() else { return };
    if ["help", "version"].contains(&long) {
        return;
    }
    let mut names: Vec<String> = argument
        .get_short()
        .iter()
        .map(|name| format!("`-{name}`"))
        .collect();
    names.push(format!("`--{long}`"));
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    names.extend(aliases.iter().map(|name| format!("`--{name}`")));
    let variable = argument.get_env().map(|name| name.to_string_lossy());
    let defaults = argument.get_default_values();
    let default: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let words: Vec<_> = help.split_whitespace().collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "| {} | {} | {} | {} |",
        names.join(", "),
        code(&variable.unwrap_or_default()),
        code(&default.join(",")),
        words.join(" ").replace('<', "&lt;")
    );
}

/// A word as code in Markdown; nothing stays nothing.
pub fn code(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{text}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_enough_for_flags_that_there_are() {
        let command = Command::new("x").arg(Arg::new("dev").long("dev").alias("develop"));
        let normal = |args: &[&str]| -> Vec<String> {
            let args = args.iter().map(OsString::from);
            with_two_dashes(&command, args)
                .into_iter()
                .map(|arg| arg.into_string().unwrap())
                .collect()
        };
        assert_eq!(normal(&["-dev", "-dev=true"]), ["--dev", "--dev=true"]);
        assert_eq!(normal(&["--dev", "-develop"]), ["--dev", "--develop"]);
        for other in [&["-d", "-deb", "-h", "-1", "-", "dev"][..], &["--", "-dev"]] {
            assert_eq!(normal(other), other);
        }
    }

    #[test]
    fn a_flag_has_its_names_variable_default_and_meaning_in_one_row() {
        let level = Arg::new("v")
            .short('v')
            .long("v")
            .visible_alias("level")
            .default_value("0");
        let level = level.help("How much,\n   as <number>.");
        let command = Command::new("x")
            .arg(level)
            .arg(Arg::new("version").long("version"));
        assert_eq!(
            table(&command).lines().skip(2).collect::<Vec<_>>(),
            ["| `-v`, `--v`, `--level` |  | `0` | How much, as &lt;number>. |"]
        );
    }

    #[test]
    fn a_boolean_is_what_go_takes_for_one() {
        for (text, value) in [("T", true), ("1", true), ("False", false), ("0", false)] {
            assert_eq!(boolean(text), Ok(value));
        }
        assert!(boolean("yes").is_err());
    }
}
