//! Our stream in NATS' own words, and where two of them differ.

use std::collections::BTreeSet;

use async_nats::jetstream::stream::{
    Compression as NatsCompression, Config, DiscardPolicy, RetentionPolicy, StorageType,
};
use wsgateway_config::{Compression, Storage, StreamConfig};

use crate::{Change, OWNER_KEY, Owner};

/// The configuration that we want: what is declared and the owner, over what else the stream has (placement, say),
/// which is not ours to change.
pub(crate) fn wanted(desired: &StreamConfig, owner: &Owner, existing: Option<&Config>) -> Config {
    let mut config = existing.cloned().unwrap_or_default();
    config.name.clone_from(&desired.name);
    config.subjects.clone_from(&desired.subjects);
    config.max_age = desired.max_age.into();
    config.max_messages = limit(desired.max_messages);
    config.max_bytes = limit(desired.max_bytes);
    config.max_message_size = match desired.max_message_size {
        0 => -1,
        size => i32::try_from(size).unwrap_or(i32::MAX),
    };
    config.max_messages_per_subject = limit(desired.max_messages_per_subject);
    config.storage = match desired.storage {
        Storage::File => StorageType::File,
        Storage::Memory => StorageType::Memory,
    };
    config.num_replicas = usize::from(desired.replicas);
    config.duplicate_window = desired.duplicate_window.into();
    config.compression = Some(match desired.compression {
        Compression::None => NatsCompression::None,
        Compression::S2 => NatsCompression::S2,
    });
    config.retention = RetentionPolicy::Limits;
    // Old messages go, publishers never wait for readers.
    config.discard = DiscardPolicy::Old;
    // Gateways read single messages from any replica.
    config.allow_direct = true;
    config.metadata.insert(OWNER_KEY.to_owned(), owner.to_string());
    config
}

/// NATS writes "unlimited" as -1.
fn limit(number: u64) -> i64 {
    if number == 0 { -1 } else { i64::try_from(number).unwrap_or(i64::MAX) }
}

/// Name of a declared field, and its value as text.
type Field = (&'static str, fn(&Config) -> String);

/// Every declared field in which `from` is not `to`.
pub(crate) fn differences(from: &Config, to: &Config) -> Vec<Change> {
    let fields: [Field; 14] = [
        ("subjects", |config| {
            config
                .subjects
                .iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        }),
        ("maxAge", |config| format!("{:?}", config.max_age)),
        ("maxMessages", |config| unlimited(config.max_messages)),
        ("maxBytes", |config| unlimited(config.max_bytes)),
        ("maxMessageSize", |config| unlimited(i64::from(config.max_message_size))),
        ("maxMessagesPerSubject", |config| unlimited(config.max_messages_per_subject)),
        ("storage", |config| format!("{:?}", config.storage)),
        ("replicas", |config| config.num_replicas.to_string()),
        ("duplicateWindow", |config| format!("{:?}", config.duplicate_window)),
        ("compression", |config| {
            format!("{:?}", config.compression.as_ref().unwrap_or(&NatsCompression::None))
        }),
        ("retention", |config| format!("{:?}", config.retention)),
        ("discard", |config| format!("{:?}", config.discard)),
        ("directGet", |config| config.allow_direct.to_string()),
        ("owner", |config| config.metadata.get(OWNER_KEY).cloned().unwrap_or_default()),
    ];
    fields
        .into_iter()
        .map(|(field, value)| Change { field, from: value(from), to: value(to) })
        .filter(|change| change.from != change.to)
        .collect()
}

fn unlimited(number: i64) -> String {
    if number <= 0 { "unlimited".to_owned() } else { number.to_string() }
}
