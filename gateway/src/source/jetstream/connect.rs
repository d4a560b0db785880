//! The connection to NATS, and what it means for the state of the source.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::{Access, ConnectError, Connection, FailureKind, Notice};

use crate::source::status::{State, Status};

/// What the server last complained about: a missing permission shows as silence otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaint(Arc<Mutex<Option<String>>>);

impl Complaint {
    fn note(&self, complaint: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
    }

    /// The last one; it is told once.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Starts connecting; `connected` is told each time a connection is up, `status` whenever there is none.
pub(super) async fn connect(
    source: &JetStreamSource,
    name: &str,
    status: &Status,
    connected: &Arc<Notify>,
    complaint: &Complaint,
) -> Result<Connection, ConnectError> {
    let (status, connected, complaint) = (status.clone(), Arc::clone(connected), complaint.clone());
    wsgateway_nats::connect(&Access::from(source), name, move |notice| {
        on_notice(notice, &connected, &status, &complaint);
    })
    .await
}

fn on_notice(notice: Notice, connected: &Notify, status: &Status, heard: &Complaint) {
    match notice {
        Notice::Connected => connected.notify_one(),
        Notice::Lost => {
            status.set(State::Connecting, Some("the connection to NATS was lost".to_owned()));
        }
        Notice::Failed(failure) => status.set(state(failure.kind), Some(failure.message)),
        Notice::LameDuck => tracing::info!("NATS is about to stop: connecting elsewhere"),
        Notice::Complaint(complaint) => {
            tracing::warn!(complaint, "NATS complains");
            heard.note(complaint);
        }
    }
}

/// Somebody has to do something about all but a server that does not answer.
fn state(kind: FailureKind) -> State {
    match kind {
        FailureKind::Credentials | FailureKind::Tls => State::Error,
        FailureKind::Authorization => State::Unauthorized,
        FailureKind::Unreachable => State::Connecting,
    }
}
