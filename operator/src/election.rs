//! Leader election: of several operators the holder of one Lease works, the others wait with their watches running.
//!
//! In: the Lease in the operator's own namespace, read and updated with its resource version. Out: [`Lead`], which says
//! whether this process may write at this moment. What to do about the Lease is decided in `steps.rs` (pure); this file
//! talks to the API server. Must hold: [`Lead`] never says yes later than the renew deadline after the start of the last
//! request that the API server confirmed, while others wait for the whole duration of the Lease from the moment in which
//! they saw it. So no clock of one machine is compared with that of another.

mod fence;
mod lead;
mod steps;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wsgateway_runtime::readiness::Gate;

use crate::FIELD_MANAGER;
use crate::cli::ElectionOptions;

pub(crate) use fence::fenced;
pub(crate) use lead::{Lead, Waited};

use lead::Standing;
use steps::{Decision, Election, Record, Timing, TimingError};

/// Takes part in the election.
pub(crate) struct Elector {
    api: Api<Lease>,
    name: String,
    timing: Timing,
    election: Election,
    /// The Lease as the API server last returned it, for an update without reading it again.
    known: Option<Lease>,
    standing: watch::Sender<Standing>,
    leading: IntGauge,
    /// Opens once the Lease could be read: a candidate is ready.
    reached: Gate,
}

/// Why one turn brought nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Late,
    #[error("the Lease is lost")]
    Lost,
}

impl Trouble {
    /// Whether another write came first: the next look shows whose.
    fn is_race(&self) -> bool {
        let Self::Api(kube::Error::Api(status)) = self else { return false };
        status.is_conflict() || status.is_already_exists() || status.is_not_found()
    }
}

impl Elector {
    /// A candidate, and what tells the rest of the process how it stands. Nothing is requested before [`Elector::run`].
    pub(crate) fn new(
        api: Api<Lease>,
        options: &ElectionOptions,
        leading: IntGauge,
        reached: Gate,
    ) -> Result<(Self, Lead), NoElector> {
        let seconds = |number: u16| Duration::from_secs(number.into());
        let timing = Timing::new(
            seconds(options.lease_seconds),
            seconds(options.renew_seconds),
            seconds(options.retry_seconds),
        )?;
        // Of its own in each process: a container that was started anew is another candidate.
        let identity = format!("{}_{:016x}", options.pod, fastrand::u64(..));
        let (standing, lead) = Lead::of_a_candidate();
        let elector = Self {
            api,
            name: options.lease_name.clone(),
            timing,
            election: Election::new(identity, timing),
            known: None,
            standing,
            leading,
            reached,
        };
        Ok((elector, lead))
    }

    /// Takes part until told to stop, and releases the Lease then; ends earlier only when a Lease that was held is lost.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tracing::info!(
            lease = self.name,
            identity = self.election.identity(),
            "candidate for the Lease"
        );
        loop {
            let pause = match self.turn().await {
                Ok(pause) => pause,
                Err(Trouble::Lost) => return self.lost(),
                Err(trouble) => {
                    if trouble.is_race() {
                        tracing::debug!(%trouble, lease = self.name, "somebody else wrote the Lease");
                    } else {
                        tracing::warn!(%trouble, lease = self.name, "cannot read or renew the Lease");
                    }
                    self.known = None;
                    self.timing.pause_after_trouble()
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(self.election.until_due(Instant::now()).min(pause)) => {}
            }
        }
        self.resign().await;
    }

    fn lost(self) {
        self.standing.send_replace(Standing::Ended);
        self.leading.set(0);
        tracing::error!(lease = self.name, "the Lease is lost: another operator may lead now");
    }

    /// Reads the Lease if need be, and claims it if it is free or ours. Returns when the next turn is due.
    async fn turn(&mut self) -> Result<Duration, Trouble> {
        let limit = self.timing.request().min(self.election.until_due(Instant::now()));
        let lease = match self.known.take() {
            Some(lease) => Some(lease),
            None if self.election.is_over(Instant::now()) => return Err(Trouble::Lost),
            None => in_time(limit, self.api.get_opt(&self.name)).await?,
        };
        self.reached.open();
        let record = lease.as_ref().map(record_of);
        let now = Instant::now();
        match self.election.step(record.as_ref(), now, Timestamp::now()) {
            Decision::Lost => Err(Trouble::Lost),
            Decision::Wait(pause) => Ok(pause),
            Decision::Claim(record) => {
                let written = in_time(limit, self.write(lease, &record)).await?;
                self.claimed(written, now);
                Ok(self.timing.retry)
            }
        }
    }

    /// Creates the Lease, or updates the very version that was seen: of several that try, one succeeds.
    async fn write(&self, lease: Option<Lease>, record: &Record) -> kube::Result<Lease> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match lease {
            Some(mut lease) => {
                set(&mut lease, record);
                self.api.replace(&self.name, &parameters, &lease).await
            }
            None => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let mut lease = Lease { metadata, spec: None };
                set(&mut lease, record);
                self.api.create(&parameters, &lease).await
            }
        }
    }

    fn claimed(&mut self, lease: Lease, began: Instant) {
        let first = !self.election.is_leading();
        let until = self.election.confirmed(record_of(&lease), began);
        self.known = Some(lease);
        self.standing.send_replace(Standing::Leading { until });
        if first {
            self.leading.set(1);
            tracing::info!(lease = self.name, "leading");
        }
    }

    /// Gives the Lease back, so that another candidate need not wait until it expires.
    async fn resign(mut self) {
        // First of all: nothing is written from here on.
        self.standing.send_replace(Standing::Ended);
        self.leading.set(0);
        if !self.election.is_leading() || self.election.is_over(Instant::now()) {
            return;
        }
        let Some(lease) = self.known.take() else { return };
        let record = record_of(&lease).released(Timestamp::now());
        match in_time(self.timing.request(), self.write(Some(lease), &record)).await {
            Ok(_) => tracing::info!(lease = self.name, "the Lease is released"),
            Err(trouble) => {
                tracing::warn!(%trouble, lease = self.name, "cannot release the Lease; it expires");
            }
        }
    }
}

/// Why there is no elector.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoElector {
    #[error(transparent)]
    Timing(#[from] TimingError),
}

async fn in_time<T>(
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Trouble> {
    tokio::time::timeout(limit, request).await.map_err(|_late| Trouble::Late)?.map_err(Trouble::Api)
}

fn record_of(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

/// What others have put into the Lease stays.
fn set(lease: &mut Lease, record: &Record) {
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(record.holder.clone()),
        lease_duration_seconds: i32::try_from(record.duration.as_secs()).ok(),
        acquire_time: record.acquired.map(MicroTime),
        renew_time: record.renewed.map(MicroTime),
        lease_transitions: Some(record.transitions),
        ..spec
    });
}
