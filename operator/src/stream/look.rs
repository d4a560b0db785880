//! Looks at streams, each a task of its own: a NATS that does not answer holds the place of no other WsGateway.
//!
//! A reconciliation waits for its look for a moment. If that is not enough it goes on with what was known, and is woken when
//! the look has ended; from then on it waits for none until one has been quick again. There is one look at a time for a
//! WsGateway, and none once nobody may write for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wsgateway_crds::{ValidGateway, ValidNats};
use wsgateway_nats::StreamError;

use super::verdict::{most_pods, problem};
use super::{Outcome, Work};
use crate::context::Context;
use crate::nats::Link;
use crate::wake::Name;

/// A NATS that is well answers in milliseconds; the rest is for a machine that is busy.
const BRIEF: Duration = Duration::from_secs(1);
/// As long as a whole reconciliation may take.
const LONGEST: Duration = Duration::from_secs(60);

/// A look that has begun; dropping it ends it.
#[derive(Debug)]
pub(super) struct Look {
    about: About,
    task: JoinHandle<Looked>,
    /// Nobody waits for it any more: its end wakes the WsGateway.
    is_late: bool,
    /// Set by whoever comes first: its end, or the end of the wait for it. The other one sees that.
    met: Arc<AtomicBool>,
}

/// What a look is for.
#[derive(Clone, Debug)]
struct About {
    nats: ValidNats,
    pods: u64,
    yields: Option<String>,
    link: Link,
}

#[derive(Debug)]
struct Looked {
    outcome: Outcome,
    took: Duration,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Look {
    fn begin(gateway: &ValidGateway, about: About, context: &Arc<Context>) -> Self {
        let met = Arc::<AtomicBool>::default();
        let (gateway, asked) = (gateway.clone(), about.clone());
        let (context, meeting) = (Arc::clone(context), Arc::clone(&met));
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let work = Work {
                gateway: &gateway,
                nats: &asked.nats,
                yields: asked.yields.as_deref(),
                pods: asked.pods,
                link: &asked.link,
                context: &context,
            };
            let looked = tokio::time::timeout(LONGEST, Box::pin(super::look(&work))).await;
            let outcome =
                looked.unwrap_or_else(|_late| Outcome { retry: true, ..unanswered(&work) });
            if meeting.swap(true, Ordering::AcqRel) {
                context.wake.wake(Name::new(&gateway.namespace, &gateway.name));
            }
            Looked { outcome, took: begun.elapsed() }
        });
        Self { about, task, is_late: false, met }
    }

    /// Ends it, and waits until nothing more is written.
    pub(super) async fn end(mut self) {
        self.task.abort();
        // Cancelled, or it has ended by itself.
        drop((&mut self.task).await);
    }
}

impl About {
    fn is(&self, other: &Self) -> bool {
        self.nats == other.nats
            && self.pods == other.pods
            && self.yields == other.yields
            && self.link.is(&other.link)
    }
}

/// What a look finds that has ended, or ends within a moment; or else what is known.
pub(super) async fn at(
    gateway: &ValidGateway,
    nats: &ValidNats,
    yields: Option<&str>,
    link: &Link,
    context: &Arc<Context>,
) -> Outcome {
    let about = About {
        nats: nats.clone(),
        pods: most_pods(gateway),
        yields: yields.map(str::to_owned),
        link: link.clone(),
    };
    let (records, uid) = (&context.records, &gateway.uid);
    let (running, is_slow) = records.with(uid, |record| (record.look.take(), record.is_slow));
    let mut look = match running {
        Some(look) if look.about.is(&about) => look,
        other => {
            if let Some(other) = other {
                other.end().await;
            }
            Look::begin(gateway, about, context)
        }
    };
    let brief = if is_slow { Duration::ZERO } else { BRIEF };
    let mut ended = tokio::time::timeout(brief, &mut look.task).await.ok();
    if ended.is_none() && !look.is_late {
        look.is_late = true;
        if look.met.swap(true, Ordering::AcqRel) {
            // It ended just now, and wakes nobody.
            ended = Some((&mut look.task).await);
        }
    }
    records.with(uid, |record| match ended {
        Some(Ok(Looked { outcome, took })) => {
            record.is_slow = took > BRIEF;
            record.last = Some((nats.clone(), outcome.clone()));
            outcome
        }
        // It has panicked, which the log tells.
        Some(Err(_)) => {
            let answer = "the look at the stream broke off".to_owned();
            let verdict = problem(&StreamError::Temporary { answer }, &link.trouble(), nats);
            Outcome { retry: true, ..Outcome::of(verdict) }
        }
        None => {
            record.look = Some(look);
            record.is_slow = true;
            // For another specification it says nothing.
            let known = record.last.clone().filter(|(of, _)| of == nats);
            Outcome {
                is_pending: true,
                retry: false,
                ..known.map_or_else(|| silent(nats, link), |(_, outcome)| outcome)
            }
        }
    })
}

fn unanswered(work: &Work<'_>) -> Outcome {
    silent(work.nats, work.link)
}

/// A NATS that has not said anything yet.
fn silent(nats: &ValidNats, link: &Link) -> Outcome {
    let error = if link.is_up() { StreamError::NoAnswer } else { StreamError::Unreachable };
    Outcome::of(problem(&error, &link.trouble(), nats))
}
