//! Where messages come from on this machine: the user's NATS server, one of our own, or this process.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::jetstream;
use wsgateway_config::{JetStreamSource, MemorySource, Source as ConfigSource, StreamConfig};
use wsgateway_crds::{AdoptionPolicy, ValidGateway};
use wsgateway_nats::{Access, Adoption, FailureKind, Notice, Owner, Plan, StreamError};

use super::nats_server::{self, NatsServer, NatsServerError};
use super::publish::Target;
use crate::error::Error;

/// The source, and what it takes to keep it alive.
pub(super) enum Source {
    /// The user's server.
    Given { source: JetStreamSource, client: async_nats::Client },
    /// A server that ends with us.
    Own { server: NatsServer, client: async_nats::Client, version: String, stream: String },
    /// No server at all.
    Memory,
}

impl Source {
    /// Opens the best source there is and makes the stream.
    pub(super) async fn open(
        given: Option<JetStreamSource>,
        gateway: &ValidGateway,
    ) -> Result<Self, Error> {
        if let Some(source) = given {
            let client = make_stream(&source, gateway, &gateway.stream).await?;
            return Ok(Self::Given { source, client });
        }
        let stream = gateway.stream.name.clone();
        let Some(found) = nats_server::find()? else { return Ok(Self::Memory) };
        let server = NatsServer::start(&found.program).await?;
        // One server cannot hold three copies.
        let alone = StreamConfig { replicas: 1, ..gateway.stream.clone() };
        let source = JetStreamSource::new(vec![server.url.clone()], &stream);
        let client = make_stream(&source, gateway, &alone).await?;
        Ok(Self::Own { server, client, version: found.version, stream })
    }

    /// What the gateway is to read.
    pub(super) fn for_gateway(&self, stream: &str) -> ConfigSource {
        match self {
            Self::Given { source, .. } => ConfigSource::JetStream(source.clone()),
            Self::Own { server, .. } => {
                ConfigSource::JetStream(JetStreamSource::new(vec![server.url.clone()], stream))
            }
            Self::Memory => ConfigSource::Memory(MemorySource {}),
        }
    }

    /// Where the market publishes; None when that is the gateway itself.
    pub(super) fn target(&self) -> Option<Target> {
        let client = match self {
            Self::Given { client, .. } | Self::Own { client, .. } => client.clone(),
            Self::Memory => return None,
        };
        let context = jetstream::ContextBuilder::new()
            .max_ack_inflight(2 * super::publish::UNCONFIRMED)
            .build(client);
        Some(Target::JetStream(Box::new(context)))
    }

    /// One line for the screen.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Given { source, .. } => {
                format!("stream {} on {}", source.stream, source.servers.join(", "))
            }
            Self::Own { server, version, stream, .. } => {
                format!("stream {stream} on a nats-server {version} of our own at {}, with a temporary store", server.url)
            }
            Self::Memory => {
                "this process: no nats-server 2.10 or newer was found (install one, run make tools, or use --nats URL)"
                    .to_owned()
            }
        }
    }

    /// Waits for our own server to end by itself; for ever with any other source.
    pub(super) async fn ended(&self) -> NatsServerError {
        match self {
            Self::Own { server, .. } => server.ended().await,
            Self::Given { .. } | Self::Memory => std::future::pending().await,
        }
    }
}

/// Makes the stream as the manifest declares it, or changes it to that, under the rules that the operator follows.
async fn make_stream(
    source: &JetStreamSource,
    gateway: &ValidGateway,
    desired: &StreamConfig,
) -> Result<async_nats::Client, Error> {
    let url = source.servers.join(", ");
    let trouble = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&trouble);
    let access = Access::from(source);
    let connection = wsgateway_nats::connect(&access, "wsgw dev", move |notice| {
        if let Notice::Failed(failure) = notice
            && failure.kind != FailureKind::Unreachable
        {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.message);
        }
    });
    let client = connection.await?.client;
    let failed = |source| match source {
        StreamError::Unreachable => {
            match trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(trouble) => Error::Refusing { trouble },
                None => Error::Unreachable { url: url.clone() },
            }
        }
        source => Error::Stream { stream: desired.name.clone(), url: url.clone(), source },
    };
    // The same in every run, so that the next one finds its stream again.
    let owner = Owner::new("wsgw-dev", &gateway.namespace, &gateway.name, "dev");
    let adoption = match gateway.adoption {
        AdoptionPolicy::Fail => Adoption::Fail,
        AdoptionPolicy::Adopt => Adoption::Adopt,
    };
    let observed = wsgateway_nats::observe(&client, &desired.name).await.map_err(failed)?;
    let plan = wsgateway_nats::plan(desired, &owner, adoption, observed.as_ref());
    if let Plan::Refused(refusal) = plan {
        return Err(Error::Refused { stream: desired.name.clone(), url, refusal });
    }
    wsgateway_nats::apply(&client, &plan).await.map_err(failed)?;
    Ok(client)
}
