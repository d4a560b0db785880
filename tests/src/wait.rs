//! Waiting for a condition, with a deadline and a name for what never came.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// Between two looks at a condition. Short against what is waited for (servers, controllers), long enough
/// that a hundred waits do not load a small machine.
const POLL: Duration = Duration::from_millis(25);

/// Waits until `condition` answers true.
///
/// # Errors
/// When `limit` has passed; the error names `what`.
pub async fn wait_until(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    wait_until_some(limit, what, async || condition().await.then_some(())).await
}

/// Waits until `probe` answers with a value, and returns it.
///
/// # Errors
/// When `limit` has passed, also while `probe` hangs; the error names `what`.
pub async fn wait_until_some<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            _ => bail!("waited {limit:?} in vain for {what}"),
        }
    }
}
