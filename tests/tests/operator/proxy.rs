//! A proxy in front of the API server that misbehaves at random: conflicts, throttling, errors, lost requests, lost answers,
//! and watches that end, some with 410.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Error>>;

/// Longest life of a watch while there are faults.
const WATCH: Duration = Duration::from_secs(3);

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The API server does not get it; this is the answer.
    Refused(StatusCode),
    /// The API server does not get it, and the connection ends.
    Lost,
    /// The API server does what it says, and the connection ends.
    AnswerLost,
}

struct Shared {
    upstream: Client,
    random: Mutex<fastrand::Rng>,
    percent: AtomicU32,
    faults: AtomicU64,
    watches_cut: AtomicU64,
}

/// The proxy. Dropping it ends it and its connections.
pub(crate) struct FaultProxy {
    url: http::Uri,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Between whom it gives a client to and the API server of `upstream`; `percent` of all requests go wrong.
    pub(crate) async fn start(upstream: Client, seed: u64, percent: u32) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?).parse()?;
        let shared = Arc::new(Shared {
            upstream,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            percent: AtomicU32::new(percent),
            faults: AtomicU64::new(0),
            watches_cut: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { url, shared, task })
    }

    /// A client that goes through it.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut config = kube::Config::new(self.url.clone());
        // Its own retries would hide some of the faults from the operator.
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    pub(crate) fn set_percent(&self, percent: u32) {
        self.shared.percent.store(percent, Ordering::Relaxed);
    }

    /// Requests that went wrong, and watches that were cut.
    pub(crate) fn injected(&self) -> (u64, u64) {
        let shared = &self.shared;
        (shared.faults.load(Ordering::Relaxed), shared.watches_cut.load(Ordering::Relaxed))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(serve(socket, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shared)));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    // An error is a fault of ours, or the end of the client.
    drop(connection.await);
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer> {
    let (parts, body) = request.into_parts();
    let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch="));
    let fault = shared.fault(is_watch);
    match fault {
        Some(Fault::Refused(status)) => return Ok(refusal(status)),
        Some(Fault::Lost) => bail!("lost"),
        Some(Fault::AnswerLost) | None => {}
    }
    let body = body.collect().await?.to_bytes();
    let response = shared.upstream.send(Request::from_parts(parts, Body::from(body))).await?;
    if fault == Some(Fault::AnswerLost) {
        // The whole answer: what was asked for has happened.
        response.into_body().collect().await?;
        bail!("the answer is lost");
    }
    let (parts, body) = response.into_parts();
    let body = match shared.life_of_watch(is_watch) {
        Some((life, goodbye)) => cut(body, life, goodbye, shared),
        None => body.map_err(Error::from).boxed_unsync(),
    };
    Ok(Response::from_parts(parts, body))
}

impl Shared {
    /// What becomes of the next request.
    fn fault(&self, is_watch: bool) -> Option<Fault> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        if random.u32(..100) >= self.percent.load(Ordering::Relaxed) {
            return None;
        }
        self.faults.fetch_add(1, Ordering::Relaxed);
        Some(match random.u32(..6) {
            0 => Fault::Refused(StatusCode::CONFLICT),
            1 => Fault::Refused(StatusCode::TOO_MANY_REQUESTS),
            2 => Fault::Refused(StatusCode::INTERNAL_SERVER_ERROR),
            3 => Fault::Refused(StatusCode::GATEWAY_TIMEOUT),
            // An answer to a watch does not end by itself.
            4 if !is_watch => Fault::AnswerLost,
            _ => Fault::Lost,
        })
    }

    /// How long a watch lives, and what it says in the end.
    fn life_of_watch(&self, is_watch: bool) -> Option<(Duration, Option<Bytes>)> {
        if !is_watch || self.percent.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = json!({ "type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "too old resource version", "reason": "Expired", "code": 410,
        } });
        let goodbye = random.bool().then(|| Bytes::from(format!("{gone}\n")));
        Some((WATCH.mul_f64(random.f64()), goodbye))
    }
}

fn cut(
    body: Body,
    life: Duration,
    goodbye: Option<Bytes>,
    shared: Arc<Shared>,
) -> UnsyncBoxBody<Bytes, Error> {
    let data = body.into_data_stream().map_err(Error::from);
    let end = async move {
        tokio::time::sleep(life).await;
        shared.watches_cut.fetch_add(1, Ordering::Relaxed);
    };
    let data = data.take_until(Box::pin(end)).chain(stream::iter(goodbye.map(Ok)));
    StreamBody::new(data.map_ok(Frame::data)).boxed_unsync()
}

/// As the API server words it.
fn refusal(status: StatusCode) -> Answer {
    let reason = match status {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::GATEWAY_TIMEOUT => "Timeout",
        _ => "InternalError",
    };
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected by the test", "reason": reason, "code": status.as_u16() });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
