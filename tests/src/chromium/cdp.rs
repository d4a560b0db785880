//! The debugging protocol's connection: calls out, answers and events in. A task owns the socket; it ends
//! with the last handle or with the browser.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

/// A screenshot of a large page is a few megabytes of base64.
const LARGEST_MESSAGE: usize = 64 << 20;
/// No single command takes this long, unless the page hangs.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub(super) struct Connection {
    calls: mpsc::UnboundedSender<Value>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// Errors by session.
    errors: Mutex<HashMap<String, Vec<String>>>,
}

impl Connection {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(LARGEST_MESSAGE))
            .max_frame_size(Some(LARGEST_MESSAGE));
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(url, Some(config), false).await?;
        let (mut sink, mut stream) = socket.split();
        let (calls, mut queue) = mpsc::unbounded_channel::<Value>();
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    call = queue.recv() => {
                        let Some(call) = call else { break };
                        if sink.send(Message::text(call.to_string())).await.is_err() { break }
                    }
                    message = stream.next() => match message {
                        Some(Ok(Message::Text(text))) => reader.receive(&text),
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => break,
                    }
                }
            }
            // Whoever still waits is told by the closed channel.
            lock(&reader.waiting).clear();
        });
        Ok(Self { calls, shared })
    }

    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.shared.waiting).insert(id, sender);
        let mut call = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            call["sessionId"] = json!(session);
        }
        self.calls.send(call).context("the browser is gone")?;
        let mut answer = tokio::time::timeout(ANSWER, answer)
            .await
            .with_context(|| format!("{method}: no answer"))?
            .context("the browser is gone")?;
        match answer.pointer("/error/message") {
            Some(error) => bail!("{method}: {error}"),
            None => Ok(answer["result"].take()),
        }
    }

    pub(super) fn errors(&self, session: &str) -> Vec<String> {
        lock(&self.shared.errors).get(session).cloned().unwrap_or_default()
    }
}

impl Shared {
    fn receive(&self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return };
        if let Some(id) = message["id"].as_u64() {
            if let Some(sender) = lock(&self.waiting).remove(&id) {
                // Nobody waits any more: the call was given up.
                drop(sender.send(message));
            }
        } else if let (Some(session), Some(error)) =
            (message["sessionId"].as_str(), error_of(&message))
        {
            lock(&self.errors).entry(session.to_owned()).or_default().push(error);
        }
    }
}

/// The error that an event tells of, if it does.
fn error_of(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(describe_exception(&parameters["exceptionDetails"])),
        "Runtime.consoleAPICalled" if parameters["type"] == "error" => {
            let arguments = parameters["args"].as_array()?;
            Some(arguments.iter().map(describe).collect::<Vec<_>>().join(" "))
        }
        "Log.entryAdded" if parameters["entry"]["level"] == "error" => {
            let entry = &parameters["entry"];
            Some(format!("{} {}", describe(&entry["text"]), describe(&entry["url"])))
        }
        _ => None,
    }
}

/// Text of a thrown value.
pub(super) fn describe_exception(details: &Value) -> String {
    match &details["exception"] {
        Value::Null => describe(&details["text"]),
        exception => describe(exception),
    }
}

fn describe(value: &Value) -> String {
    let value = value.get("value").unwrap_or(value);
    let text = value.as_str().or_else(|| value["description"].as_str());
    text.map_or_else(|| value.to_string(), str::to_owned)
}

/// Plain maps: a panic elsewhere leaves them in order.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
