//! The gateway's configuration as two files. What needs a new process is in an immutable ConfigMap, one for each version
//! of it, so that pods of an older version keep theirs; what a running gateway takes up is in one that changes.

use k8s_openapi::api::core::v1::ConfigMap;
use wsgateway_config::{Parts, fingerprint};
use wsgateway_crds::ValidGateway;

use super::meta::{CONFIG_LABEL, config_name, live_name, metadata};

/// Keys of the files.
pub(super) const FILE: &str = "gateway.yaml";
pub(super) const LIVE_FILE: &str = "live.yaml";

/// Digits of a version: enough to tell the few that exist at a time apart.
const VERSION_DIGITS: usize = 8;

/// The version of the restart part.
pub(super) fn version(parts: &Parts) -> String {
    let mut version = fingerprint(&[&parts.restart]);
    version.truncate(VERSION_DIGITS);
    version
}

/// The restart part.
pub(super) fn restart(gateway: &ValidGateway, parts: &Parts) -> ConfigMap {
    let version = version(parts);
    let mut metadata = metadata(gateway, config_name(&gateway.name, &version));
    metadata.labels.get_or_insert_default().insert(CONFIG_LABEL.to_owned(), version);
    ConfigMap {
        metadata,
        immutable: Some(true),
        data: Some([(FILE.to_owned(), parts.restart.clone())].into()),
        ..ConfigMap::default()
    }
}

/// The live part.
pub(super) fn live(gateway: &ValidGateway, parts: &Parts) -> ConfigMap {
    ConfigMap {
        metadata: metadata(gateway, live_name(&gateway.name)),
        data: Some([(LIVE_FILE.to_owned(), parts.live.clone())].into()),
        ..ConfigMap::default()
    }
}
