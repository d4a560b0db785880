//! One line a minute for those who read logs rather than dashboards: who is here and what was sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::http::Site;

const PERIOD: Duration = Duration::from_secs(60);

/// Writes the line until cancelled.
pub(crate) async fn run(site: Arc<Site>, stop: CancellationToken) {
    every(PERIOD, &stop, || tell(&site)).await;
}

/// Calls at the end of each period; a period that was missed is not made up for.
async fn every(period: Duration, stop: &CancellationToken, mut call: impl FnMut()) {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        call();
    }
}

/// Named as the fields of /stats, since the same people look for them.
fn tell(site: &Site) {
    let (totals, source) = (site.hub.totals(), site.status.snapshot());
    tracing::info!(
        "activeConnections" = site.admission.taken(),
        "subscriptions" = totals.subscriptions,
        "messagesSent" = totals.deliveries,
        "messagesReceived" = totals.commands,
        "streamMessages" = source.messages,
        "streamMessagesLost" = source.lost,
        "slowConsumers" = totals.slow_consumers(),
        "source" = source.state.name(),
        "uptimeSeconds" = site.started.elapsed().as_secs(),
        "statistics"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_is_told_once_until_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let stop = CancellationToken::new();
        let (begin, mut calls) = (Instant::now(), 0);
        let period = Duration::from_millis(5);
        runtime.block_on(every(period, &stop, || {
            calls += 1;
            if calls == 3 {
                stop.cancel();
            }
        }));
        assert_eq!(calls, 3);
        assert!(begin.elapsed() >= 3 * period);
    }
}
