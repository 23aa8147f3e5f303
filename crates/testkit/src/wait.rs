//! Waiting on conditions: the only polling in tests.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// Long enough for anything that works, on a machine that is busy with other things. Nothing is asserted about it.
pub const LONG: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(50);
/// One look must not take up the whole wait.
const LOOK: Duration = Duration::from_secs(30);

/// What one look tells: the value awaited, or what was seen instead.
pub trait Look {
    /// The value awaited.
    type Value;

    /// The value, or what was seen instead.
    ///
    /// # Errors
    /// What was seen, in words.
    fn settle(self) -> Result<Self::Value, String>;
}

impl<T> Look for Option<T> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: fmt::Display> Look for Result<T, E> {
    type Value = T;

    fn settle(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:#}"))
    }
}

/// What was awaited did not come.
#[derive(Debug)]
pub struct Missed {
    what: String,
    within: Duration,
    seen: String,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "waited {:?} for {}; seen last: {}",
            self.within, self.what, self.seen
        )
    }
}

impl std::error::Error for Missed {}

/// Looks again and again until there is a value.
///
/// A look answers an `Option`, or better a `Result` whose error says what was seen instead.
///
/// # Panics
/// After `within`, naming what was awaited and what was seen last.
pub async fn until<L: Look>(what: &str, within: Duration, look: impl AsyncFnMut() -> L) -> L::Value {
    match try_until(what, within, look).await {
        Ok(value) => value,
        #[expect(clippy::panic, reason = "this is how a test fails")]
        Err(missed) => panic!("{missed}"),
    }
}

/// As [`until`].
///
/// # Errors
/// After `within`, naming what was awaited and what was seen last.
pub async fn try_until<L: Look>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> L,
) -> Result<L::Value, Missed> {
    let end = Instant::now() + within;
    loop {
        let seen = match tokio::time::timeout(LOOK, look()).await {
            Ok(look) => match look.settle() {
                Ok(value) => return Ok(value),
                Err(seen) => seen,
            },
            Err(_) => format!("a look that took more than {LOOK:?}"),
        };
        if Instant::now() >= end {
            return Err(Missed {
                what: what.to_owned(),
                within,
                seen,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_value_that_comes_later_is_answered() {
        let mut looks = 0;
        let value = until("the third look", LONG, async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missed_condition_names_what_was_seen() {
        let missed = try_until("a unicorn", LONG, async || Err::<(), _>("a horse"))
            .await
            .unwrap_err();
        assert_eq!(
            missed.to_string(),
            "waited 120s for a unicorn; seen last: a horse"
        );
    }
}
