//! Publishes numbered messages of one run.

use anyhow::{Context, Result};
use async_nats::{ConnectOptions, jetstream};
use serde_json::json;

use super::Options;

/// A connection to NATS, and what is published over it.
pub(crate) struct Publisher {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    subject: String,
    run: u64,
}

impl Publisher {
    pub(crate) async fn connect(options: &Options, run: u64) -> Result<Self> {
        let mut connect = ConnectOptions::new();
        if let Some(creds) = &options.creds {
            connect = connect.credentials_file(creds).await.context("cannot read --creds")?;
        }
        if let Some(ca) = &options.ca {
            connect = connect.add_root_certificates(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&options.certificate, &options.key) {
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
        let client = connect.connect(&options.nats).await.context("cannot connect to NATS")?;
        let jetstream = jetstream::new(client.clone());
        Ok(Self { client, jetstream, subject: options.subject.clone(), run })
    }

    fn payload(&self, n: u64) -> Vec<u8> {
        let payload = json!({ "type": "price:update", "tokenId": "E2E", "run": self.run, "n": n });
        payload.to_string().into_bytes()
    }

    /// Without an acknowledgement: there may be no stream yet.
    pub(crate) async fn hint(&self, n: u64) -> Result<()> {
        self.client.publish(self.subject.clone(), self.payload(n).into()).await?;
        Ok(self.client.flush().await?)
    }

    /// Hands a message over to the stream; the future resolves when it is stored.
    pub(crate) async fn store(&self, n: u64) -> Result<jetstream::context::PublishAckFuture> {
        Ok(self.jetstream.publish(self.subject.clone(), self.payload(n).into()).await?)
    }
}
