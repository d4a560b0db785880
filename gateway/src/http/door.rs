//! The front door: clean upgrade requests, answered without an HTTP server.
//!
//! In: the first bytes of a socket. Out: the socket, to a shard, which sends the 101 and the greeting in one write; or the
//! bytes, for the HTTP server, which judges and refuses whatever is not clean. Nothing is refused here.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use wsgateway_access::Grant;
use wsgateway_config::Protocol;
use wsgateway_proto::handshake::{Accepted, Head, head};

use super::Site;
use super::identity::identify;
use super::place::{busy, try_admit};
use crate::admission::Permit;
use crate::hub::Burst;
use crate::hub::arrivals::Handover;

/// The door of one port. Clones lead to the same shards.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// None: everything is for the HTTP server.
    site: Option<Arc<Site>>,
}

/// What the first bytes of a socket are.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not enough.
    Wait,
    /// For the HTTP server.
    Http,
    /// A clean request, and the place of its client.
    Upgrade(Upgrade),
}

/// A clean request that is granted.
#[derive(Debug)]
pub(super) struct Upgrade {
    accepted: Accepted,
    /// Bytes of the request; what follows is of the WebSocket.
    len: usize,
    grant: Option<Arc<Grant>>,
    permit: Permit,
}

impl Door {
    /// A door for the WebSocket endpoint of a site.
    pub(super) fn of(site: &Arc<Site>) -> Self {
        Self { site: Some(Arc::clone(site)) }
    }

    /// A door that lets nobody through: for ports where every path is an endpoint.
    pub(super) fn closed() -> Self {
        Self { site: None }
    }

    /// Judges everything that was read of a socket so far.
    pub(super) fn judge(&self, read: &[u8]) -> Verdict {
        let Some(site) = &self.site else { return Verdict::Http };
        let terms = site.terms.get();
        match head(read, &terms.protocols, terms.default_protocol, terms.compression) {
            Head::Partial => Verdict::Wait,
            // Clients of earlier systems know no path.
            Head::Upgrade { path, token, accepted, len, .. }
                if path == site.path || path == "/" =>
            {
                // Whoever is turned away anyway is not worth a signature.
                if busy(site).is_some() {
                    return Verdict::Http;
                }
                let Ok(grant) = identify(terms.guard.as_ref(), &token) else {
                    return Verdict::Http;
                };
                let upgrade = |permit| Verdict::Upgrade(Upgrade { accepted, len, grant, permit });
                try_admit(site).map_or(Verdict::Http, upgrade)
            }
            Head::Other | Head::Upgrade { .. } => Verdict::Http,
        }
    }

    /// Hands a client over to the shard that holds the fewest.
    pub(super) fn let_in(&self, handover: Handover) {
        if let Some(site) = &self.site {
            site.hub.adopt(handover);
        }
    }

    /// Adds a client to those that are handed over together.
    pub(super) fn gather(&self, burst: &mut Burst, handover: Handover) {
        if let Some(site) = &self.site {
            site.hub.assign(burst, handover);
        }
    }

    /// Hands over those that were gathered, as soon as their shards have time for them.
    pub(super) async fn let_in_together(&self, burst: &mut Burst) {
        if let Some(site) = &self.site {
            site.hub.adopt_together(burst).await;
        }
    }
}

impl Upgrade {
    /// The client, with its socket, non-blocking, and all that was `read` of it.
    pub(super) fn into_handover(self, stream: TcpStream, read: &[u8]) -> Handover {
        let Self { accepted, len, grant, permit } = self;
        let named = |known: &Protocol| known.name() == accepted.protocol;
        Handover {
            response: accepted.response(),
            leftover: Bytes::copy_from_slice(read.get(len..).unwrap_or_default()),
            deflate: accepted.deflate,
            protocol: Protocol::ALL.into_iter().find(named).unwrap_or_default(),
            grant,
            permit: Some(permit),
            ..Handover::new(stream)
        }
    }
}
