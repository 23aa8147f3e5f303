//! How long things take.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::machine::Operation;

/// The latency of each operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Latencies([Duration; Operation::ALL.len()]);

impl Latencies {
    /// Everything happens at once.
    pub const ZERO: Self = Self([Duration::ZERO; Operation::ALL.len()]);

    /// Machines in a hurry, but visible to somebody who watches.
    pub fn demo() -> Self {
        let mut latencies = Self::ZERO;
        for (operation, millis) in [
            (Operation::Verify, 300),
            (Operation::Power, 300),
            (Operation::Inspect, 2000),
            (Operation::Clean, 2000),
            (Operation::Deploy, 5000),
            (Operation::Undeploy, 500),
            (Operation::Adopt, 300),
            (Operation::Service, 2000),
        ] {
            latencies.set(operation, Duration::from_millis(millis));
        }
        latencies
    }

    /// The latency of one operation.
    pub fn of(&self, operation: Operation) -> Duration {
        self.0[operation as usize]
    }

    /// Changes the latency of one operation.
    pub fn set(&mut self, operation: Operation, latency: Duration) {
        self.0[operation as usize] = latency;
    }

    /// Takes over what a text such as `power=200ms,inspect=2s` says; the rest stays.
    ///
    /// # Errors
    /// Names the part that cannot be read.
    pub fn apply(&mut self, text: &str) -> Result<()> {
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .with_context(|| format!("latency {part:?} is not of the form operation=duration"))?;
            let operation = Operation::parse(name).with_context(|| {
                let known = Operation::ALL.map(Operation::as_str).join(", ");
                format!("unknown operation {name:?} in a latency; known are: {known}")
            })?;
            self.set(operation, parse_duration(value)?);
        }
        Ok(())
    }

    /// All latencies times a factor.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.map(|latency| latency.mul_f64(factor.max(0.0))))
    }
}

impl FromStr for Latencies {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut latencies = Self::ZERO;
        latencies.apply(text)?;
        Ok(latencies)
    }
}

impl TryFrom<BTreeMap<String, String>> for Latencies {
    type Error = anyhow::Error;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self> {
        let parts: Vec<String> = map
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parts.join(",").parse()
    }
}

impl From<Latencies> for BTreeMap<String, String> {
    fn from(latencies: Latencies) -> Self {
        Operation::ALL
            .into_iter()
            .map(|operation| {
                let millis = latencies.of(operation).as_millis();
                (operation.as_str().to_owned(), format!("{millis}ms"))
            })
            .collect()
    }
}

/// `0`, `250ms`, `2s`, `1.5s` or `3m`.
///
/// # Errors
/// When it is none of these.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, if text == "0" { "s" } else { "" }),
    };
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => bail!("{text:?} is not a duration; write 0, 250ms, 2s or 3m"),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds_per_unit).ok())
        .with_context(|| format!("{text:?} is not a duration; write 0, 250ms, 2s or 3m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_read_one_by_one() {
        let latencies: Latencies = "power=200ms, inspect=2s,clean=1.5s,deploy=1m,verify=0"
            .parse()
            .unwrap();
        assert_eq!(latencies.of(Operation::Power), Duration::from_millis(200));
        assert_eq!(latencies.of(Operation::Clean), Duration::from_millis(1500));
        assert_eq!(latencies.of(Operation::Deploy), Duration::from_secs(60));
        assert_eq!(latencies.of(Operation::Adopt), Duration::ZERO);
        assert_eq!(latencies.scaled(0.0), Latencies::ZERO);
    }

    #[test]
    fn a_wrong_latency_is_named() {
        for (text, word) in [
            ("power", "operation=duration"),
            ("fly=1s", "fly"),
            ("power=fast", "fast"),
            ("power=5", "5"),
            ("power=-1s", "-1s"),
        ] {
            let error = text.parse::<Latencies>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn latencies_survive_json() {
        let text = serde_json::to_string(&Latencies::demo()).unwrap();
        assert_eq!(
            serde_json::from_str::<Latencies>(&text).unwrap(),
            Latencies::demo()
        );
    }
}
