//! Answers of the public port that anybody may ask for at any rate: rendered at most once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

/// How old an answer may be.
const AGE: Duration = Duration::from_secs(1);

/// The last answer of one route.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    last: Mutex<Option<Rendered>>,
}

#[derive(Clone, Debug)]
struct Rendered {
    at: Instant,
    key: u8,
    status: StatusCode,
    body: Bytes,
}

impl Cached {
    /// The last answer if it is young enough and was made for the same key, else a new one.
    pub(super) fn answer(
        &self,
        now: Instant,
        key: u8,
        make: impl FnOnce() -> (StatusCode, Value),
    ) -> Response {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |last: &&Rendered| last.key == key && now.duration_since(last.at) < AGE;
        let rendered = match last.as_ref().filter(fits) {
            Some(rendered) => rendered.clone(),
            None => {
                let (status, body) = make();
                let body = Bytes::from(body.to_string());
                last.insert(Rendered { at: now, key, status, body }).clone()
            }
        };
        let json = HeaderValue::from_static("application/json");
        (rendered.status, [(header::CONTENT_TYPE, json)], rendered.body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_made_once_a_second_and_when_something_has_changed() {
        let (cached, start, mut made) = (Cached::default(), Instant::now(), 0);
        for (ms, key) in [(0, 0), (1, 0), (999, 0), (1_000, 0), (1_001, 0), (1_002, 1), (1_003, 1)]
        {
            cached.answer(start + Duration::from_millis(ms), key, || {
                made += 1;
                (StatusCode::OK, Value::Null)
            });
        }
        assert_eq!(made, 3);
    }
}
