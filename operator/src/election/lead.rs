//! Whether this process may write now. Many hold a [`Lead`]; the elector alone changes what it says.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use tokio::sync::watch;

/// Where this process stands in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no election: this process is the only one, as whoever started it says.
    Alone,
    Candidate,
    /// By the local monotonic clock, which goes on while the process is frozen.
    Leading {
        until: Instant,
    },
    /// Stopping, or the Lease is lost.
    Ended,
}

/// Says whether this process leads.
#[derive(Clone, Debug)]
pub(crate) struct Lead(watch::Receiver<Standing>);

/// A write was refused, or given up halfway, because this process does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not written: this operator does not hold the Lease (any more)")]
pub(crate) struct NotLeading;

/// What a wait for the lead came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// This process leads, and has led before the wait.
    No,
    /// It leads now: what was read before the wait is old.
    Yes,
    /// It will not lead again.
    InVain,
}

impl Lead {
    /// For an operator without an election.
    pub(crate) fn alone() -> Self {
        let (sender, receiver) = watch::channel(Standing::Alone);
        drop(sender);
        Self(receiver)
    }

    pub(super) fn of_a_candidate() -> (watch::Sender<Standing>, Self) {
        let (sender, receiver) = watch::channel(Standing::Candidate);
        (sender, Self(receiver))
    }

    /// Whether a write may begin, or go on, at `now`.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        match *self.0.borrow() {
            Standing::Alone => true,
            Standing::Leading { until } => now < until,
            Standing::Candidate | Standing::Ended => false,
        }
    }

    /// Waits until this process leads, or never will again.
    pub(crate) async fn wait(&self) -> Waited {
        let mut standing = self.0.clone();
        let mut waited = Waited::No;
        loop {
            let stands = *standing.borrow_and_update();
            match stands {
                Standing::Alone => return Waited::No,
                Standing::Leading { until } if Instant::now() < until => return waited,
                Standing::Leading { .. } | Standing::Ended => return Waited::InVain,
                Standing::Candidate => {}
            }
            waited = Waited::Yes;
            if standing.changed().await.is_err() {
                return Waited::InVain;
            }
        }
    }

    /// Polls `work` as long as the Lease is held. The clock is read before every poll, so that a process which was frozen
    /// between two of them does not go on.
    ///
    /// # Errors
    /// When the Lease is not held, or runs out before the work is done; its last request may have arrived.
    pub(crate) async fn while_held<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, NotLeading> {
        let mut work = pin!(work);
        let held = poll_fn(|context| {
            if !self.holds(Instant::now()) {
                return Poll::Ready(Err(NotLeading));
            }
            work.as_mut().poll(context).map(Ok)
        });
        tokio::select! {
            biased;
            done = held => done,
            () = self.over() => Err(NotLeading),
        }
    }

    /// Ends when the Lease is no longer held.
    async fn over(&self) {
        let mut standing = self.0.clone();
        loop {
            let stands = *standing.borrow_and_update();
            let until = match stands {
                Standing::Alone => return std::future::pending().await,
                Standing::Leading { until } => until,
                Standing::Candidate | Standing::Ended => return,
            };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {
                    if !self.holds(Instant::now()) {
                        return;
                    }
                }
                changed = standing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn leading(sender: &watch::Sender<Standing>, time: Duration) {
        sender.send_replace(Standing::Leading { until: Instant::now() + time });
    }

    #[test]
    fn only_a_leader_may_write_and_only_until_its_deadline() {
        let (sender, lead) = Lead::of_a_candidate();
        let now = Instant::now();
        assert!(!lead.holds(now));
        let until = now + Duration::from_secs(10);
        sender.send_replace(Standing::Leading { until });
        assert!(lead.holds(until - Duration::from_millis(1)) && !lead.holds(until));
        sender.send_replace(Standing::Ended);
        assert!(!lead.holds(now));
        assert!(Lead::alone().holds(now));
    }

    #[tokio::test]
    async fn work_is_not_polled_any_more_once_the_lease_has_run_out() {
        let (sender, lead) = Lead::of_a_candidate();
        leading(&sender, Duration::from_secs(60));
        let mut polls = 0;
        let work = poll_fn(|context| {
            polls += 1;
            // The deadline passes while the process is frozen: nobody is told.
            sender.send_replace(Standing::Leading { until: Instant::now() });
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(lead.while_held(work).await, Err(NotLeading));
        assert_eq!(polls, 1);
    }

    #[tokio::test]
    async fn work_that_hangs_ends_with_the_lease_and_goes_on_while_it_is_renewed() {
        let (sender, lead) = Lead::of_a_candidate();
        leading(&sender, Duration::from_millis(20));
        assert_eq!(lead.while_held(std::future::pending::<()>()).await, Err(NotLeading));
        leading(&sender, Duration::from_secs(60));
        assert_eq!(lead.while_held(async { 7 }).await, Ok(7));
        let ending = async {
            tokio::task::yield_now().await;
            sender.send_replace(Standing::Ended);
        };
        let (held, ()) = tokio::join!(lead.while_held(std::future::pending::<()>()), ending);
        assert_eq!(held, Err(NotLeading));
    }

    #[tokio::test]
    async fn whoever_waits_for_the_lead_learns_that_it_waited() {
        let (sender, lead) = Lead::of_a_candidate();
        let electing = async {
            tokio::task::yield_now().await;
            leading(&sender, Duration::from_secs(60));
        };
        let (waited, ()) = tokio::join!(lead.wait(), electing);
        assert_eq!((waited, lead.wait().await), (Waited::Yes, Waited::No));
        sender.send_replace(Standing::Ended);
        assert_eq!(lead.wait().await, Waited::InVain);
        assert_eq!(Lead::alone().wait().await, Waited::No);
    }
}
