//! The identity of this cluster in the marks of streams: what `--cluster` says, or the UID of the namespace kube-system,
//! which no two clusters share and which lives as long as its cluster.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::sync::OnceCell;
use wsgateway_nats::UNNAMED_CLUSTER;

const NAMESPACE: &str = "kube-system";

/// Found once, when it is first needed.
#[derive(Debug)]
pub(crate) struct Identity {
    given: Option<String>,
    found: OnceCell<String>,
}

/// Why the cluster has no identity. Without one no stream is claimed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NoIdentity {
    /// Whether asking again may help.
    pub(crate) retry: bool,
    message: String,
}

impl Identity {
    /// `given`: what `--cluster` says. The name that earlier versions gave to every cluster counts as none.
    pub(crate) fn new(given: Option<&str>) -> Self {
        let given = given.filter(|name| *name != UNNAMED_CLUSTER).map(str::to_owned);
        Self { given, found: OnceCell::new() }
    }

    /// The identity.
    pub(crate) async fn cluster(&self, client: &Client) -> Result<&str, NoIdentity> {
        match &self.given {
            Some(name) => Ok(name),
            None => Ok(self.found.get_or_try_init(|| uid(client)).await?),
        }
    }
}

async fn uid(client: &Client) -> Result<String, NoIdentity> {
    let api: Api<Namespace> = Api::all(client.clone());
    match api.get_metadata(NAMESPACE).await {
        Ok(namespace) => namespace.metadata.uid.ok_or_else(|| NoIdentity {
            retry: true,
            message: format!("the API server gave no UID of the namespace {NAMESPACE}"),
        }),
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
            Err(NoIdentity {
                retry: false,
                message: format!(
                    "the operator may not read the namespace {NAMESPACE}, whose UID tells this cluster from others that \
                     share the NATS: start it with --cluster NAME (in the chart operator.clusterName), or let it get that \
                     namespace; a name that was given once must not change"
                ),
            })
        }
        Err(error) => Err(NoIdentity {
            retry: true,
            message: format!("the API server did not give the namespace {NAMESPACE}: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_every_cluster_is_the_name_of_none() {
        assert_eq!(Identity::new(Some("prod")).given.as_deref(), Some("prod"));
        assert_eq!(Identity::new(Some("default")).given, None);
        assert_eq!(Identity::new(None).given, None);
    }
}
