//! A place for a client, whichever way it comes: WebSocket, event stream or long-poll.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use wsgateway_access::Grant;

use super::pending::Pending;
use super::{Site, problem};
use crate::admission::{Admission, Permit, Refused};
use crate::auth::Guard;
use crate::limits::{Counted, Limited};
use crate::users::{UserFull, UserPlace};

/// Advice to a client that found no room: long enough for another pod to be tried, or for this one to be warm.
const RETRY_MS: u64 = 2_000;

/// Why a client is not served now. A moment later, or by another pod, it may be.
#[derive(Debug)]
pub(super) struct Busy {
    pub code: &'static str,
    pub message: Cow<'static, str>,
    pub retry_ms: u64,
    pub status: StatusCode,
    /// What a client is told that does not see the status.
    pub close: u16,
}

impl Busy {
    pub(super) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        // Spread those who were turned away together.
        let retry_ms = RETRY_MS / 2 + fastrand::u64(0..RETRY_MS);
        let (status, close) = (StatusCode::SERVICE_UNAVAILABLE, 1013);
        Self { code, message: message.into(), retry_ms, status, close }
    }

    /// For a client that meets a limit, which is counted.
    pub(super) fn of(limited: Limited, site: &Site, client: IpAddr) -> Self {
        tracing::debug!(%client, ?limited, "a client met a limit");
        let rejections = &site.rejections;
        let (counter, code, message, wait_ms, close) = match limited {
            Limited::Connections => (
                &rejections.address_connections,
                "address_connections",
                "your address has as many connections as it may have: close another one",
                0,
                4010,
            ),
            Limited::AddressRate { wait_ms } => (
                &rejections.address_rate,
                "address_rate",
                "your address opens connections too fast: try again",
                wait_ms,
                1013,
            ),
            Limited::Rate { wait_ms } => (
                &rejections.accept_rate,
                "accept_rate",
                "too many clients come at once: try again, another pod may have time",
                wait_ms,
                1013,
            ),
        };
        counter.inc();
        let busy = Self::new(code, message);
        let retry_ms = busy.retry_ms.saturating_add(wait_ms);
        Self { retry_ms, status: StatusCode::TOO_MANY_REQUESTS, close, ..busy }
    }
}

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        problem(self.status, self.code, &self.message, Some(self.retry_ms))
    }
}

/// Counts a connection before its client is asked who it is: whoever comes too often is not worth a signature. Who is turned
/// away anyway is charged nothing.
pub(super) fn enter(site: &Site, pending: &Pending) -> Result<(), Busy> {
    if busy(site).is_some() { Ok(()) } else { charge(site, pending).map(drop) }
}

fn charge(site: &Site, pending: &Pending) -> Result<Option<Arc<Counted>>, Busy> {
    let mut caller = pending.caller();
    let counted = caller.enter(&site.limits, Instant::now());
    counted.map_err(|limited| Busy::of(limited, site, caller.client()))
}

/// A place for a WebSocket client, or why there is none.
pub(super) fn admit(
    site: &Site,
    pending: &Pending,
    grant: Option<&Arc<Grant>>,
) -> Result<Permit, Busy> {
    take(site, pending, grant, Admission::admit)
}

/// A place for an event stream or long-poll.
pub(super) fn admit_fallback(
    site: &Site,
    pending: &Pending,
    grant: Option<&Arc<Grant>>,
) -> Result<Permit, Busy> {
    take(site, pending, grant, Admission::admit_fallback)
}

fn take(
    site: &Site,
    pending: &Pending,
    grant: Option<&Arc<Grant>>,
    admit: impl Fn(&Admission) -> Result<Permit, Refused>,
) -> Result<Permit, Busy> {
    if !is_ready(site) {
        site.rejections.source_not_ready.inc();
        return Err(not_ready());
    }
    let refuse = |refused| {
        match refused {
            Refused::Full => site.rejections.full.inc(),
            Refused::FallbacksFull => site.rejections.fallbacks_full.inc(),
            Refused::Draining | Refused::Shedding => site.rejections.draining.inc(),
            Refused::Overloaded => site.rejections.overloaded.inc(),
        }
        turned_away(refused)
    };
    // Before it is charged for a connection that it does not get.
    if let Some(refused) = site.admission.refuses() {
        return Err(refuse(refused));
    }
    let counted = charge(site, pending)?;
    let user = count_user(site.terms.get().guard.as_ref(), grant).map_err(|UserFull| {
        site.rejections.user_connections.inc();
        user_full()
    })?;
    admit(&site.admission).map(|permit| permit.counted(counted).of_user(user)).map_err(refuse)
}

/// Counts a connection for its user.
pub(super) fn count_user(
    guard: Option<&Arc<Guard>>,
    grant: Option<&Arc<Grant>>,
) -> Result<Option<UserPlace>, UserFull> {
    guard.zip(grant).map_or(Ok(None), |(guard, grant)| guard.count(grant))
}

fn user_full() -> Busy {
    let message = "you have as many connections as you may have: close another one";
    let busy = Busy::new("user_connections", message);
    Busy { status: StatusCode::TOO_MANY_REQUESTS, close: 4010, ..busy }
}

/// Why a client that came now would be turned away, if it would be. Takes no place and counts nothing.
pub(super) fn busy(site: &Site) -> Option<Busy> {
    if !is_ready(site) {
        return Some(not_ready());
    }
    site.admission.refuses().map(turned_away)
}

/// Whether clients can be served.
fn is_ready(site: &Site) -> bool {
    site.status.is_known()
}

fn not_ready() -> Busy {
    Busy::new("not_ready", "the gateway has not read its stream yet: try again")
}

fn turned_away(refused: Refused) -> Busy {
    match refused {
        Refused::Full => {
            Busy::new("full", "every place is taken: try again, another pod may have room")
        }
        Refused::FallbacksFull => Busy::new(
            "full",
            "every place for event streams and long-polls is taken: try again, another pod may have room",
        ),
        Refused::Overloaded => Busy::new(
            "overloaded",
            "this pod is short of CPU or memory: try again, another one may have room",
        ),
        Refused::Draining => Busy::new("draining", "this pod is about to stop: try again"),
        Refused::Shedding => Busy::new(
            "draining",
            "this pod hands its clients over: try again, another one has room",
        ),
    }
}
