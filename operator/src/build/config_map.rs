//! The gateway's configuration as a file.

use k8s_openapi::api::core::v1::ConfigMap;
use wsgateway_crds::ValidGateway;

use super::meta::{config_name, metadata};

/// Key of the file.
pub(super) const FILE: &str = "gateway.yaml";

pub(super) fn build(gateway: &ValidGateway, text: &str) -> ConfigMap {
    ConfigMap {
        metadata: metadata(gateway, config_name(&gateway.name)),
        data: Some([(FILE.to_owned(), text.to_owned())].into()),
        ..ConfigMap::default()
    }
}
