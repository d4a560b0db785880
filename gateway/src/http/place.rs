//! A place for a client, whichever way it comes: WebSocket, event stream or long-poll.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Site, problem};
use crate::admission::{Admission, Permit, Refused};

/// Advice to a client that found no room: long enough for another pod to be tried, or for this one to be warm.
const RETRY_MS: u64 = 2_000;

/// Why a client is not served now. A moment later, or by another pod, it may be.
#[derive(Debug)]
pub(super) struct Busy {
    pub code: &'static str,
    pub message: Cow<'static, str>,
    pub retry_ms: u64,
}

impl Busy {
    pub(super) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        // Spread those who were turned away together.
        let retry_ms = RETRY_MS / 2 + fastrand::u64(0..RETRY_MS);
        Self { code, message: message.into(), retry_ms }
    }
}

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        problem(status, self.code, &self.message, Some(self.retry_ms))
    }
}

/// A place for a WebSocket client, or why there is none.
pub(super) fn admit(site: &Site) -> Result<Permit, Busy> {
    take(site, Admission::admit)
}

/// A place for an event stream or long-poll.
pub(super) fn admit_fallback(site: &Site) -> Result<Permit, Busy> {
    take(site, Admission::admit_fallback)
}

fn take(
    site: &Site,
    admit: impl Fn(&Admission) -> Result<Permit, Refused>,
) -> Result<Permit, Busy> {
    if !is_ready(site) {
        site.rejections.source_not_ready.inc();
        return Err(not_ready());
    }
    admit(&site.admission).map_err(|refused| {
        match refused {
            Refused::Full => site.rejections.full.inc(),
            Refused::FallbacksFull => site.rejections.fallbacks_full.inc(),
            Refused::Draining | Refused::Shedding => site.rejections.draining.inc(),
            Refused::Overloaded => site.rejections.overloaded.inc(),
        }
        turned_away(refused)
    })
}

/// Why a client that came now would be turned away, if it would be. Takes no place and counts nothing.
pub(super) fn busy(site: &Site) -> Option<Busy> {
    if !is_ready(site) {
        return Some(not_ready());
    }
    site.admission.refuses().map(turned_away)
}

/// A place for a WebSocket client if there is one; who gets none is turned away, and counted, by the HTTP server.
pub(super) fn try_admit(site: &Site) -> Option<Permit> {
    is_ready(site).then(|| site.admission.admit().ok())?
}

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
