//! The text that `/metrics` answers: a parser that takes nothing for granted, and the rules of `promtool check metrics`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

/// Samples of one name with what is said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// What was scraped.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Exposition {
    pub(crate) families: Vec<Family>,
}

impl Exposition {
    /// Reads the text.
    ///
    /// # Errors
    /// The first line that does not belong there.
    pub(crate) fn parse(text: &str, openmetrics: bool) -> Result<Self> {
        ensure!(text.ends_with('\n'), "the text does not end with a line feed");
        ensure!(
            !openmetrics || text.ends_with("\n# EOF\n"),
            "OpenMetrics must end with # EOF: the text was cut off"
        );
        let mut families: Vec<Family> = Vec::new();
        let lines = text.lines().filter(|line| *line != "# EOF" && !line.is_empty());
        for (number, line) in lines.enumerate() {
            one(&mut families, line, openmetrics).with_context(|| format!("line {}: {line}", number + 1))?;
        }
        let parsed = Self { families };
        parsed.series_are_unique()?;
        Ok(parsed)
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.iter().flat_map(|family| &family.samples)
    }

    fn series_are_unique(&self) -> Result<()> {
        let mut seen = BTreeSet::new();
        for sample in self.samples() {
            ensure!(
                seen.insert((&sample.name, &sample.labels)),
                "series {} {:?} is there twice",
                sample.name,
                sample.labels
            );
        }
        Ok(())
    }

    /// The family with the most values of one label.
    pub(crate) fn widest(&self) -> (usize, String) {
        let mut widest = (0, String::new());
        for family in &self.families {
            let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (name, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
                values.entry(name).or_default().insert(value);
            }
            for (label, values) in values {
                if values.len() > widest.0 {
                    widest = (values.len(), format!("{}{{{label}}}", family.name));
                }
            }
        }
        widest
    }
}

fn one(families: &mut Vec<Family>, line: &str, openmetrics: bool) -> Result<()> {
    if let Some(comment) = line.strip_prefix("# ") {
        let (word, rest) = comment.split_once(' ').context("a comment that says nothing")?;
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        if !matches!(word, "HELP" | "TYPE" | "UNIT") {
            ensure!(!openmetrics, "OpenMetrics knows no free comments");
            return Ok(());
        }
        if families.last().is_none_or(|family| family.name != name) {
            ensure!(
                families.iter().all(|family| family.name != name),
                "the samples of {name} are not together"
            );
            families.push(Family {
                name: name.to_owned(),
                ..Family::default()
            });
        }
        let Some(family) = families.last_mut() else {
            return Ok(());
        };
        ensure!(family.samples.is_empty(), "{word} comes after samples");
        match word {
            "HELP" if family.help.is_empty() => text.clone_into(&mut family.help),
            "TYPE" if family.kind.is_empty() => text.clone_into(&mut family.kind),
            "UNIT" => ensure!(
                name.ends_with(&format!("_{text}")),
                "the name does not end with its unit {text}"
            ),
            _ => bail!("{word} is there twice"),
        }
        return Ok(());
    }
    ensure!(!line.starts_with('#'), "neither a comment nor a sample");
    let sample = sample(line)?;
    let family = families
        .last_mut()
        .filter(|family| belongs(family, &sample.name, openmetrics));
    let family = family.with_context(|| format!("no HELP and TYPE announce {}", sample.name))?;
    family.samples.push(sample);
    Ok(())
}

/// Whether a sample of this name may be in the family.
fn belongs(family: &Family, sample: &str, openmetrics: bool) -> bool {
    let Some(suffix) = sample.strip_prefix(&family.name) else {
        return false;
    };
    match family.kind.as_str() {
        "counter" if openmetrics => matches!(suffix, "_total" | "_created"),
        "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count" | "_created"),
        "summary" => matches!(suffix, "" | "_sum" | "_count" | "_created"),
        "info" => suffix == "_info",
        _ => suffix.is_empty(),
    }
}

fn sample(line: &str) -> Result<Sample> {
    let end = line.find(['{', ' ']).context("a name without a value")?;
    let (name, rest) = line.split_at(end);
    ensure!(legal(name, true), "{name:?} is no name of a metric");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (BTreeMap::new(), rest),
    };
    let rest = rest.strip_prefix(' ').context("no space before the value")?;
    let mut words = rest.split(' ');
    let word = words.next().unwrap_or_default();
    let value = match word {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number
            .parse()
            .with_context(|| format!("{number:?} is no number"))?,
    };
    if let Some(time) = words.next() {
        time.parse::<f64>()
            .with_context(|| format!("{time:?} is no time"))?;
    }
    ensure!(words.next().is_none(), "more than a value and a time");
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Labels up to the closing brace, and what follows it.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").context("a label without a value")?;
        ensure!(legal(name, false), "{name:?} is no name of a label");
        let (value, after) = quoted(after)?;
        ensure!(
            labels.insert(name.to_owned(), value).is_none(),
            "label {name} is there twice"
        );
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None => {
                ensure!(after.starts_with('}'), "labels are not separated by a comma");
                after
            }
        };
    }
}

/// A value up to its closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, letter)) = chars.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                other => bail!("\\{other:?} is no escape"),
            },
            letter => value.push(letter),
        }
    }
    bail!("a value without its closing quote")
}

fn legal(name: &str, metric: bool) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (metric && byte == b':');
    name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
        && (metric || !name.starts_with("__"))
}
