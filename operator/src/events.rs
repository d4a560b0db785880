//! Events on a WsGateway: one per transition, never one per look.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::FIELD_MANAGER;

/// Longest note that the API server takes.
const LONGEST_NOTE: usize = 1_000;

/// Publishes events.
#[derive(Clone)]
pub(crate) struct Events(Recorder);

impl Events {
    pub(crate) fn new(client: kube::Client) -> Self {
        Self(Recorder::new(
            client,
            Reporter { controller: FIELD_MANAGER.to_owned(), instance: None },
        ))
    }

    /// Tells; that it cannot be told is no reason to stop.
    pub(crate) async fn tell(
        &self,
        gateway: &impl Resource<DynamicType = ()>,
        good: bool,
        reason: &str,
        note: &str,
    ) {
        let mut end = note.len().min(LONGEST_NOTE);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        let event = Event {
            type_: if good { EventType::Normal } else { EventType::Warning },
            reason: reason.to_owned(),
            note: Some(note[..end].to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &gateway.object_ref(&())).await {
            tracing::warn!(%error, reason, "cannot publish an event");
        }
    }
}
