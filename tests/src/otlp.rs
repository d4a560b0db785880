//! A receiver of OTLP over HTTP on loopback: it decodes what it is sent, and answers as a test wants.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpAnswer {
    /// It takes what it is sent.
    Accept,
    /// It takes nothing, with this status.
    Status(u16),
    /// It says that all is well, in so many bytes.
    Bytes(usize),
    /// It reads and never answers.
    Never,
}

/// A span as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// `service.name` of its sender.
    pub service: String,
    /// What it stands for.
    pub name: String,
    /// Its trace, in hexadecimal digits.
    pub trace_id: String,
    /// Its id, in hexadecimal digits.
    pub span_id: String,
    /// Id of its parent; empty for none.
    pub parent: String,
    /// Begin and end in nanoseconds since 1970.
    pub time: (u64, u64),
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// What went wrong, if it says so.
    pub error: Option<String>,
}

/// A running receiver; it ends when dropped.
pub struct OtlpReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: Mutex<OtlpAnswer>,
    spans: Mutex<Vec<ReceivedSpan>>,
    /// The head of the last request, and how many there were.
    requests: Mutex<(http::HeaderMap, usize)>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OtlpReceiver {
    /// On a free port.
    pub async fn start(answer: OtlpAnswer) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            spans: Mutex::default(),
            requests: Mutex::default(),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// The base address, as an endpoint is configured.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers like this from now on.
    pub fn set_answer(&self, answer: OtlpAnswer) {
        *locked(&self.shared.answer) = answer;
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        locked(&self.shared.spans).clone()
    }

    /// The spans of one trace.
    pub fn trace(&self, trace_id: &str) -> Vec<ReceivedSpan> {
        self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect()
    }

    /// Requests so far, and the value of a header of the last one.
    pub fn requests(&self) -> usize {
        locked(&self.shared.requests).1
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        let requests = locked(&self.shared.requests);
        Some(requests.0.get(name)?.to_str().ok()?.to_owned())
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(request, &shared).await) }
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let is_right = request.method() == "POST" && request.uri().path() == "/v1/traces";
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return response(400, 0),
    };
    {
        let mut requests = locked(&shared.requests);
        (requests.0, requests.1) = (head.headers, requests.1 + 1);
    }
    let Ok(export) = ExportTraceServiceRequest::decode(body) else { return response(400, 0) };
    if !is_right {
        return response(404, 0);
    }
    let how = *locked(&shared.answer);
    match how {
        OtlpAnswer::Accept => {
            locked(&shared.spans).extend(spans(export));
            response(200, 0)
        }
        OtlpAnswer::Status(status) => response(status, 0),
        OtlpAnswer::Bytes(bytes) => response(200, bytes),
        OtlpAnswer::Never => std::future::pending().await,
    }
}

fn response(status: u16, bytes: usize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(vec![0; bytes])));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn spans(export: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut all = Vec::new();
    for resource in export.resource_spans {
        let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let service = attributes_of(attributes).remove("service.name").unwrap_or_default();
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| received(&service, span)));
    }
    all
}

fn received(service: &str, span: Span) -> ReceivedSpan {
    ReceivedSpan {
        service: service.to_owned(),
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: attributes_of(span.attributes),
        // 2 is STATUS_CODE_ERROR.
        error: span.status.filter(|status| status.code == 2).map(|status| status.message),
    }
}

fn attributes_of(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(value)) => value.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
