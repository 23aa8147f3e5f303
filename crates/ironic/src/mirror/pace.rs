//! How often the node list is read.

use std::time::Duration;

/// Between two readings while something is going on, at least.
pub(super) const BUSY: Duration = Duration::from_millis(250);
/// The same when nothing new was seen for long, for example while a ramdisk boots.
const SLOW: Duration = Duration::from_secs(2);
/// Between two readings when all is quiet: what others do to a node should be known soon, but must not cost much.
const QUIET: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(10));
/// A write keeps the mirror busy for this long: Ironic reacts to it.
const AFTERMATH: Duration = Duration::from_secs(5);
/// After a reading that failed.
pub(super) const AFTER_FAILURE: Duration = Duration::from_millis(2500);

/// The longest pause that is made to spare while something is going on: nobody waits for a host longer for it.
const SPARING: Duration = Duration::from_secs(3);

/// The pause after a reading that took `reading`. While something is going on, reading takes a tenth of the time, or with
/// very many nodes more, up to a third; when all is quiet, a tenth.
pub(super) fn pause(
    transition: bool,
    since_write: Option<Duration>,
    since_news: Option<Duration>,
    reading: Duration,
) -> Duration {
    let busy = transition || since_write.is_some_and(|since| since < AFTERMATH);
    if busy {
        let calm = since_news.unwrap_or(Duration::MAX) / 10;
        calm.clamp(BUSY, SLOW)
            .max((reading * 10).min(SPARING))
            .max(reading * 2)
    } else {
        (reading * 10).clamp(QUIET.0, QUIET.1).max(reading * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_more_goes_on_the_more_often_and_never_so_that_ironic_does_nothing_else() {
        for (transition, since_write, since_news, reading, expected) in [
            (true, None, Some(0), 10, 250),
            (false, Some(0), Some(0), 10, 250),
            (true, None, Some(10_000), 10, 1_000),
            (true, None, Some(600_000), 10, 2_000),
            (true, None, None, 10, 2_000),
            (true, None, Some(0), 100, 1_000),
            (true, None, Some(0), 600, 3_000),
            (true, None, Some(0), 2_000, 4_000),
            (false, Some(6_000), Some(6_000), 10, 2_000),
            (false, None, None, 600, 6_000),
            (false, None, None, 2_000, 10_000),
            (false, None, None, 6_000, 12_000),
        ] {
            let pause = pause(
                transition,
                since_write.map(millis),
                since_news.map(millis),
                millis(reading),
            );
            assert_eq!(
                pause,
                millis(expected),
                "{transition} {since_write:?} {since_news:?} {reading}"
            );
        }
    }
}
