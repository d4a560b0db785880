//! Dialer: one link after the other, through every server of the cluster, for ever, with a bounded and jittered delay.

use std::sync::Arc;

use async_nats::ServerAddr;
use tokio::task::JoinHandle;

use super::Link;
use super::dial::{Dialled, dial};
use crate::access::Loaded;
use crate::connect::failure::{Failure, FailureKind, classify, rank};
use crate::connect::{ConnectError, LoadError, Notice, delay, explained};
use crate::{Access, Material};

/// Servers that are tried: sixteen of one's own, and those that a cluster tells of.
const MAX_SERVERS: usize = 64;

/// Makes links to one cluster.
pub struct Dialer {
    access: Arc<Access>,
    name: String,
    inbox_prefix: String,
    /// Those of the configuration, then those that the cluster has told of.
    servers: Vec<ServerAddr>,
    /// Of the servers, those of the configuration.
    own: usize,
    /// The server to try next.
    next: usize,
    /// Passes through all servers since the last link.
    passes: usize,
    on_notice: Box<dyn Fn(Notice) + Send + Sync>,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("access", &self.access).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer that has not begun. `name` shows up in the server's connection list; `on_notice` is told of everything
    /// that happens and must not block.
    ///
    /// # Errors
    /// When an address cannot be used, whatever the state of the servers.
    pub fn new(
        access: &Access,
        name: &str,
        on_notice: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Self, ConnectError> {
        // Another provider may be there already: then that one serves.
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let parse = |server: &String| server.parse::<ServerAddr>();
        let servers: Result<Vec<_>, _> = access.servers.iter().map(parse).collect();
        let invalid = |source| ConnectError::Address { servers: access.servers.clone(), source };
        let servers = servers.map_err(invalid)?;
        if servers.is_empty() || servers.iter().any(ServerAddr::is_websocket) {
            let source = std::io::Error::other("only nats:// and tls:// are supported");
            return Err(invalid(source));
        }
        Ok(Self {
            access: Arc::new(access.clone()),
            name: name.to_owned(),
            inbox_prefix: access.inbox_prefix.clone().unwrap_or_else(|| "_INBOX".to_owned()),
            own: servers.len(),
            // The pods of a fleet spread over the servers.
            next: fastrand::usize(..servers.len()),
            servers,
            passes: 0,
            on_notice: Box::new(on_notice),
        })
    }

    /// The next link; waits for as long as it takes. What fails meanwhile is told, the worst of each pass through the
    /// servers.
    pub async fn connect(&mut self) -> Link {
        loop {
            self.passes += 1;
            if self.passes > 1 {
                tokio::time::sleep(delay(self.passes, fastrand::f64())).await;
            }
            let mut worst: Option<Failure> = None;
            for _ in 0..self.servers.len() {
                match self.attempt().await {
                    Ok(link) => {
                        self.passes = 0;
                        (self.on_notice)(Notice::Connected);
                        return link;
                    }
                    Err(failure) => {
                        self.next = (self.next + 1) % self.servers.len();
                        let outranks = |other: &Failure| rank(failure.kind) < rank(other.kind);
                        if worst.as_ref().is_none_or(outranks) {
                            worst = Some(failure);
                        }
                    }
                }
            }
            if let Some(failure) = worst {
                (self.on_notice)(Notice::Failed(failure));
            }
        }
    }

    /// The server of the last link is about to stop: says whether there is another one, which the next link then goes to.
    pub fn leave(&mut self) -> bool {
        self.next = (self.next + 1) % self.servers.len();
        self.servers.len() > 1
    }

    /// Reports something about the last link to whoever made this dialer.
    pub fn notice(&self, notice: Notice) {
        (self.on_notice)(notice);
    }

    async fn attempt(&mut self) -> Result<Link, Failure> {
        let loaded = load(&self.access).await.map_err(|error| Failure {
            kind: FailureKind::Credentials,
            message: format!("cannot connect to NATS: {error}"),
        })?;
        let fingerprint = loaded.fingerprint;
        let expired = loaded.has_expired();
        let Some(address) = self.servers.get(self.next).cloned() else {
            return Err(Failure { kind: FailureKind::Unreachable, message: String::new() });
        };
        match dial(&address, &self.access, loaded, &self.name).await {
            Ok(Dialled { socket, input, info }) => {
                self.learn(&info.connect_urls);
                let inbox = format!("{}.{:016x}", self.inbox_prefix, fastrand::u64(..));
                let watch = Watch::new(&self.access, fingerprint);
                Ok(Link::new(socket, input, info, inbox, watch))
            }
            Err(error) => {
                let failure = classify(address.as_url_str(), &error.to_string(), &self.access);
                Err(explained(failure, expired))
            }
        }
    }

    /// Takes note of the servers of the cluster. With TLS it does not: they are addresses in numbers, which certificates
    /// need not know.
    fn learn(&mut self, told: &[String]) {
        if self.access.tls.is_some() || self.servers.iter().any(ServerAddr::tls_required) {
            return;
        }
        let current = self.servers.get(self.next).cloned();
        self.servers.truncate(self.own);
        for address in told.iter().filter_map(|told| told.parse::<ServerAddr>().ok()) {
            let known =
                |one: &ServerAddr| one.host() == address.host() && one.port() == address.port();
            if self.servers.len() < MAX_SERVERS && !self.servers.iter().any(known) {
                self.servers.push(address);
            }
        }
        let place = |current: &ServerAddr| self.servers.iter().position(|one| one == current);
        self.next = current.as_ref().and_then(place).unwrap_or(0);
    }
}

/// Reads what an attempt needs, off this thread: a file system may hang.
async fn load(access: &Arc<Access>) -> Result<Loaded, LoadError> {
    if access.auth.is_none() && access.tls.is_none() {
        return Ok(access.load()?);
    }
    let access = Arc::clone(access);
    Ok(tokio::task::spawn_blocking(move || access.load()).await??)
}

/// Watches the files that a link was made with. Content is compared: the kubelet swaps links, which tells a watcher of
/// files nothing useful.
#[derive(Debug)]
pub(super) struct Watch {
    access: Arc<Access>,
    used: u64,
    /// Whether there is a file at all.
    files: bool,
    looking: Option<JoinHandle<Result<u64, String>>>,
    complained: Option<String>,
}

impl Watch {
    fn new(access: &Arc<Access>, used: u64) -> Self {
        let files = access.materials().any(|one| matches!(one, Material::File(_)));
        Self { access: Arc::clone(access), used, files, looking: None, complained: None }
    }

    /// Begins to compare, unless a comparison is under way.
    pub(super) fn look(&mut self) {
        if self.files && self.looking.is_none() {
            let access = Arc::clone(&self.access);
            self.looking = Some(tokio::task::spawn_blocking(move || {
                let loaded = access.load().map_err(|error| error.to_string())?;
                Ok(loaded.fingerprint)
            }));
        }
    }

    /// Waits until something has changed and can be used; what cannot be used is told in the log, once.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some(looking) = &mut self.looking else { return std::future::pending().await };
            let found = looking.await;
            self.looking = None;
            match found {
                Ok(Ok(found)) if found != self.used => {
                    tracing::info!("NATS credentials have changed: connecting anew");
                    return;
                }
                Ok(Ok(_)) => self.complained = None,
                Ok(Err(error)) if self.complained.as_ref() != Some(&error) => {
                    tracing::warn!(
                        error,
                        "changed NATS credentials cannot be used: the connection goes on with the former ones"
                    );
                    self.complained = Some(error);
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(dialer: &Dialer) -> Vec<&str> {
        dialer.servers.iter().map(|server| server.as_url_str()).collect()
    }

    fn learn(dialer: &mut Dialer, told: &[&str]) {
        let told: Vec<String> = told.iter().map(|address| (*address).to_owned()).collect();
        dialer.learn(&told);
    }

    #[test]
    fn servers_of_a_cluster_are_learned_forgotten_when_they_have_left_and_bounded() {
        let access = Access::open(vec!["nats://a:1".to_owned()]);
        let mut dialer = Dialer::new(&access, "test", |_| ()).unwrap();
        learn(&mut dialer, &["a:1", "b:2", "c:3", "no address"]);
        assert_eq!(servers(&dialer).len(), 3, "{:?}", servers(&dialer));
        // It is connected to the last one when the one before it has left.
        dialer.next = 2;
        learn(&mut dialer, &["c:3", "a:1"]);
        assert_eq!(servers(&dialer).len(), 2, "{:?}", servers(&dialer));
        assert_eq!(dialer.next, 1, "it stays where it is");
        // Its own server, too: it begins with those of the configuration.
        learn(&mut dialer, &["d:4"]);
        assert_eq!((servers(&dialer).len(), dialer.next), (2, 0), "{:?}", servers(&dialer));

        let many: Vec<String> = (0..1_000).map(|n| format!("h{n}:1")).collect();
        dialer.learn(&many);
        assert_eq!(dialer.servers.len(), MAX_SERVERS);
        assert!(
            servers(&dialer)[0].contains("a:1"),
            "that of the configuration is never forgotten"
        );
    }
}
