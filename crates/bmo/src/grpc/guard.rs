//! A stream ends when its caller may not have it any more.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tonic::Status;

struct Guarded<S, L, P> {
    stream: S,
    again: Interval,
    look: L,
    /// Given back with the stream.
    _place: P,
    ended: bool,
}

/// The stream, until `look`, which is asked after each period, has something against it.
pub(super) fn guard<T, S, L, F, P>(
    stream: S,
    place: P,
    period: Duration,
    look: L,
) -> impl Stream<Item = Result<T, Status>> + Send
where
    T: Send,
    S: Stream<Item = Result<T, Status>> + Send + Unpin,
    L: Fn() -> F + Send,
    F: Future<Output = Result<(), Status>> + Send,
    P: Send,
{
    let mut again = interval_at(tokio::time::Instant::now() + period, period);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let guarded = Guarded {
        stream,
        again,
        look,
        _place: place,
        ended: false,
    };
    stream::unfold(guarded, |mut guarded| async move {
        if guarded.ended {
            return None;
        }
        loop {
            tokio::select! {
                // A stream that always has something to tell must not keep its caller from being looked at.
                biased;
                _ = guarded.again.tick() => {
                    if let Err(status) = (guarded.look)().await {
                        guarded.ended = true;
                        return Some((Err(status), guarded));
                    }
                }
                item = guarded.stream.next() => return item.map(|item| (item, guarded)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_the_reason_when_its_caller_may_not_any_more() {
        let looks = Arc::new(AtomicUsize::new(0));
        let place = Arc::new(());
        let held = Arc::downgrade(&place);
        let counted = Arc::clone(&looks);
        let silent = stream::pending::<Result<(), Status>>();
        let mut guarded = Box::pin(guard(silent, place, PERIOD, move || {
            let look = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                if look < 2 {
                    Ok(())
                } else {
                    Err(Status::permission_denied("gone"))
                }
            }
        }));
        let begun = tokio::time::Instant::now();
        let status = guarded.next().await.unwrap().unwrap_err();
        assert_eq!(status.message(), "gone");
        assert_eq!(begun.elapsed(), PERIOD * 3);
        assert!(held.upgrade().is_some());
        assert!(guarded.next().await.is_none());
        assert!(held.upgrade().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_always_busy_is_looked_at_too() {
        let busy = stream::repeat_with(|| Ok(())).then(async |item| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            item
        });
        let guarded = guard(Box::pin(busy), (), PERIOD, async || {
            Err(Status::unauthenticated("expired"))
        });
        let items: Vec<_> = guarded.collect().await;
        assert!((20..=30).contains(&items.len()), "{}", items.len());
        assert!(items.last().unwrap().is_err());
    }
}
