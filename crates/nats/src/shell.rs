//! The talking: each function is one request or two, and none runs unless the connection is up, since a request that
//! waits in the client's queue would be carried out later, when it may be wrong.

use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, ErrorCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::config::differences;
use crate::{
    OWNER_KEY, Observed, Owner, Ownership, Plan, RELEASED_BY_KEY, Settings, StreamError, epoch,
};

/// A connection that is being set up may take this long before we call NATS unreachable.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Stream metadata came with 2.10.
const LEAST_VERSION: (u64, u64) = (2, 10);

/// What became of a stream whose owner is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is gone, as asked.
    Deleted,
    /// It stays, and nobody claims it any more.
    Released,
    /// There was none.
    NotFound,
    /// It is not ours: untouched.
    NotOurs,
}

/// The streams of an account.
#[derive(Clone, Debug)]
pub struct Streams {
    client: Client,
    context: Context,
}

#[derive(Deserialize)]
struct Info {
    config: Settings,
    created: String,
    state: Counts,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    consumer_count: usize,
}

/// The body of a request without settings: nats-server takes `{}` for empty, but not `null`.
#[derive(Serialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Deleted {}

impl Streams {
    /// Asks through `client`; `api_prefix` is what the subjects of JetStream's API begin with. `None`: `$JS.API`.
    pub fn new(client: Client, api_prefix: Option<&str>) -> Self {
        let context = match api_prefix {
            Some(prefix) => jetstream::with_prefix(client.clone(), prefix),
            None => jetstream::new(client.clone()),
        };
        Self { client, context }
    }

    /// The stream as it is now; `None` when there is none.
    ///
    /// # Errors
    /// When NATS cannot be asked, or is too old to prove ownership.
    pub async fn observe(&self, stream: &str) -> Result<Option<Observed>, StreamError> {
        match self.request("INFO", stream, &Nothing {}).await? {
            Answer::Found(info) => observed(info).map(Some),
            Answer::NotFound => Ok(None),
        }
    }

    /// Carries out a plan, and returns the stream if it was touched. The server's echo is compared with what was asked
    /// for, since old servers drop what they do not know and report nothing. A stream that is taken over is claimed first;
    /// if somebody else claims it at the same moment, nothing else is changed in it.
    ///
    /// # Errors
    /// When NATS refuses or cannot be asked. A refused plan changes nothing and is no error here.
    pub async fn apply(&self, plan: &Plan) -> Result<Option<Observed>, StreamError> {
        let (verb, config) = match plan {
            Plan::Noop(_) | Plan::Refuse(_) => return Ok(None),
            Plan::Create(config) => ("CREATE", config),
            Plan::Update { config, .. } => ("UPDATE", config),
            Plan::StepWise { claim, config, .. } => {
                self.claim(claim).await?;
                ("UPDATE", config)
            }
        };
        let observed = self.send(verb, config).await?;
        let changes = differences(&observed.config, config);
        if changes.is_empty() { Ok(Some(observed)) } else { Err(StreamError::Ignored { changes }) }
    }

    /// Writes our mark, and makes sure that it stands.
    async fn claim(&self, claim: &Settings) -> Result<(), StreamError> {
        let ours = claim.metadata().remove(OWNER_KEY);
        self.send("UPDATE", claim).await?;
        let now = self.observe(claim.name()).await?;
        match now.and_then(|observed| observed.config.metadata().remove(OWNER_KEY)) {
            mark if mark == ours => Ok(()),
            mark => Err(StreamError::ClaimedByOther {
                owner: mark.unwrap_or_else(|| "nobody".to_owned()),
            }),
        }
    }

    /// Deletes a stream with all its messages, if it is ours.
    ///
    /// # Errors
    /// When NATS refuses or cannot be asked.
    pub async fn delete_if_owned(
        &self,
        stream: &str,
        owner: &Owner,
    ) -> Result<Ending, StreamError> {
        if let Err(ending) = self.ours(stream, owner).await? {
            return Ok(ending);
        }
        match self.request::<Deleted>("DELETE", stream, &Nothing {}).await? {
            Answer::Found(Deleted {}) => Ok(Ending::Deleted),
            Answer::NotFound => Ok(Ending::NotFound),
        }
    }

    /// Gives up our claim on a stream, so that another may adopt it. It remembers us: an object of our cluster, namespace
    /// and name gets it back. Its epoch stays.
    ///
    /// # Errors
    /// When NATS refuses or cannot be asked.
    pub async fn release(&self, stream: &str, owner: &Owner) -> Result<Ending, StreamError> {
        let mut config = match self.ours(stream, owner).await? {
            Ok(config) => config,
            Err(ending) => return Ok(ending),
        };
        config.forget(OWNER_KEY);
        config.note(RELEASED_BY_KEY, &owner.place());
        self.send("UPDATE", &config).await?;
        Ok(Ending::Released)
    }

    async fn ours(
        &self,
        stream: &str,
        owner: &Owner,
    ) -> Result<Result<Settings, Ending>, StreamError> {
        let Some(observed) = self.observe(stream).await? else {
            return Ok(Err(Ending::NotFound));
        };
        match owner.of(&observed.config.metadata()) {
            Ownership::Ours => Ok(Ok(observed.config)),
            _ => Ok(Err(Ending::NotOurs)),
        }
    }

    async fn send(&self, verb: &str, config: &Settings) -> Result<Observed, StreamError> {
        match self.request(verb, config.name(), config).await? {
            Answer::Found(info) => observed(info),
            Answer::NotFound => Err(StreamError::Temporary {
                answer: "the stream was deleted meanwhile".to_owned(),
            }),
        }
    }

    async fn request<T: DeserializeOwned>(
        &self,
        verb: &str,
        stream: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<Answer<T>, StreamError> {
        let in_names = |c: char| !c.is_whitespace() && !c.is_control() && !".*>".contains(c);
        if stream.is_empty() || !stream.chars().all(in_names) {
            return Err(StreamError::Refused {
                answer: format!("{stream:?} is no name of a stream"),
            });
        }
        usable(&self.client).await?;
        match self.context.request(format!("STREAM.{verb}.{stream}"), body).await? {
            Response::Ok(answer) => Ok(Answer::Found(answer)),
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(Answer::NotFound)
            }
            Response::Err { error } => Err(StreamError::from_answer(&error)),
        }
    }
}

/// What there is to say about a stream, or that there is none.
enum Answer<T> {
    Found(T),
    NotFound,
}

fn observed(info: Info) -> Result<Observed, StreamError> {
    let Info { config, created, state } = info;
    let created = async_nats::datetime::parse_rfc3339(&created).map_err(|error| {
        StreamError::Temporary { answer: format!("a time of creation that is none: {error}") }
    })?;
    Ok(Observed {
        epoch: epoch(&config.metadata(), created),
        messages: state.messages,
        bytes: state.bytes,
        first_sequence: state.first_seq,
        last_sequence: state.last_seq,
        consumers: state.consumer_count,
        config,
    })
}

/// Waits a little for a connection, and checks the server's version.
async fn usable(client: &Client) -> Result<(), StreamError> {
    let connected = async {
        while client.connection_state() != State::Connected {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected).await.map_err(|_late| StreamError::Unreachable)?;
    let version = client.server_info().version;
    if too_old(&version) { Err(StreamError::TooOld { version }) } else { Ok(()) }
}

/// Versions that cannot be read (of a fork, say) get the benefit of the doubt: the echo is compared anyway.
fn too_old(version: &str) -> bool {
    let mut numbers =
        version.trim_start_matches('v').split('.').map(|number| number.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < LEAST_VERSION,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_2_10_are_too_old() {
        for (version, old) in [
            ("2.9.25", true),
            ("1.4.1", true),
            ("2.10.0", false),
            ("3.0.0-RC.1", false),
            ("fork", false),
        ] {
            assert_eq!(too_old(version), old, "{version}");
        }
    }
}
