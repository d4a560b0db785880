//! `GET /poll`: one answer per request, for clients that can do nothing else.
//!
//! With a cursor: what has come behind it, at once if there is anything, else as soon as something comes or the wait is
//! over. Without: the cursor of this moment, to begin with.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use wsgateway_proto::channel;

use super::bridge::{Bridge, Said, head};
use super::query::{Cursor, Query, Wish};
use super::{Site, problem};
use crate::history::Interest;

/// Wait of a client that names none, and the longest (s): below the patience of common proxies.
const WAIT: u64 = 25;
const MOST_WAIT: u64 = 55;

/// Time for more messages to come behind the first: they are on their way already when a client catches up.
const GATHER: Duration = Duration::from_millis(20);

/// Most messages of an answer, and the bytes after which it ends.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

#[derive(Debug, Default, Serialize)]
struct Answer {
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    messages: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Box<RawValue>>,
}

/// Route of the long-poll.
pub(super) async fn poll(
    State(site): State<Arc<Site>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
) -> Response {
    let entered = Query::read(query).and_then(|query| {
        let wait = Duration::from_secs(query.wait.unwrap_or(WAIT).min(MOST_WAIT));
        query.enter(&site, None).map(|(wish, permit)| (wish, permit, wait))
    });
    let (wish, permit, wait) = match entered {
        Ok(entered) => entered,
        Err(refusal) => return *refusal,
    };
    let answer = match wish.cursor {
        None => Ok(begin(&site, &wish)),
        Some(_) => match Bridge::open(&site, permit) {
            Ok(bridge) => follow(bridge, &wish, wait).await,
            Err(error) => {
                tracing::warn!(%error, "cannot open a long-poll");
                Err(unavailable("overloaded", "no more connections can be opened: try again"))
            }
        },
    };
    match answer {
        Ok(answer) => {
            let mut response = axum::Json(answer).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response
        }
        Err(refusal) => *refusal,
    }
}

fn unavailable(code: &str, message: &str) -> Box<Response> {
    Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, code, message, Some(2_000)))
}

/// The cursor of this moment, with the last values if they are asked for.
fn begin(site: &Site, wish: &Wish) -> Answer {
    let (epoch, offset) = site.past.history.now();
    let cursor = Cursor { epoch: epoch.to_string(), offset }.to_string();
    let mut answer = Answer { cursor, ..Answer::default() };
    if wish.snapshot {
        let mut interest = Interest::default();
        for name in &wish.channels {
            if let Ok(kind) = channel::validate(name) {
                interest.add(name, kind);
            }
        }
        let view = site.past.history.view(&epoch);
        let values = view.map(|view| view.values(&interest, 0, offset, usize::MAX).messages);
        for value in values.unwrap_or_default() {
            let mut marked = Vec::new();
            wsgateway_proto::v1::snapshot(&mut marked, value.body());
            let text = String::from_utf8_lossy(wsgateway_proto::frame::payload(&marked));
            answer.messages.extend(raw(&text));
        }
    }
    answer
}

/// What comes behind the cursor.
async fn follow(mut bridge: Bridge, wish: &Wish, wait: Duration) -> Result<Answer, Box<Response>> {
    let gone = || unavailable("overloaded", "the gateway could not answer: try again");
    bridge.send(&wish.command()).await.map_err(|_| gone())?;
    let (mut answer, mut epoch, mut bytes) = (Answer::default(), String::new(), 0);
    let mut until = Instant::now() + wait;
    loop {
        let acknowledged = !answer.cursor.is_empty();
        let said = match timeout_at(until, bridge.next()).await {
            Ok(said) => said,
            Err(_) if acknowledged => return Ok(answer),
            // The acknowledgement of a resume has a deadline of its own.
            Err(_) => bridge.next().await,
        };
        let push = match said {
            Some(Said::Push(push)) => push,
            Some(Said::Ping) => continue,
            Some(Said::Close { reason, .. }) if !acknowledged => {
                return Err(unavailable("try_again", &reason));
            }
            _ if acknowledged => return Ok(answer),
            _ => return Err(gone()),
        };
        let Some(head) = head(&push) else { continue };
        let mut place = |offset| {
            answer.cursor = Cursor { epoch: epoch.clone(), offset }.to_string();
        };
        match (&*head.kind, head.offset) {
            ("connection:established", _) => epoch = head.epoch.unwrap_or_default().into(),
            ("subscription_ack", Some(offset)) => {
                place(offset);
                answer.recovered = head.recovered;
            }
            ("message", Some(offset)) => {
                if !head.snapshot {
                    place(offset);
                }
                bytes += push.len();
                answer.messages.extend(raw(&push));
                until = until.min(Instant::now() + GATHER);
            }
            ("gap", _) => {
                answer.gaps.extend(raw(&push));
                until = until.min(Instant::now() + GATHER);
            }
            ("reconnect", _) if acknowledged => return Ok(answer),
            _ => {}
        }
        if answer.messages.len() >= MOST || bytes >= MOST_BYTES {
            return Ok(answer);
        }
    }
}

fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}
