//! Where messages come from on this machine: the user's NATS server, one of our own, or this process.

use async_nats::jetstream;
use wsgateway_config::{JetStreamSource, MemorySource, Source as ConfigSource, StreamConfig};
use wsgateway_crds::ValidGateway;

use super::nats_server::{self, NatsServer, NatsServerError};
use super::publish::Target;
use crate::error::Error;

/// The source, and what it takes to keep it alive.
pub(super) enum Source {
    /// The user's server.
    Given { url: String, client: async_nats::Client, stream: String },
    /// A server that ends with us.
    Own { server: NatsServer, client: async_nats::Client, version: String, stream: String },
    /// No server at all.
    Memory,
}

impl Source {
    /// Opens the best source there is and makes the stream.
    pub(super) async fn open(given: Option<&str>, gateway: &ValidGateway) -> Result<Self, Error> {
        let stream = gateway.stream.name.clone();
        if let Some(url) = given {
            let client = make_stream(url, gateway, &gateway.stream).await?;
            return Ok(Self::Given { url: url.to_owned(), client, stream });
        }
        let Some(found) = nats_server::find()? else { return Ok(Self::Memory) };
        let server = NatsServer::start(&found.program).await?;
        // One server cannot hold three copies.
        let alone = StreamConfig { replicas: 1, ..gateway.stream.clone() };
        let client = make_stream(&server.url, gateway, &alone).await?;
        Ok(Self::Own { server, client, version: found.version, stream })
    }

    /// What the gateway is to read.
    pub(super) fn for_gateway(&self, stream: &str) -> ConfigSource {
        let url = match self {
            Self::Given { url, .. } => url,
            Self::Own { server, .. } => &server.url,
            Self::Memory => return ConfigSource::Memory(MemorySource {}),
        };
        ConfigSource::JetStream(JetStreamSource { servers: vec![url.clone()], stream: stream.to_owned() })
    }

    /// Where the market publishes; None when that is the gateway itself.
    pub(super) fn target(&self) -> Option<Target> {
        let client = match self {
            Self::Given { client, .. } | Self::Own { client, .. } => client.clone(),
            Self::Memory => return None,
        };
        let context = jetstream::ContextBuilder::new().max_ack_inflight(2 * super::publish::UNCONFIRMED).build(client);
        Some(Target::JetStream(context))
    }

    /// One line for the screen.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Given { url, stream, .. } => format!("stream {stream} on {url}"),
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
