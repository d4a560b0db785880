//! The stream `ODIN`, created and kept as the operator and `wsgw dev` do it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use async_nats::{Client, jetstream};
use serde_json::{Value, json};
use wsgateway_config::{Compression, Millis, Storage, StreamConfig};
use wsgateway_nats::{
    Adoption, Claim, Ending, Observed, Owner, Plan, Refusal, StreamError, Streams, fresh_epoch,
    plan,
};

use crate::Nats;

/// The stream's name.
pub const NAME: &str = "ODIN";
/// Longest wait for something that takes a moment.
pub const SOON: Duration = Duration::from_secs(60);

/// The stream that is declared.
pub fn desired() -> StreamConfig {
    StreamConfig {
        name: NAME.into(),
        subjects: vec!["odin.>".into()],
        max_age: Millis::from_secs(3600),
        max_messages: 1000,
        max_bytes: 1 << 20,
        max_message_size: 0,
        max_messages_per_subject: 0,
        storage: Storage::File,
        replicas: 1,
        duplicate_window: Millis::from_secs(30),
        compression: Compression::None,
    }
}

/// A stream of the same name in the words of JetStream's API, as somebody else may have created it.
fn theirs() -> Value {
    json!({
        "name": NAME, "subjects": ["odin.>"], "retention": "limits", "storage": "file", "num_replicas": 1,
        "max_msgs": 10, "max_bytes": -1, "max_age": 0, "max_consumers": -1, "discard": "old",
    })
}

/// The owner of the stream.
#[derive(Debug)]
pub struct Keeper {
    /// What reads and changes streams.
    pub streams: Streams,
    /// Who owns the stream.
    pub owner: Owner,
}

impl Keeper {
    /// A keeper with a connection of its own.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn of(nats: &Nats) -> Result<Self> {
        Ok(Self::with(nats.client().await?))
    }

    /// A keeper that uses this client.
    pub fn with(client: Client) -> Self {
        let owner = Owner::new("prod", "trading", "odin", "1-2-3");
        Self { streams: Streams::new(client, None), owner }
    }

    /// The plan for the stream as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn plan(
        &self,
        desired: &StreamConfig,
        adoption: Adoption,
    ) -> Result<Plan, StreamError> {
        let observed = self.streams.observe(&desired.name).await?;
        // Whatever the random numbers: two calls within a millisecond differ, too.
        let fresh = fresh_epoch(SystemTime::now(), RandomState::new().build_hasher().finish());
        Ok(plan(desired, &Claim::new(&self.owner, adoption), observed.as_ref(), &fresh))
    }

    /// Plans and applies; returns the plan.
    ///
    /// # Errors
    /// When the stream cannot be read or changed.
    pub async fn keep(
        &self,
        desired: &StreamConfig,
        adoption: Adoption,
    ) -> Result<Plan, StreamError> {
        let plan = self.plan(desired, adoption).await?;
        self.streams.apply(&plan).await?;
        Ok(plan)
    }

    /// Keeps the stream, and makes sure that there is nothing to do any more.
    ///
    /// # Errors
    /// When it is refused, or a second plan is not empty.
    pub async fn settle(&self, desired: &StreamConfig, adoption: Adoption) -> Result<Observed> {
        let plan = self.keep(desired, adoption).await?;
        ensure!(!matches!(plan, Plan::Refuse(_)), "{plan:?}");
        let again = self.plan(desired, adoption).await?;
        ensure!(again == Plan::Noop(Vec::new()), "after {plan:?} there is still {again:?}");
        self.observed().await
    }

    /// The stream as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub async fn observed(&self) -> Result<Observed> {
        self.streams.observe(NAME).await?.context("there is no stream")
    }

    /// Why the stream is not kept.
    ///
    /// # Errors
    /// When it is.
    pub async fn refusal(&self, desired: &StreamConfig, adoption: Adoption) -> Result<Refusal> {
        match self.keep(desired, adoption).await? {
            Plan::Refuse(refusal) => Ok(refusal),
            plan => anyhow::bail!("not refused: {plan:?}"),
        }
    }

    /// Gives the stream up.
    ///
    /// # Errors
    /// When it is not this keeper's.
    pub async fn release(&self) -> Result<()> {
        let ending = self.streams.release(NAME, &self.owner).await?;
        ensure!(ending == Ending::Released, "{ending:?}");
        Ok(())
    }
}

/// A request to JetStream's API in its own words.
///
/// # Errors
/// When it is refused.
pub async fn api(client: &Client, subject: &str, body: &Value) -> Result<Value> {
    let answer: Value = jetstream::new(client.clone()).request(subject.to_owned(), body).await?;
    ensure!(answer.get("error").is_none(), "{subject}: {answer}");
    Ok(answer)
}

/// Creates the stream as somebody else would, with changes.
///
/// # Errors
/// When it is refused.
pub async fn make(client: &Client, changes: &Value) -> Result<Value> {
    let mut config = theirs();
    for (field, value) in changes.as_object().into_iter().flatten() {
        config[field] = value.clone();
    }
    let name = config["name"].as_str().unwrap_or_default();
    api(client, &format!("STREAM.CREATE.{name}"), &config).await
}

/// The stream's configuration in the server's words.
///
/// # Errors
/// When there is no stream.
pub async fn config(client: &Client) -> Result<Value> {
    Ok(api(client, &format!("STREAM.INFO.{NAME}"), &Value::Null).await?["config"].clone())
}

/// Publishes to the stream, one message after the other.
///
/// # Errors
/// When a message is not stored.
pub async fn publish(client: &Client, messages: usize) -> Result<()> {
    let jetstream = jetstream::new(client.clone());
    for n in 0..messages {
        jetstream.publish("odin.a", n.to_string().into()).await?.await?;
    }
    Ok(())
}
