//! Kills bmo and capm3 at random moments. The bed's supervisor starts them again, as kubelet would.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::bed::Bed;
use crate::progress::Progress;
use crate::stack::{BMO, CAPM3, pid};

/// Kills until cancelled; how often it did. The seed makes the choice of victims and pauses repeatable.
///
/// # Errors
/// When `kill` cannot be run.
pub async fn run(bed: Bed, seed: u64, progress: Arc<Progress>, stop: CancellationToken) -> Result<u32> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    loop {
        let pause = Duration::from_millis(random.random_range(800..5000));
        let deployment = if random.random_bool(0.5) { BMO } else { CAPM3 };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(kills),
        }
        // Between two lives of a service there is nothing to kill.
        if let Ok(pid) = pid(&bed, deployment) {
            let killed = Command::new("kill")
                .args(["-9", &pid.to_string()])
                .output()
                .await?;
            if killed.status.success() {
                kills += 1;
                progress.line(&format!("killed {deployment} (kill {kills}, seed {seed})"));
            }
        }
    }
}
