//! The servers of one round.

use std::ops::Deref;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use harness::{ControlPlane, Nats};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client, CustomResourceExt as _};
use serde_json::json;
use wsgateway_crds::WsGateway;

/// Requests of ours at a time.
pub const AT_ONCE: usize = 8;
/// The Secret with a token that sound WsGateways may name.
pub const SECRET: &str = "nats-token";

/// A control plane, of this round alone or of the whole program.
#[derive(Debug)]
pub enum Plane {
    /// Ends with the round.
    Own(Box<ControlPlane>),
    /// Others use it, too.
    Shared(&'static ControlPlane),
}

impl Plane {
    /// A new one.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start() -> Result<Self> {
        Ok(Self::Own(Box::new(ControlPlane::start().await?)))
    }

    /// Whether others use it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::Own(plane) => plane,
            Self::Shared(plane) => plane,
        }
    }
}

/// A control plane with namespaces, and a NATS.
pub struct Environment {
    /// The API server and its controllers.
    pub plane: Plane,
    /// The administrator's client.
    pub client: Client,
    /// For WsGateways; each has the Secret [`SECRET`].
    pub namespaces: Vec<String>,
    /// With JetStream, open to everybody.
    pub nats: Nats,
}

impl Environment {
    /// With this many namespaces whose names begin with `prefix`.
    ///
    /// # Errors
    /// When a server does not start.
    pub async fn start(plane: Plane, prefix: &str, namespaces: usize) -> Result<Self> {
        plane.apply_crd(&WsGateway::crd()).await?;
        let client = plane.client().await?;
        let nats = Nats::start().await?;
        let names = stream::iter(0..namespaces.max(1))
            .map(|_| plane.namespace(prefix))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<String>>()
            .await?;
        for namespace in &names {
            let secret: Secret = serde_json::from_value(json!({
                "metadata": { "name": SECRET, "labels": { wsgateway_crds::SECRET_ALLOW: "true" } },
                "stringData": { "token": "open to everybody" },
            }))?;
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            api.create(&PostParams::default(), &secret).await?;
        }
        Ok(Self { plane, client, namespaces: names, nats })
    }

    /// The namespace of the WsGateway with this number.
    #[must_use]
    pub fn namespace_of(&self, number: usize) -> &str {
        &self.namespaces[number % self.namespaces.len()]
    }
}
