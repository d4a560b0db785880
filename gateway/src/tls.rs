//! TLS on the client port ([ADR 0053](../../docs/adr/0053-tls-on-the-client-port.md)).
//!
//! In: two files, which are read again whenever they change, and the bytes of sockets. Out: a [`Session`] for each
//! connection, which travels with its socket: through the HTTP server ([`TlsStream`]), to a shard, and back after a
//! long-poll. What must hold: a pair that cannot be used replaces none that can be, nothing of a key is in a log or an
//! error, and a connection without TLS has nothing of all this.

mod expiry;
mod metrics;
mod pair;
mod session;
mod stream;

use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use wsgateway_config::ListenerTls;

use crate::swap::Swap;
use crate::time::unix_ms;
pub(crate) use metrics::{Outcome, TlsMetrics};
pub(crate) use pair::PairError;
use pair::{Pair, PairFiles};
pub(crate) use session::{Broken, Session};
pub(crate) use stream::{TlsStream, Wire, into_link, wire_of};

/// How often the files are read. A change counts when it is seen twice.
const POLL: Duration = Duration::from_secs(2);

/// From then on /health warns (s): a renewal that is due a third of a common certificate's life before has failed.
const SOON: i64 = 7 * 24 * 3600;

/// A first byte of a record with a handshake, which is what a client of TLS begins with.
pub(crate) const HANDSHAKE: u8 = 22;

/// A socket on its way between two owners, and its session if it has one.
#[derive(Debug)]
pub(crate) struct Link {
    /// Non-blocking.
    pub stream: TcpStream,
    pub session: Option<Box<Session>>,
}

impl From<TcpStream> for Link {
    fn from(stream: TcpStream) -> Self {
        Self { stream, session: None }
    }
}

/// The certificate that is shown, for /status.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsStatus {
    /// When it expires (Unix time, s).
    pub not_after: i64,
    /// Why the files are not what is shown.
    pub problem: Option<String>,
}

/// Who we are to clients. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What the next handshake is made with.
    config: Swap<Arc<ServerConfig>>,
    files: Mutex<PairFiles>,
    status: Swap<TlsStatus>,
    metrics: TlsMetrics,
}

impl Tls {
    /// Reads the files; none where clients are to speak without TLS.
    ///
    /// # Errors
    /// There is no pair that can be used.
    pub(crate) fn new(
        files: Option<&ListenerTls>,
        registry: &Registry,
    ) -> Result<Option<Self>, StartTls> {
        let metrics = TlsMetrics::register(registry)?;
        let Some(files) = files else { return Ok(None) };
        let (files, pair) = PairFiles::open(files)?;
        let Pair { config, not_after } = pair;
        let status = TlsStatus { not_after, problem: None };
        metrics.shows(&status);
        let tls = Self(Arc::new(Shared {
            config: Swap::new(config),
            files: Mutex::new(files),
            status: Swap::new(status),
            metrics,
        }));
        if not_after <= now_s() {
            tracing::error!("the certificate has expired: clients that verify it do not connect");
        }
        Ok(Some(tls))
    }

    /// A session for a connection that has just begun.
    pub(crate) fn session(&self) -> Result<Box<Session>, Broken> {
        Session::accept(self.0.config.with(Arc::clone))
    }

    /// What became of handshakes.
    pub(crate) fn metrics(&self) -> &TlsMetrics {
        &self.0.metrics
    }

    /// The certificate that is shown now.
    pub(crate) fn status(&self) -> TlsStatus {
        TlsStatus::clone(&self.0.status.get())
    }

    /// What people should know, if anything.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let TlsStatus { not_after, problem } = self.status();
        let left = not_after - now_s();
        let expires = match left {
            ..=0 => Some("tls: the certificate has expired: renew it".to_owned()),
            1..SOON => Some(format!("tls: the certificate expires in {} h: renew it", left / 3600)),
            _ => None,
        };
        problem.map(|problem| format!("tls: {problem}")).into_iter().chain(expires).collect()
    }

    /// Reads the files again and again, until cancelled.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let reading = async {
            loop {
                tokio::time::sleep(POLL).await;
                self.poll();
            }
        };
        let _never: Option<std::convert::Infallible> = stop.run_until_cancelled(reading).await;
    }

    /// Takes up a new pair, if there is one that can be used.
    fn poll(&self) {
        let shared = &self.0;
        let mut files = shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match files.poll(now_s()) {
            None => return,
            Some(Ok(Pair { config, not_after })) => {
                shared.config.set(config);
                shared.metrics.reloaded(true);
                tracing::info!(not_after, "new handshakes use the new certificate");
                TlsStatus { not_after, problem: None }
            }
            Some(Err(error)) => {
                shared.metrics.reloaded(false);
                let problem = error.to_string();
                tracing::warn!(
                    problem,
                    "the files of listener.tls hold no pair that can be used: the last good one is"
                );
                TlsStatus { problem: Some(problem), ..self.status() }
            }
        };
        shared.metrics.shows(&status);
        shared.status.set(status);
    }
}

/// Why TLS cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartTls {
    #[error("listener.tls: {0}")]
    Pair(#[from] PairError),
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

fn now_s() -> i64 {
    unix_ms() / 1_000
}

#[cfg(test)]
mod tests;
