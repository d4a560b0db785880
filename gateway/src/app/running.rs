//! A gateway that runs: what it is asked, told and given by those who started it.

use std::net::SocketAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wsgateway_config::Shed;
use wsgateway_runtime::admin::AdminServer;
use wsgateway_runtime::readiness::{Gate, Readiness};

use super::controls::{Controls, ReloadError};
use super::threads::Thread;
use crate::admission::Admission;
use crate::hub::{Hub, Threads};
use crate::reload::Given;
use crate::shed::Shedding;
use crate::source::memory::MemoryPublisher;
use crate::trace::Tracer;

/// A gateway that runs until told otherwise. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running {
    /// The client port as bound.
    pub client_addr: SocketAddr,
    /// The admin port as bound.
    pub admin_addr: SocketAddr,
    pub(super) memory: Option<MemoryPublisher>,
    pub(super) hub: Hub,
    pub(super) shedding: Shedding,
    pub(super) parts: Option<Parts>,
    pub(super) readiness: Readiness,
    pub(super) controls: Controls,
}

/// What a gateway is doing, for those who run it in their own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections held now.
    pub connections: u64,
    /// Frames handed to clients since the start, one per message and receiver.
    pub deliveries: u64,
}

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) admission: Admission,
    pub(super) serving: Gate,
    pub(super) threads: Threads,
    pub(super) http: Thread,
    pub(super) source: Vec<Thread>,
    /// Of the client port, of the source, and of what traces messages.
    pub(super) stops: (CancellationToken, CancellationToken, Tracer),
    pub(super) _admin: AdminServer,
}

impl Running {
    /// Publishes into the in-process source; None when the source is another one.
    pub fn memory(&self) -> Option<MemoryPublisher> {
        self.memory.clone()
    }

    /// Connections and deliveries, as the shards last published them.
    pub fn traffic(&self) -> Traffic {
        let totals = self.hub.totals();
        Traffic { connections: totals.connections, deliveries: totals.deliveries }
    }

    /// Whether the source is live and clients are served.
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Names of threads that ended without having been told to: the gateway is broken and must be started anew.
    pub fn dead(&self) -> Vec<&'static str> {
        self.readiness.dead()
    }

    /// Takes up another configuration, or nothing of it; no client notices. Returns the fields that changed, as paths.
    ///
    /// # Errors
    /// [`ReloadError`]; what ran before goes on, and `/status` has the reason.
    pub fn reload(&self, given: Given) -> Result<Vec<String>, ReloadError> {
        let unknown = given.unknown.clone();
        let fields = self.controls.reload(given).inspect_err(|error| {
            self.refuse(&error.to_string());
        })?;
        for key in unknown {
            tracing::warn!(key, "the configuration has a key that this version does not know");
        }
        tracing::info!(?fields, "the configuration was taken up");
        Ok(fields)
    }

    /// Reports, in the log, in `/status` and in metrics, why the configuration's files are not what runs.
    pub fn refuse(&self, problem: &str) {
        tracing::error!(problem, "the configuration was refused: what ran before goes on");
        self.controls.refuse(problem);
    }

    /// Sends clients elsewhere as told, and takes no new ones meanwhile; `None`: serves again as before.
    pub fn shed(&self, shed: Option<Shed>) {
        self.shedding.set(shed, Instant::now());
    }

    /// Turns unready, asks every client to reconnect elsewhere at the pace of `drain`, then stops. Blocks until done.
    pub fn shutdown(mut self) {
        if let Some(parts) = self.parts.take() {
            let window = self.controls.drain(self.hub.totals().connections);
            // Who has been admitted is on the way to its shard, perhaps with its answer: it hears where to go, too.
            let admission = parts.admission.clone();
            let is_awaited = move || admission.taken() > 0;
            parts.stop(|threads| threads.drain_and_stop(window, "restart", is_awaited));
        }
    }

    /// Stops at once; connections are dropped as they are.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.stop(Threads::stop);
        }
    }
}

impl Parts {
    fn stop(self, end_shards: impl FnOnce(Threads)) {
        self.serving.close();
        self.admission.close();
        // Deliveries go on until the last client has left; the port stays open to say "draining".
        end_shards(self.threads);
        let (http, source, tracer) = self.stops;
        http.cancel();
        source.cancel();
        self.http.join();
        self.source.into_iter().for_each(Thread::join);
        tracer.stop();
    }
}
