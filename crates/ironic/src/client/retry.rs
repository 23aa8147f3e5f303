//! Which requests are sent once more, and when.

use std::time::Duration;

use reqwest::StatusCode;

/// Attempts of a request that changes nothing.
const ATTEMPTS: u32 = 3;
/// Before the second attempt; doubles with each.
const FIRST: Duration = Duration::from_millis(100);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// The connection could not be made, or was lost.
    Connection,
    /// Ironic, or a proxy before it, does not answer now; it may say when it will.
    Status(StatusCode, Option<Duration>),
}

/// The pause before the next attempt. `jitter` is between 0 and 1: many hosts must not come back at the same time.
pub(super) fn pause(setback: Setback, failed: u32, jitter: f64) -> Option<Duration> {
    if failed >= ATTEMPTS {
        return None;
    }
    let told = match setback {
        Setback::Connection => None,
        Setback::Status(
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT,
            told,
        ) => told,
        Setback::Status(..) => return None,
    };
    let doubled = FIRST * 2u32.saturating_pow(failed.saturating_sub(1));
    Some(told.unwrap_or_default() + doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_that_passes_is_tried_again_and_not_for_ever() {
        let unavailable = Setback::Status(StatusCode::SERVICE_UNAVAILABLE, None);
        for setback in [Setback::Connection, unavailable] {
            let pauses: Vec<_> = (1..4).map(|failed| pause(setback, failed, 1.0)).collect();
            let millis = |pause: &Option<Duration>| pause.map(|pause| pause.as_millis());
            assert_eq!(
                pauses.iter().map(millis).collect::<Vec<_>>(),
                [Some(100), Some(200), None]
            );
        }
        for status in [
            StatusCode::OK,
            StatusCode::CONFLICT,
            StatusCode::INTERNAL_SERVER_ERROR,
        ] {
            assert_eq!(pause(Setback::Status(status, None), 1, 0.0), None, "{status}");
        }
    }

    #[test]
    fn ironic_may_say_when_and_nobody_comes_earlier() {
        let told = Some(Duration::from_secs(2));
        let throttled = Setback::Status(StatusCode::TOO_MANY_REQUESTS, told);
        assert_eq!(pause(throttled, 1, 0.0), Some(Duration::from_millis(2_050)));
    }
}
