//! JetStream's API under another prefix, with a test in between: an old server that ignores a field, or somebody who is
//! quicker. The server behind it is the real one.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::Nats;

/// What the subjects of the API begin with here.
const PREFIX: &str = "proxy.API";

/// A running proxy; dropping it ends it.
#[derive(Debug)]
pub struct ApiProxy {
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ApiProxy {
    /// `change` gets each request, such as `STREAM.UPDATE.ODIN`, with its body, and says which bodies are sent to the
    /// server, one after the other. The asker gets the answer to the first.
    ///
    /// # Errors
    /// When the server refuses the connection.
    pub async fn start(
        nats: &Nats,
        change: impl Fn(&str, Value) -> Vec<Value> + Send + 'static,
    ) -> Result<Self> {
        let client = nats.client().await?;
        let mut incoming = client.subscribe(format!("{PREFIX}.>")).await?;
        client.flush().await?;
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Some(message) = incoming.next().await {
                let Some(request) = message.subject.strip_prefix(&format!("{PREFIX}.")) else {
                    continue;
                };
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(request.to_owned());
                let body = serde_json::from_slice(&message.payload).unwrap_or_default();
                let mut answer = None;
                for body in change(request, body) {
                    // The server takes nothing for empty, but not null.
                    let body = if body.is_null() { String::new() } else { body.to_string() };
                    let sent = client.request(format!("$JS.API.{request}"), body.into()).await;
                    answer = answer.or(sent.ok());
                }
                if let (Some(reply), Some(answer)) = (message.reply, answer) {
                    drop(client.publish(reply, answer.payload).await);
                }
            }
        });
        Ok(Self { requests, task })
    }

    /// What `spec.nats.apiPrefix` is to be.
    #[must_use]
    pub const fn prefix(&self) -> &'static str {
        PREFIX
    }

    /// How many requests have begun so, such as `STREAM.UPDATE.`.
    #[must_use]
    pub fn count(&self, beginning: &str) -> usize {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|request| request.starts_with(beginning)).count()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
