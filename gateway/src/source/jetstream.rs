//! JetStream, with our own position: the consumer is disposable, the cursor is ours.
//!
//! One ephemeral push consumer per process, always created to start right after our cursor. Whatever goes wrong
//! (silence, a hole in its deliveries, a new connection, a deleted consumer) has the same answer: delete it and create
//! another one. Flow control bounds what the server sends ahead of us, so a slow gateway holds messages back in the
//! stream. With `rateLimits` the consumer is asked for what the limits let through ([`pull`]), and the rest waits there.

mod api_link;
mod connect;
mod control;
mod identity;
mod lookup;
mod message;
mod pull;
mod read;
mod session;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::Notice;
use wsgateway_nats::jetstream::Api;
use wsgateway_nats::link::{Dialer, Lost};

use api_link::ApiLink;
use control::SILENCE;
use identity::Identity;
pub(crate) use identity::Life;
pub(crate) use lookup::seed::{Asked, Seed};
pub(crate) use lookup::{Askers, look_up};

use super::position::Cursor;
use super::status::State;
use super::{Sink, ack};

/// Pause between two attempts, from the first to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Time to delete the consumer when the process stops; the server deletes it a moment later otherwise.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a consumer was given up. Each is tried again; the name is logged.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("the server is about to stop")]
    LameDuck,
    #[error("no sign of life from the consumer for {} s", SILENCE.as_secs())]
    Silent,
    #[error("a delivery is missing: expected {expected} of the consumer, got {got}")]
    Hole { expected: u64, got: u64 },
    #[error("what was to be read back was discarded meanwhile")]
    Emptied,
    #[error("the last message that was read is another one now")]
    Replaced,
    #[error(
        "the stream {0} does not exist: an operator creates it for its WsGateway; without one create it, as with nats stream \
         add {0} --subjects SUBJECTS --defaults, and it is read within seconds"
    )]
    NoStream(String),
    #[error("the limits of the stream have changed")]
    OtherLimits,
    #[error("the server delivers nothing: {0}")]
    Pull(String),
    #[error("cannot {what}: {why}")]
    Refused { what: &'static str, why: String },
}

/// Asks for last values that wait to be looked at: one, and a newer one of a reader that began again.
pub(crate) const SEEDS: usize = 2;

/// How a reader starts.
#[derive(Debug)]
pub(crate) struct Start {
    /// Shared with those who look up what is older.
    pub life: Life,
    /// Where to ask for the last values from before those.
    pub seeds: mpsc::Sender<Asked>,
}

/// Reads the stream until cancelled, through every loss of the connection.
pub(crate) async fn run(
    source: JetStreamSource,
    name: String,
    Start { life, seeds }: Start,
    sink: Sink,
    stop: CancellationToken,
) {
    let dialer = match connect::dialer(&source, &name, &sink.status) {
        Ok(dialer) => dialer,
        // The addresses were never usable; say so until somebody changes the configuration.
        Err(error) => return sink.status.set(State::Error, Some(error.to_string())),
    };
    let mut reader = Reader {
        api: Api::new(&*source.api_prefix),
        dialer,
        consumer: Consumer::new(&name),
        source,
        seeds,
        sink,
        cursor: None,
        identity: Identity::new(life),
    };
    let mut link = None;
    stop.run_until_cancelled(Box::pin(reader.run(&mut link))).await;
    // An error is a server that is away: it deletes the consumer by itself.
    let _late = tokio::time::timeout(GOODBYE, reader.goodbye(link)).await;
}

/// Owner of the position in the stream.
struct Reader {
    api: Api,
    dialer: Dialer,
    source: JetStreamSource,
    seeds: mpsc::Sender<Asked>,
    sink: Sink,
    cursor: Option<Cursor>,
    identity: Identity,
    consumer: Consumer,
}

/// The one consumer of this process.
struct Consumer {
    /// The process' name, and a number that tells this process from others of the same name.
    name: String,
    /// Whether the server may have it.
    exists: bool,
}

impl Consumer {
    fn new(client: &str) -> Self {
        // What no name of a consumer may hold is left out; 32 characters of the pod's own name are its end.
        let plain: Vec<char> =
            client.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let end: String = plain.iter().skip(plain.len().saturating_sub(64)).collect();
        Self { name: format!("{end}-{:08x}", fastrand::u32(..)), exists: false }
    }
}

impl Reader {
    /// Runs until dropped. The link is the caller's, so that it outlives this.
    async fn run(&mut self, slot: &mut Option<ApiLink>) {
        let mut pause = PAUSE.0;
        loop {
            let link = slot.insert(ApiLink::new(self.dialer.connect().await));
            loop {
                let started = Instant::now();
                let Err(ended) = self.read_from(link).await;
                if matches!(ended, Ended::OtherLimits) {
                    continue; // nothing is wrong
                }
                self.sink.status.restarted();
                if self.is_over(link, &ended) {
                    break;
                }
                if started.elapsed() > PAUSE.1 {
                    pause = PAUSE.0;
                }
                let rest = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64()));
                if let Err(error) = link.idle(rest).await {
                    tracing::debug!(%error, "between two consumers");
                    self.dialer.notice(Notice::Lost);
                    break;
                }
                pause = (pause * 2).min(PAUSE.1);
            }
            *slot = None;
        }
    }

    /// Reports why a consumer ended; says whether its link has ended with it.
    fn is_over(&mut self, link: &mut ApiLink, ended: &Ended) -> bool {
        match ended {
            Ended::Lost(Lost::Renewed) => return true,
            Ended::Lost(error) => {
                tracing::info!(reason = %error, "reading the stream again from our own position");
                self.dialer.notice(Notice::Lost);
                return true;
            }
            Ended::LameDuck => {
                self.dialer.notice(Notice::LameDuck);
                return self.dialer.leave();
            }
            Ended::NoStream(_) => {
                self.sink.status.set(State::WaitingForStream, Some(ended.to_string()));
            }
            Ended::Refused { .. } => {
                let why = match link.complaint.take() {
                    Some(complaint) => format!("{ended} (NATS says: {complaint})"),
                    None => ended.to_string(),
                };
                self.sink.status.set(State::Error, Some(why));
            }
            _ => tracing::info!(reason = %ended, "reading the stream again from our own position"),
        }
        false
    }

    /// Deletes the consumer, if there is one.
    async fn goodbye(&mut self, link: Option<ApiLink>) {
        if let Some(mut link) = link
            && let Err(error) = self.delete_consumer(&mut link).await
        {
            tracing::debug!(%error, "deleting the consumer");
        }
    }
}
