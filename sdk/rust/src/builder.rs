//! What a client can be given.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use rustls::ClientConfig;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::event::Cursor;
use crate::line::Target;
use crate::queue::{Bounds, Overflow};
use crate::run::Settings;
use crate::tls;

/// The longest time that a setting may be: more would overflow a clock.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Events that a queue holds, unless set.
const QUEUE: usize = 1024;

/// Why a client cannot be built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An address is not `ws://` or `wss://` with a host, or holds a user name.
    #[error("an address is not ws:// or wss:// with a host")]
    Url,
    /// The authorities are not certificates in PEM.
    #[error("the authorities are not certificates in PEM")]
    Authority,
    /// [`Builder::connect`] was called outside of a Tokio runtime.
    #[error("there is no Tokio runtime here")]
    NoRuntime,
}

/// Calls for a token. Errors are not kept: they may hold the token.
pub(crate) type TokenSource = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Token {
    None,
    Fixed(String),
    Source(TokenSource),
}

/// Settings of a [`Client`].
#[must_use = "a builder does nothing until connect() or build()"]
pub struct Builder {
    urls: Vec<String>,
    token: Token,
    cursor: Option<Cursor>,
    backoff: Backoff,
    ping_after: Duration,
    ping_timeout: Duration,
    connect_timeout: Duration,
    bounds: Bounds,
    authorities: Option<Vec<u8>>,
    tls: Option<Arc<ClientConfig>>,
    compression: bool,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither the token nor the addresses, whose query may hold one.
        f.debug_struct("Builder").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            urls: vec![url],
            token: Token::None,
            cursor: None,
            backoff: Backoff::default(),
            ping_after: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(15),
            bounds: Bounds { count: QUEUE, overflow: Overflow::default() },
            authorities: None,
            tls: None,
            compression: false,
        }
    }

    /// Another gateway with the same stream: the next one is used after each connection that ended.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// A function for tokens. It is called before every attempt, and when the token is about to expire; when it fails it is
    /// called again later. Its error is not reported, since it may hold the token.
    pub fn token<F, T, E>(mut self, source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: 'static,
    {
        self.token = Token::Source(Arc::new(move || source().map(Result::ok).boxed()));
        self
    }

    /// A token that cannot change: refused, it ends the client.
    pub fn fixed_token(mut self, token: impl Into<String>) -> Self {
        self.token = Token::Fixed(token.into());
        self
    }

    /// Resumes from a place that was stored. The first channels go on from there: use [`Builder::build`], subscribe, then
    /// [`Client::connect`].
    pub fn cursor(mut self, cursor: Option<Cursor>) -> Self {
        self.cursor = cursor;
        self
    }

    /// When to try again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The silence after which a ping is sent, 15 s unless set, and the time for its answer, 10 s.
    pub fn ping(mut self, after: Duration, timeout: Duration) -> Self {
        (self.ping_after, self.ping_timeout) = (after, timeout);
        self
    }

    /// For one attempt, and from there to the greeting; 15 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Asks the gateway to compress messages (permessage-deflate); off unless set. It saves traffic, most of it with large
    /// messages or batches, and costs about 50 KiB for the connection, and CPU for inflating. A message that inflates to more
    /// than 16 MiB ends the client, as one of that size does without; after one that cannot be inflated it goes on without
    /// compression.
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// How many events a subscription holds, 1024 unless set, and what happens beyond. 16 MiB of payloads are the limit, too.
    pub fn queue(mut self, events: usize, overflow: Overflow) -> Self {
        self.bounds = Bounds { count: events.max(1), overflow };
        self
    }

    /// Certificates in PEM of the authorities that are trusted instead of the system's.
    pub fn authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// A TLS configuration, for instance with a certificate of the client, instead of [`Builder::authorities`].
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// A client that begins with [`Client::connect`], so that a stored cursor holds for all that is subscribed to before.
    ///
    /// # Errors
    /// When an address or an authority is wrong.
    pub fn build(self) -> Result<Client, BuildError> {
        let targets: Vec<Target> =
            self.urls.iter().map(|url| Target::new(url)).collect::<Result<_, _>>()?;
        let tls = match self.tls {
            Some(config) => Some(config),
            None if targets.iter().any(|target| target.tls) || self.authorities.is_some() => {
                Some(tls::config(self.authorities.as_deref())?)
            }
            None => None,
        };
        let Backoff { base, cap, stable } = self.backoff;
        let settings = Settings {
            targets,
            tls,
            token: self.token,
            compression: self.compression,
            backoff: Backoff { base: base.min(LONGEST), cap: cap.min(LONGEST), stable },
            ping_after: self.ping_after.min(LONGEST),
            ping_timeout: self.ping_timeout.min(LONGEST),
            connect_timeout: self.connect_timeout.min(LONGEST),
        };
        Ok(Client::new(settings, self.cursor, self.bounds))
    }

    /// A client that connects, in a task of the current runtime: it does not wait for the gateway.
    ///
    /// # Errors
    /// When an address or an authority is wrong, or outside of a Tokio runtime.
    pub fn connect(self) -> Result<Client, BuildError> {
        let client = self.build()?;
        client.connect()?;
        Ok(client)
    }
}
