//! Exchange: the reports of the pods of one WsGateway, over core NATS, on a connection of its own.
//!
//! A report that is lost is noticed by its number and asked for again. Nothing is kept by the server.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use wsgateway_config::{JetStreamSource, fingerprint};
use wsgateway_nats::link::{Dialer, Incoming, Link, Lost};
use wsgateway_nats::{Access, Notice};

use super::Users;
use super::peers::Peers;
use super::wire::Report;
use crate::hub::Hub;

/// How long changes wait to be reported together, and how often connections that are too many are closed.
const TICK: Duration = Duration::from_millis(100);

/// A server that takes nothing for so long is given up.
const STALLED: Duration = Duration::from_secs(5);

/// What the pods of a WsGateway report to each other at: `wsgateway.users.` and a fingerprint of its name.
pub(crate) fn subject(name: &str) -> String {
    format!("wsgateway.users.{}", fingerprint(&[name]))
}

/// Reports and hears while there is a limit, and closes connections that are too many, until stopped. Without a source of
/// NATS (`None`), this pod counts for itself.
pub(crate) async fn run(
    users: Users,
    (name, source): (String, Option<JetStreamSource>),
    hub: Hub,
    stop: CancellationToken,
) {
    let subject = subject(&name);
    let mut dialer = source.and_then(|source| dialer(&source, &name));
    let work = async {
        loop {
            users.until(true).await;
            let report = async {
                match &mut dialer {
                    Some(dialer) => exchange(&users, dialer, &subject, &stop).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = users.until(false) => {}
                () = report => return,
                () = close(&users, &hub) => {}
            }
        }
    };
    tokio::select! {
        () = work => {}
        // Time for a goodbye, which ends `work`.
        () = async { stop.cancelled().await; tokio::time::sleep(TICK).await } => {}
    }
}

fn dialer(source: &JetStreamSource, name: &str) -> Option<Dialer> {
    let name = format!("wsgateway {name} users");
    let notice = |notice| match notice {
        Notice::Failed(failure) => {
            tracing::debug!(reason = failure.message, "pods cannot report users to each other");
        }
        Notice::Complaint(complaint) => {
            tracing::warn!(complaint, "NATS complains: limits of a user hold per pod");
        }
        Notice::Connected | Notice::Lost | Notice::LameDuck => {}
    };
    let dialer = Dialer::new(&Access::from(source), &name, notice);
    dialer.map_err(|error| tracing::warn!(%error, "limits of a user hold per pod")).ok()
}

/// Closes connections that are too many, again and again.
async fn close(users: &Users, hub: &Hub) {
    let mut tick = ticks();
    loop {
        tick.tick().await;
        users.with_peers(|peers, roster, now| peers.forget_silent(now, roster));
        let excess = users.take_excess();
        if !excess.is_empty() {
            tracing::debug!(count = excess.len(), "closing connections of users with too many");
            hub.close_users(excess);
        }
    }
}

/// One connection to NATS after the other; ends when stopped.
async fn exchange(users: &Users, dialer: &mut Dialer, subject: &str, stop: &CancellationToken) {
    loop {
        let Some(mut link) = stop.run_until_cancelled(dialer.connect()).await else { return };
        let served = serve(users, &mut link, subject, stop).await;
        users.with_peers(|peers, _, _| peers.lose());
        match served {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(%error, "limits of a user hold per pod until NATS is back")
            }
        }
        dialer.notice(Notice::Lost);
    }
}

/// Serves one connection to NATS; `Ok` when stopped.
async fn serve(
    users: &Users,
    link: &mut Link,
    subject: &str,
    stop: &CancellationToken,
) -> Result<(), Lost> {
    link.subscribe(subject);
    publish(link, subject, &[users.with_peers(|peers, _, _| peers.begin())]).await?;
    let mut tick = ticks();
    loop {
        tokio::select! {
            incoming = link.next() => match incoming? {
                Incoming::Message(message) => {
                    if let Some(report) = Report::decode(&message.payload) {
                        users.hear(report);
                    }
                }
                Incoming::Complaint(complaint) => {
                    tracing::warn!(complaint, "NATS complains: limits of a user hold per pod");
                }
                Incoming::LameDuck => return Err(Lost::Closed),
            },
            _ = tick.tick() => {
                let reports = users.with_peers(|peers, roster, now| peers.tick(now, roster));
                publish(link, subject, &reports).await?;
            }
            () = stop.cancelled() => {
                let bye = users.with_peers(|peers, _, _| Peers::end(peers));
                return publish(link, subject, &[bye]).await;
            }
        }
    }
}

async fn publish(link: &mut Link, subject: &str, reports: &[Report]) -> Result<(), Lost> {
    for report in reports {
        link.publish(subject.as_bytes(), None, &report.encode());
    }
    timeout(STALLED, link.flush()).await.map_err(|_| Lost::Silent)?
}

fn ticks() -> Interval {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
