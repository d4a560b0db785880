//! What a stream may have that we cannot work with. Everything else that it has is kept.

use serde_json::Value;
use wsgateway_config::StreamConfig;

use crate::{Refusal, Settings};

/// Why a stream cannot be read by more than one gateway.
pub(crate) fn to_read(config: &Settings) -> Option<Refusal> {
    match config.text("retention") {
        "" | "limits" => None,
        retention => Some(Refusal::ReadOnce { retention: retention.to_owned() }),
    }
}

/// Why a stream cannot be made as declared without losing what it is.
pub(crate) fn to_keep(config: &Settings, desired: &StreamConfig) -> Option<Refusal> {
    if let Some(mirror) = config.object("mirror") {
        let name = mirror.get("name").and_then(Value::as_str).unwrap_or_default();
        return Some(Refusal::FedByOthers { field: format!("mirror {name}") });
    }
    // With subjects of its own it takes messages from publishers too, and may go on doing so.
    if config.lists("sources") && config.subjects().is_empty() {
        return Some(Refusal::FedByOthers { field: "sources".to_owned() });
    }
    if config.flag("discard_new_per_subject") && desired.max_messages_per_subject == 0 {
        return Some(Refusal::Conflict {
            field: "discard_new_per_subject",
            why: "needs a limit for each subject",
            advice: "set stream.maxMessagesPerSubject, or switch discard_new_per_subject off",
        });
    }
    None
}
