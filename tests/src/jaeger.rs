//! A real Jaeger that keeps traces in memory.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Guarded, Scratch, free_port, tool, wait_until, wait_until_some};

/// Far above what it needs, for a machine that compiles at the same time.
const SOON: Duration = Duration::from_secs(60);

/// Flags for the ports of Jaeger that nobody here uses.
const OTHER_PORTS: [&str; 5] = [
    "collector.otlp.grpc.host-port",
    "collector.grpc-server.host-port",
    "collector.http-server.host-port",
    "query.grpc-server.host-port",
    "admin.http.host-port",
];

/// A running Jaeger. Dropping it ends it.
pub struct Jaeger {
    otlp: SocketAddr,
    query: SocketAddr,
    _guarded: Guarded,
    _scratch: Scratch,
}

impl Jaeger {
    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// When it is missing (`hack/tools jaeger` builds it) or does not come up.
    pub async fn start() -> Result<Self> {
        let scratch = Scratch::new("jaeger")?;
        let port = || Ok::<_, anyhow::Error>(SocketAddr::from(([127, 0, 0, 1], free_port()?)));
        let (otlp, query) = (port()?, port()?);
        let mut arguments = vec![
            "--collector.otlp.enabled=true".to_owned(),
            format!("--collector.otlp.http.host-port={otlp}"),
            format!("--query.http-server.host-port={query}"),
        ];
        for flag in OTHER_PORTS {
            arguments.push(format!("--{flag}={}", port()?));
        }
        let guarded = Guarded::start(&tool("jaeger")?, &arguments, &scratch.join("jaeger.log"))?;
        let jaeger = Self { otlp, query, _guarded: guarded, _scratch: scratch };
        wait_until(SOON, "an answer of Jaeger", async || jaeger.get("/api/services").await.is_ok())
            .await
            .with_context(|| jaeger._guarded.log_tail())?;
        Ok(jaeger)
    }

    /// The base address for OTLP over HTTP.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.otlp)
    }

    /// What `GET path` of its HTTP API says.
    ///
    /// # Errors
    /// When it does not answer with JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let mut socket = TcpStream::connect(self.query).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: jaeger\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(serde_json::from_str(body)?)
    }

    /// Waits until a trace has spans of these names, each at least once, and returns it as Jaeger shows it.
    ///
    /// # Errors
    /// When it has not after a minute.
    pub async fn trace(&self, path: &str, names: &[&str]) -> Result<Value> {
        wait_until_some(SOON, &format!("{names:?} in Jaeger's {path}"), async || {
            let answer = self.get(path).await.ok()?;
            let traces = answer["data"].as_array()?;
            let complete = |trace: &&Value| {
                let spans = trace["spans"].as_array().cloned().unwrap_or_default();
                let has = |name: &&str| spans.iter().any(|span| span["operationName"] == **name);
                names.iter().all(has)
            };
            traces.iter().find(complete).cloned()
        })
        .await
    }
}

/// The spans of a trace for people: one line each, children below their parents.
pub fn show_trace(trace: &Value) -> String {
    let spans = trace["spans"].as_array().cloned().unwrap_or_default();
    let begin = spans.iter().filter_map(|span| span["startTime"].as_u64()).min().unwrap_or(0);
    let mut text = format!("trace {}\n", trace["traceID"].as_str().unwrap_or_default());
    let ids: Vec<&Value> = spans.iter().map(|span| &span["spanID"]).collect();
    let is_root = |span: &&Value| !ids.contains(&&span["references"][0]["spanID"]);
    let mut roots: Vec<&Value> = spans.iter().filter(is_root).collect();
    roots.sort_by_key(|span| span["startTime"].as_u64());
    for root in roots {
        show(trace, &spans, root, begin, 1, &mut text);
    }
    text
}

fn show(trace: &Value, spans: &[Value], span: &Value, begin: u64, depth: usize, text: &mut String) {
    let process = span["processID"].as_str().unwrap_or_default();
    let service = trace["processes"][process]["serviceName"].as_str().unwrap_or_default();
    let tags: Vec<String> = span["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|tag| !tag["key"].as_str().unwrap_or_default().starts_with("otel."))
        .map(|tag| format!("{}={}", tag["key"].as_str().unwrap_or_default(), plain(&tag["value"])))
        .collect();
    let at = span["startTime"].as_u64().unwrap_or_default() - begin;
    let took = span["duration"].as_u64().unwrap_or_default();
    let name = span["operationName"].as_str().unwrap_or_default();
    text.push_str(&format!(
        "{}{service} {name}  at {at} us  took {took} us  {}\n",
        "  ".repeat(depth),
        tags.join(" ")
    ));
    let is_child = |other: &&Value| other["references"][0]["spanID"] == span["spanID"];
    let mut children: Vec<&Value> = spans.iter().filter(is_child).collect();
    children.sort_by_key(|span| span["startTime"].as_u64());
    for child in children {
        show(trace, spans, child, begin, depth + 1, text);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
