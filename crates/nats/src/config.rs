//! Our stream in NATS' own words, and where two of them differ.

use std::time::Duration;

use wsgateway_config::{Compression, Storage, StreamConfig};

use crate::epoch::is_epoch;
use crate::{Change, EPOCH_KEY, OWNER_KEY, Observed, Owner, RELEASED_BY_KEY, Settings};

/// What is not declared and not ours to change in a stream that exists, such as what happens when it is full: publishers
/// may rely on it.
const ON_CREATION: [(&str, &str); 1] = [("discard", "old")];

/// The configuration that we want: what is declared, the owner and the epoch, over what else the stream has (placement,
/// say), which is not ours to change. `fresh` is the epoch of a stream that does not exist yet.
pub(crate) fn wanted(
    desired: &StreamConfig,
    owner: &Owner,
    existing: Option<&Observed>,
    fresh: &str,
) -> Settings {
    let mut config = match existing {
        Some(observed) => observed.config.clone(),
        None => {
            let mut config = Settings::default();
            ON_CREATION.iter().for_each(|(field, value)| config.set(field, *value));
            config
        }
    };
    config.set("name", desired.name.as_str());
    config.set("subjects", desired.subjects.clone());
    config.set("max_age", nanoseconds(desired.max_age.into()));
    config.set("max_msgs", limit(desired.max_messages));
    config.set("max_bytes", limit(desired.max_bytes));
    // A 32-bit number on the other side.
    let size = i32::try_from(desired.max_message_size).unwrap_or(i32::MAX);
    config.set("max_msg_size", if size == 0 { -1 } else { size });
    config.set("max_msgs_per_subject", limit(desired.max_messages_per_subject));
    config.set("storage", storage(desired.storage));
    config.set("num_replicas", desired.replicas);
    config.set("duplicate_window", nanoseconds(desired.duplicate_window.into()));
    config.set("compression", compression(desired.compression));
    // Under any other policy messages vanish once they are read.
    config.set("retention", "limits");
    // Gateways read single messages from any replica.
    config.set("allow_direct", true);
    // Of a stream that exists the epoch that its readers know already.
    claimed(&config, owner, existing.map_or(fresh, |observed| &observed.epoch))
}

/// The same configuration with our mark, and with this epoch unless it has one.
pub(crate) fn claimed(config: &Settings, owner: &Owner, epoch: &str) -> Settings {
    let mut config = config.clone();
    config.note(OWNER_KEY, &owner.to_string());
    config.forget(RELEASED_BY_KEY);
    let noted = config.metadata().get(EPOCH_KEY).is_some_and(|epoch| is_epoch(epoch));
    if !noted {
        config.note(EPOCH_KEY, epoch);
    }
    config
}

fn storage(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::S2 => "s2",
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// NATS writes "unlimited" as -1.
fn limit(number: u64) -> i64 {
    if number == 0 { -1 } else { i64::try_from(number).unwrap_or(i64::MAX) }
}

/// Name of a field as in the manifest, and its value as text.
type Field = (&'static str, fn(&Settings) -> String);

const FIELDS: [Field; 14] = [
    ("subjects", |config| config.subjects().into_iter().collect::<Vec<_>>().join(" ")),
    ("maxAge", |config| duration(config, "max_age")),
    ("maxMessages", |config| unlimited(config, "max_msgs")),
    ("maxBytes", |config| unlimited(config, "max_bytes")),
    ("maxMessageSize", |config| unlimited(config, "max_msg_size")),
    ("maxMessagesPerSubject", |config| unlimited(config, "max_msgs_per_subject")),
    ("storage", |config| choice(config, "storage", "file")),
    ("replicas", |config| config.number("num_replicas").max(1).to_string()),
    ("duplicateWindow", |config| duration(config, "duplicate_window")),
    ("compression", |config| choice(config, "compression", "none")),
    ("retention", |config| choice(config, "retention", "limits")),
    ("directGet", |config| config.flag("allow_direct").to_string()),
    ("owner", |config| noted(config, OWNER_KEY)),
    ("epoch", |config| noted(config, EPOCH_KEY)),
];

impl Settings {
    /// Fields that a manifest declares or that we set, by the names that they have in a manifest, with their values as text.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        FIELDS.into_iter().map(|(field, value)| (field, value(self))).collect()
    }
}

/// Every declared field in which `from` is not `to`.
pub(crate) fn differences(from: &Settings, to: &Settings) -> Vec<Change> {
    FIELDS
        .into_iter()
        .map(|(field, value)| Change { field, from: value(from), to: value(to) })
        .filter(|change| change.from != change.to)
        .collect()
}

fn unlimited(config: &Settings, field: &str) -> String {
    match config.number(field) {
        number if number <= 0 => "unlimited".to_owned(),
        number => number.to_string(),
    }
}

fn duration(config: &Settings, field: &str) -> String {
    format!("{:?}", Duration::from_nanos(u64::try_from(config.number(field)).unwrap_or_default()))
}

/// One of NATS' words, which begins with a capital in the manifest.
fn choice(config: &Settings, field: &str, usual: &str) -> String {
    let word = match config.text(field) {
        "" => usual,
        word => word,
    };
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn noted(config: &Settings, key: &str) -> String {
    config.metadata().remove(key).unwrap_or_default()
}
