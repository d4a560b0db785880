//! The pods' identity: without any right and without a token, since a gateway never talks to the Kubernetes API.

use k8s_openapi::api::core::v1::ServiceAccount;
use wsgateway_crds::ValidGateway;

use super::meta::{child_name, metadata};

pub(super) fn build(gateway: &ValidGateway) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(gateway, child_name(&gateway.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
