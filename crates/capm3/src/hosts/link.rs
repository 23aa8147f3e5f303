//! Whether the host service answers, and since when it does not.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{Timestamp, Unit};
use metal3_kit::probes::Condition;
use prometheus_client::metrics::gauge::Gauge;

/// The state of the link; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    state: Arc<Mutex<State>>,
    shown: Condition,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct State {
    stream: Stream,
    /// When the stream broke; none while it is there.
    broken: Option<Timestamp>,
    /// When calls began to fail; none when the last one worked.
    failing: Option<Timestamp>,
    /// How often the stream came back.
    ups: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stream {
    /// Not known yet, or it broke a moment ago: calls are tried.
    #[default]
    Open,
    Up,
    /// It cannot be opened; why.
    Down(String),
}

impl Link {
    pub(crate) fn new(shown: Condition, gauge: Gauge) -> Self {
        Self {
            state: Arc::default(),
            shown,
            gauge,
        }
    }

    /// The stream delivered a complete picture. Tells whether that is news.
    pub(super) fn up(&self) -> bool {
        self.shown.set(true);
        self.gauge.set(1);
        self.with(|state| {
            let news = state.stream != Stream::Up;
            (state.stream, state.broken, state.failing) = (Stream::Up, None, None);
            state.ups += u64::from(news);
            news
        })
    }

    /// The stream ended. Tells whether it was there until now.
    pub(super) fn broken(&self) -> bool {
        self.lost(Stream::Open)
    }

    /// The stream cannot be opened. Tells whether it was there until now.
    pub(super) fn unreachable(&self, message: &str) -> bool {
        self.lost(Stream::Down(message.to_owned()))
    }

    fn lost(&self, stream: Stream) -> bool {
        self.shown.set(false);
        self.gauge.set(0);
        self.with(|state| {
            let before = std::mem::replace(&mut state.stream, stream);
            state.broken.get_or_insert_with(now);
            before == Stream::Up
        })
    }

    /// The stream is there: whatever happens to hosts is told.
    pub(crate) fn is_up(&self) -> bool {
        self.with(|state| state.stream == Stream::Up)
    }

    /// How often the stream came back so far: whoever was told that nobody answers asks again when this has changed.
    pub(crate) fn ups(&self) -> u64 {
        self.with(|state| state.ups)
    }

    /// Why nothing should be asked, if so.
    pub(super) fn down(&self) -> Option<String> {
        self.with(|state| match &state.stream {
            Stream::Open | Stream::Up => None,
            Stream::Down(message) => Some(told(message, state.broken)),
        })
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.with(|state| state.failing = None);
    }

    /// A call was not answered: what to tell.
    pub(super) fn unanswered(&self, message: &str) -> String {
        self.with(|state| {
            let failing = *state.failing.get_or_insert_with(now);
            told(
                message,
                Some(state.broken.map_or(failing, |broken| broken.min(failing))),
            )
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The same words for as long as it lasts, so that conditions are written once.
fn told(message: &str, since: Option<Timestamp>) -> String {
    match since {
        None => format!("the host service does not answer: {message}"),
        Some(since) => format!("the host service does not answer since {since}: {message}"),
    }
}

fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use metal3_kit::probes::Readiness;

    use super::*;

    fn link() -> (Link, Gauge) {
        let gauge = Gauge::default();
        let link = Link::new(Readiness::default().note("host-service"), gauge.clone());
        (link, gauge)
    }

    #[test]
    fn nothing_is_asked_only_while_the_stream_cannot_be_opened() {
        let (link, gauge) = link();
        assert_eq!(link.down(), None, "not known yet");
        link.unreachable("refused");
        let told = link.down().unwrap();
        assert!(told.contains(" since ") && told.ends_with(": refused"), "{told}");
        assert!(link.up() && !link.up());
        assert_eq!((link.down(), gauge.get(), link.ups()), (None, 1, 1));
        assert!(link.is_up() && link.broken());
        assert!(!link.is_up() && !link.broken() && !link.unreachable("refused"));
        assert!(link.up());
        assert!(link.broken());
        assert_eq!((link.down(), gauge.get()), (None, 0));
        assert!(link.up());
        assert_eq!(link.ups(), 3);
    }

    #[test]
    fn an_outage_has_one_beginning() {
        let (link, _) = link();
        let beginning = |link: &Link| link.with(|state| (state.broken, state.failing));
        link.broken();
        let (broken, _) = beginning(&link);
        link.with(|state| state.broken = Some(Timestamp::UNIX_EPOCH));
        link.unreachable("refused");
        link.unanswered("no answer");
        let told = link.unanswered("no answer");
        assert!(
            broken.is_some() && told.contains("since 1970-01-01T00:00:00Z"),
            "{told}"
        );
        link.answered();
        assert_eq!(beginning(&link), (Some(Timestamp::UNIX_EPOCH), None));
        link.up();
        assert_eq!(beginning(&link), (None, None));
    }
}
