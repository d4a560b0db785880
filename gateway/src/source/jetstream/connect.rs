//! What happens to the connection, and what that means for the state of the source.

use wsgateway_config::JetStreamSource;
use wsgateway_nats::link::Dialer;
use wsgateway_nats::{Access, ConnectError, FailureKind, Notice};

use crate::source::status::{State, Status};

/// What to do about servers that never answered; of others it is known that the address is right.
const NOBODY: &str = "; trying again: start NATS with JetStream there, as with nats-server -js, or correct \
                      source.jetStream.servers (spec.nats.servers of the WsGateway)";

/// What connects for the reader; `status` is told whenever there is no connection.
pub(super) fn dialer(
    source: &JetStreamSource,
    name: &str,
    status: &Status,
) -> Result<Dialer, ConnectError> {
    let status = status.clone();
    Dialer::new(&Access::from(source), name, move |notice| on_notice(notice, &status))
}

fn on_notice(notice: Notice, status: &Status) {
    match notice {
        Notice::Connected => tracing::info!("connected to NATS"),
        Notice::Lost => {
            status.set(State::Connecting, Some("the connection to NATS was lost".to_owned()));
        }
        Notice::Failed(failure) => {
            let mut message = failure.message;
            if failure.kind == FailureKind::Unreachable && !status.is_known() {
                message.push_str(NOBODY);
            }
            status.set(state(failure.kind), Some(message));
        }
        Notice::LameDuck => {
            status.set(State::Connecting, Some("the NATS server is about to stop".to_owned()));
        }
        Notice::Complaint(complaint) => tracing::warn!(complaint, "NATS complains"),
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
