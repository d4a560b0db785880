//! What is shown while something goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Who shows it; the text replaces the one before.
pub type Show<'a> = &'a (dyn Fn(&str) + Sync);

/// Waits until `count` reaches `goal`, and shows how far it is.
///
/// # Errors
/// When `limit` has passed, or the count cannot be taken.
pub async fn until(
    show: Show<'_>,
    what: &str,
    goal: usize,
    limit: Duration,
    mut count: impl AsyncFnMut() -> Result<usize>,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        let now = count().await?;
        show(&format!("{what}: {now} of {goal}, {} s", begin.elapsed().as_secs()));
        if now >= goal {
            return Ok(());
        }
        if begin.elapsed() > limit {
            bail!("{what}: {now} of {goal} after {limit:?}");
        }
        sleep(POLL).await;
    }
}
