//! How long many things took.

use std::time::Duration;

/// Durations in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut durations: Vec<_> = durations.into_iter().collect();
        durations.sort_unstable();
        Self(durations)
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Milliseconds within which so many of a hundred were done.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0
            .get(rank - 1)
            .map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations_and_so_many_are_not_longer() {
        let spread = Spread::of((1..=200).rev().map(Duration::from_millis));
        let found = [0, 50, 99, 100].map(|percent| spread.percentile(percent));
        assert_eq!(found, [1.0, 100.0, 198.0, 200.0]);
        assert!(Spread::default().percentile(99) < f64::EPSILON);
    }
}
