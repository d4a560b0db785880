//! A place for a client, whichever way it comes: WebSocket, event stream or long-poll.

use axum::http::StatusCode;
use axum::response::Response;

use super::{Site, problem};
use crate::admission::{Permit, Refused};

/// Advice to a client that found no room: long enough for another pod to be tried, or for this one to be warm.
const RETRY_MS: u64 = 2_000;

/// A place for a client, or the refusal.
pub(super) fn admit(site: &Site) -> Result<Permit, Box<Response>> {
    if site.status.snapshot().epoch.is_empty() {
        site.rejections.source_not_ready.inc();
        let message = "the gateway has not read its stream yet: try again";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Box::new(problem(status, "not_ready", message, Some(RETRY_MS))));
    }
    site.admission.admit().map_err(|refused| Box::new(refuse_admission(site, refused)))
}

fn refuse_admission(site: &Site, refused: Refused) -> Response {
    let (code, message, count) = match refused {
        Refused::Full => (
            "full",
            "every place is taken: try again, another pod may have room",
            &site.rejections.full,
        ),
        Refused::Draining => {
            ("draining", "this pod is about to stop: try again", &site.rejections.draining)
        }
    };
    count.inc();
    // Spread those who were turned away together.
    let retry = RETRY_MS / 2 + fastrand::u64(0..RETRY_MS);
    problem(StatusCode::SERVICE_UNAVAILABLE, code, message, Some(retry))
}
