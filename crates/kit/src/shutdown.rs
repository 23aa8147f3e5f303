//! Signals, and tasks that live and die together.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to end after they were asked to.
const GRACE: Duration = Duration::from_secs(25);

/// A token that is cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signal() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        cancelled.cancel();
    });
    Ok(token)
}

/// Named tasks of one process: the first that ends or panics stops all others, so that a half-dead process cannot
/// look alive.
pub struct TaskSet {
    tasks: JoinSet<(&'static str, Result<()>)>,
    shutdown: CancellationToken,
}

impl TaskSet {
    /// An empty set that stops with the token.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            shutdown,
        }
    }

    /// Starts a task; it should end when the token is cancelled.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Waits for the end of all tasks.
    ///
    /// # Errors
    /// The first failure, or that a task ended although nobody asked it to.
    pub async fn join(mut self) -> Result<()> {
        let first = tokio::select! {
            () = self.shutdown.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => early(ended, &self.shutdown),
        };
        self.shutdown.cancel();
        let drain = async {
            let mut result = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                let failed = failure(ended);
                result = result.and(failed);
            }
            result
        };
        let rest = tokio::time::timeout(GRACE, drain)
            .await
            .unwrap_or_else(|_| Err(anyhow!("some tasks did not stop within {} s", GRACE.as_secs())));
        first.and(rest)
    }
}

type Ended = Result<(&'static str, Result<()>), JoinError>;

fn failure(ended: Ended) -> Result<()> {
    let (name, result) = ended.map_err(|panic| anyhow!("a task panicked: {panic}"))?;
    result.map_err(|error| error.context(format!("{name} failed")))
}

fn early(ended: Ended, shutdown: &CancellationToken) -> Result<()> {
    let name = ended.as_ref().map_or("a task", |(name, _)| name);
    let stopped = anyhow!("{name} ended early");
    failure(ended)?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_task_that_ends_stops_the_others() {
        let token = CancellationToken::new();
        let mut tasks = TaskSet::new(token.clone());
        let waits = token.clone();
        tasks.spawn("waits", async move {
            waits.cancelled().await;
            Ok(())
        });
        tasks.spawn("ends", async { Ok(()) });
        assert_eq!(tasks.join().await.unwrap_err().to_string(), "ends ended early");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let mut tasks = TaskSet::new(CancellationToken::new());
        tasks.spawn("panics", async { panic!("boom") });
        assert!(tasks.join().await.unwrap_err().to_string().contains("panicked"));
    }

    #[tokio::test]
    async fn a_cancelled_set_ends_well() {
        let token = CancellationToken::new();
        let mut tasks = TaskSet::new(token.clone());
        let waits = token.clone();
        tasks.spawn("waits", async move {
            waits.cancelled().await;
            Ok(())
        });
        token.cancel();
        tasks.join().await.unwrap();
    }
}
