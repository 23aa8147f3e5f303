//! Flags as Go's package `flag` has them, so that manifests of upstream can be used as they are.

use std::ffi::OsString;

use clap::Command;

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

#[cfg(test)]
mod tests {
    use clap::Arg;

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
    fn a_boolean_is_what_go_takes_for_one() {
        for (text, value) in [("T", true), ("1", true), ("False", false), ("0", false)] {
            assert_eq!(boolean(text), Ok(value));
        }
        assert!(boolean("yes").is_err());
    }
}
