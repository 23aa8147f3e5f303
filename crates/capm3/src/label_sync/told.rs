//! What was said before: the same thing is told once, until it is over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::objects::Key;

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// The annotation of a Metal3Cluster.
    Prefixes,
    /// A workload cluster that does not answer, by its Metal3Cluster.
    Outage,
    /// A first attempt on a Node that failed, by its Metal3Machine: that is not told yet.
    Attempt,
    /// A Node that does not get its labels, by its Metal3Machine.
    Node,
}

#[derive(Debug, Default)]
pub(super) struct Told {
    texts: Mutex<HashMap<(About, Key), String>>,
}

impl Told {
    /// Whether this was not said yet; it counts as said now.
    pub(super) fn is_news(&self, about: About, key: &Key, text: &str) -> bool {
        self.with(|texts| {
            let before = texts.insert((about, key.clone()), text.to_owned());
            before.is_none_or(|before| before != text)
        })
    }

    /// It is well again. Tells whether it was said that it was not.
    pub(super) fn is_over(&self, about: About, key: &Key) -> bool {
        self.with(|texts| texts.remove(&(about, key.clone())).is_some())
    }

    // Whole after every step, so a panic of another thread does not spoil it.
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<(About, Key), String>) -> T) -> T {
        act(&mut self.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_until_it_is_over() {
        let (told, key) = (Told::default(), Key::new("ns", "c"));
        assert!(!told.is_over(About::Outage, &key));
        assert!(told.is_news(About::Outage, &key, ""));
        assert!(!told.is_news(About::Outage, &key, ""));
        assert!(told.is_news(About::Node, &key, "a") && told.is_news(About::Node, &key, "b"));
        assert!(!told.is_news(About::Node, &key, "b"));
        assert!(told.is_over(About::Outage, &key) && !told.is_over(About::Outage, &key));
        assert!(told.is_news(About::Outage, &key, ""));
    }
}
