//! A close look at what runs after `quickstart up`. Each check finds out by itself and says what it saw; none changes what
//! the others see.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::bed::Bed;
use crate::progress::Progress;
use crate::tour::Plan;

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {}

/// What a check may use.
pub struct Context {
    /// The bed.
    pub bed: Bed,
    /// What `up` was told.
    pub plan: Plan,
    /// Where findings go.
    pub progress: Arc<Progress>,
}

/// Runs the checks, all when none is named.
///
/// # Errors
/// The first finding that is wrong.
pub async fn run(bed: &Bed, what: &[Check]) -> Result<()> {
    let context = Context {
        bed: bed.clone(),
        plan: Plan::of(bed)?,
        progress: Arc::new(Progress::default()),
    };
    let all = if what.is_empty() {
        Check::value_variants()
    } else {
        what
    };
    for check in all {
        context.progress.step(&format!("{check:?}"));
        one(&context, *check)
            .await
            .with_context(|| format!("check {check:?}"))?;
    }
    Ok(())
}

async fn one(_context: &Context, check: Check) -> Result<()> {
    match check {}
}
