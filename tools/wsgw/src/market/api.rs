//! The control API over HTTP: paths, bodies and status codes. What is answered is decided in `wsgateway_market::control`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use wsgateway_market::control::{Command, MOST_BODY, refusal};

use super::shared::Shared;

/// What is read of a body that is refused for its size: a connection that is closed with bytes unread loses the answer.
const MOST_READ: usize = 1 << 20;
/// Longest wait for a body.
const BODY: Duration = Duration::from_secs(5);

/// Routes beside those of every program, which has `/metrics`, `/livez` and `/readyz`.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/control", get(state))
        .route("/control/{command}", post(command))
        .route("/stats", get(stats))
        .route("/health", get(health))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .with_state(shared)
}

async fn state(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.wanted().state())
}

async fn stats(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.with_facts(|facts| facts.stats()))
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let (healthy, document) = shared.with_facts(|facts| (facts.healthy(), facts.health()));
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(document)).into_response()
}

async fn command(
    State(shared): State<Arc<Shared>>,
    Path(word): Path<String>,
    request: Request,
) -> Response {
    let Some(command) = Command::from_path(&word) else { return unknown().await };
    // A page that somebody opens must not steer what runs on their machine; only browsers send this header.
    if request.headers().contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "commands do not come from web pages");
    }
    let body = match read(request.into_body()).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    match shared.command(command, &body) {
        Ok(wanted) => {
            shared.until_taken(&wanted).await;
            Json(wanted.answer(command)).into_response()
        }
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

async fn read(body: Body) -> Result<axum::body::Bytes, Response> {
    let too_large = format!("the body is incomplete, or has more than {MOST_BODY} bytes");
    match tokio::time::timeout(BODY, to_bytes(body, MOST_READ)).await {
        Ok(Ok(body)) if body.len() <= MOST_BODY => Ok(body),
        Ok(_) => Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &too_large)),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
    }
}

async fn unknown() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "there are POST /control/start, /control/stop and /control/configure, and GET /control, /stats, /health and /metrics",
    )
}

async fn wrong_method() -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, "commands are POST, everything else is GET")
}

fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(refusal(why))).into_response()
}
