//! The talking: each function is one request or two, and none runs unless the connection is up, since a request that
//! waits in the client's queue would be carried out later, when it may be wrong.

use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::{self, stream::Config};

use crate::config::differences;
use crate::error::found;
use crate::{OWNER_KEY, Observed, Owner, Ownership, Plan, StreamError};

/// A connection that is being set up may take this long before we call NATS unreachable.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Stream metadata came with 2.10.
const LEAST_VERSION: (u64, u64) = (2, 10);

/// The stream as it is now; `None` when there is none.
///
/// # Errors
/// When NATS cannot be asked, or is too old to prove ownership.
pub async fn observe(client: &Client, stream: &str) -> Result<Option<Observed>, StreamError> {
    usable(client).await?;
    match jetstream::new(client.clone()).get_stream(stream).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone().into())),
        Err(error) => found(&error).map_or(Ok(None), Err),
    }
}

/// Carries out a plan, and returns the stream if it was touched. The server's echo is compared with what was asked
/// for: old servers drop what they do not know without a word.
///
/// # Errors
/// When NATS refuses or cannot be asked. A refused plan changes nothing and is no error here.
pub async fn apply(client: &Client, plan: &Plan) -> Result<Option<Observed>, StreamError> {
    let context = jetstream::new(client.clone());
    let (config, echo) = match plan {
        Plan::InSync | Plan::Refused(_) => return Ok(None),
        Plan::Create(config) => {
            usable(client).await?;
            let stream = context.create_stream((**config).clone()).await?;
            (config, stream.cached_info().clone())
        }
        Plan::Update { config, .. } => {
            usable(client).await?;
            (config, context.update_stream(&**config).await?)
        }
    };
    let observed = Observed::from(echo);
    let ignored: Vec<&str> =
        differences(&observed.config, config).iter().map(|change| change.field).collect();
    if ignored.is_empty() {
        Ok(Some(observed))
    } else {
        Err(StreamError::Ignored { fields: ignored.join(", ") })
    }
}

/// What became of a stream whose keeper goes.
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

/// Deletes a stream with all its messages, if it is ours.
///
/// # Errors
/// When NATS refuses or cannot be asked.
pub async fn delete_if_owned(
    client: &Client,
    stream: &str,
    owner: &Owner,
) -> Result<Ending, StreamError> {
    if let Err(ending) = ours(client, stream, owner).await? {
        return Ok(ending);
    }
    match jetstream::new(client.clone()).delete_stream(stream).await {
        Ok(_) => Ok(Ending::Deleted),
        Err(error) => found(&error).map_or(Ok(Ending::NotFound), Err),
    }
}

/// Gives up our claim on a stream, so that another may adopt it.
///
/// # Errors
/// When NATS refuses or cannot be asked.
pub async fn release(client: &Client, stream: &str, owner: &Owner) -> Result<Ending, StreamError> {
    let mut config = match ours(client, stream, owner).await? {
        Ok(config) => config,
        Err(ending) => return Ok(ending),
    };
    config.metadata.remove(OWNER_KEY);
    jetstream::new(client.clone()).update_stream(&config).await?;
    Ok(Ending::Released)
}

async fn ours(
    client: &Client,
    stream: &str,
    owner: &Owner,
) -> Result<Result<Config, Ending>, StreamError> {
    let Some(observed) = observe(client, stream).await? else { return Ok(Err(Ending::NotFound)) };
    match owner.of(&observed.config.metadata) {
        Ownership::Ours => Ok(Ok(observed.config)),
        _ => Ok(Err(Ending::NotOurs)),
    }
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
