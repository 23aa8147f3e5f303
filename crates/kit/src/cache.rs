//! Answers of others that are kept for a while. Those who ask for the same at once share one question.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Enough for every caller of a large cluster; beyond it what has expired is dropped, then everything.
const MAX_ENTRIES: usize = 10_000;

#[derive(Debug)]
struct Expiring<V> {
    value: V,
    until: Instant,
}

/// Locked while it is asked for.
type Slot<V> = Arc<tokio::sync::Mutex<Option<Expiring<V>>>>;

/// A bounded map whose entries expire.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
        }
    }
}

fn live<V: Clone>(entry: Option<&Expiring<V>>, now: Instant) -> Option<V> {
    let entry = entry.filter(|entry| entry.until > now)?;
    Some(entry.value.clone())
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// What is known already.
    pub(crate) fn known<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(key)?.try_lock().ok()?;
        live(slot.as_ref(), Instant::now())
    }

    /// What is known, or what `ask` answers, with the time to keep it. A failure is not kept.
    pub(crate) async fn get<E>(
        &self,
        key: K,
        ask: impl AsyncFnOnce() -> Result<(V, Duration), E>,
    ) -> Result<V, E> {
        let slot = self.slot(key);
        let mut slot = slot.lock().await;
        if let Some(value) = live(slot.as_ref(), Instant::now()) {
            return Ok(value);
        }
        let (value, time) = ask().await?;
        *slot = Some(Expiring {
            value: value.clone(),
            until: Instant::now() + time,
        });
        Ok(value)
    }

    fn slot(&self, key: K) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Arc::clone(slot);
        }
        if slots.len() >= MAX_ENTRIES {
            let now = Instant::now();
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(entry) => entry.as_ref().is_some_and(|entry| entry.until > now),
                Err(_) => true,
            });
            if slots.len() >= MAX_ENTRIES {
                slots.clear();
            }
        }
        let slot = Slot::default();
        slots.insert(key, Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn answers_expire() {
        let cache = Cache::<&str, u8>::default();
        for (time, second) in [(LONG, 1), (Duration::ZERO, 2)] {
            let key = if time == LONG { "kept" } else { "expired" };
            cache.get(key, async || Ok::<_, Infallible>((1, time))).await.ok();
            let answer = cache.get(key, async || Ok::<_, Infallible>((2, LONG))).await;
            assert_eq!(answer, Ok(second), "{key}");
        }
        assert_eq!(cache.known("kept"), Some(1));
        assert_eq!(cache.known("never asked"), None);
    }

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_question() {
        let (cache, asked) = (Cache::<&str, usize>::default(), AtomicUsize::new(0));
        let answers = join_all((0..100).map(|_| {
            cache.get("a", async || {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>((asked.fetch_add(1, Ordering::Relaxed), LONG))
            })
        }));
        assert!(answers.await.into_iter().all(|answer| answer == Ok(0)));
        assert_eq!(asked.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = Cache::<&str, u8>::default();
        assert_eq!(cache.get("a", async || Err("down")).await, Err("down"));
        assert_eq!(cache.get("a", async || Ok::<_, &str>((1, LONG))).await, Ok(1));
    }

    #[tokio::test]
    async fn any_number_of_keys_takes_bounded_room() {
        let cache = Cache::<usize, ()>::default();
        for key in 0..2 * MAX_ENTRIES + 5 {
            cache
                .get(key, async || Ok::<_, Infallible>(((), LONG)))
                .await
                .ok();
        }
        let count = cache.slots.lock().unwrap().len();
        assert!(count <= MAX_ENTRIES, "{count}");
    }
}
