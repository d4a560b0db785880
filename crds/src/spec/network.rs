//! Who may connect, where the operator makes NetworkPolicies.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Who may connect to listener.port. Counts where the operator makes NetworkPolicies (--network-policies) and the
/// cluster's network enforces them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Networks that clients come from, as 10.0.0.0/8 or fd00::/8 (at most 32). Default, with clientNamespaces: everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::networks")]
    pub client_networks: Vec<String>,
    /// Namespaces whose pods may connect, such as that of an ingress controller (at most 32). Default, with clientNetworks:
    /// everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::namespaces")]
    pub client_namespaces: Vec<String>,
}
