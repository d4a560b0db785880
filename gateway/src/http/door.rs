//! The front door: clean upgrade requests, answered without an HTTP server.
//!
//! In: the first bytes of a socket. Out: the socket, to a shard, which sends the 101 and the greeting in one write; or the
//! bytes, for the HTTP server, which judges and refuses whatever is not clean. Of clean requests those of strangers are
//! refused here, and those that come too often, so that many of them cost little.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use wsgateway_access::Grant;
use wsgateway_config::Protocol;
use wsgateway_proto::handshake::{Accepted, Head, HeadFields, head};

use super::Site;
use super::entry::{self, Entered};
use super::forwarded::Beginning;
use super::identity::identify;
use super::place::count_user;
use super::refusal::Denied;
use crate::admission::Permit;
use crate::hub::Burst;
use crate::hub::arrivals::Handover;
use crate::tls::Link;

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
    /// For the HTTP server, behind so many bytes of a proxy that says that the client is there.
    Http { from: IpAddr, skip: usize },
    /// To be closed with this answer.
    Refused(Vec<u8>),
    /// A clean request, and the place of its client.
    Upgrade(Upgrade),
}

/// What a connection begins with.
#[derive(Debug)]
pub(super) enum Begun {
    /// Not enough.
    Wait,
    /// To be closed with this answer.
    Refused(Vec<u8>),
    /// So many bytes of a proxy that says that the client is there.
    Of { from: IpAddr, len: usize },
}

/// A clean request that is granted.
#[derive(Debug)]
pub(super) struct Upgrade {
    accepted: Accepted,
    /// Bytes of the request, and of a proxy before it; what follows is of the WebSocket.
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

    /// Judges what comes before a request, and before TLS.
    pub(super) fn begin(&self, read: &[u8], peer: IpAddr) -> Begun {
        let Some(site) = &self.site else { return Begun::Of { from: peer, len: 0 } };
        match site.terms.get().entry.begin(read, peer) {
            Beginning::Wait => Begun::Wait,
            Beginning::Refused => {
                Begun::Refused(entry::refuse(site, Denied::ProxyHeader, peer).bytes())
            }
            Beginning::Of { address, len } => Begun::Of { from: address, len },
        }
    }

    /// Judges everything that was read of a socket so far.
    pub(super) fn judge(&self, read: &[u8], peer: IpAddr) -> Verdict {
        match self.begin(read, peer) {
            Begun::Wait => Verdict::Wait,
            Begun::Refused(answer) => Verdict::Refused(answer),
            Begun::Of { from, len } => {
                self.judge_request(read.get(len..).unwrap_or_default(), from, len)
            }
        }
    }

    /// Judges what was read of a request, behind `skip` bytes of a proxy.
    pub(super) fn judge_request(&self, read: &[u8], from: IpAddr, skip: usize) -> Verdict {
        let Some(site) = &self.site else { return Verdict::Http { from, skip } };
        let terms = site.terms.get();
        match head(read, &terms.protocols, terms.default_protocol, terms.compression) {
            Head::Partial => Verdict::Wait,
            // Clients of earlier systems know no path.
            Head::Upgrade { path, token, accepted, len, .. }
                if path == site.path || path == "/" =>
            {
                let http = Verdict::Http { from, skip };
                let head = read.get(..len).unwrap_or_default();
                // Before the token: whoever comes too often is not worth a signature.
                let counted = match entry::enter(site, &terms, head, from) {
                    Entered::Counted(counted) => counted,
                    Entered::Busy => return http,
                    Entered::Refused(answer) => return Verdict::Refused(answer),
                };
                let Ok(grant) = identify(&terms, &token, || HeadFields::of(head)) else {
                    return http;
                };
                let Ok(permit) = site.admission.admit() else { return http };
                let Ok(user) = count_user(terms.guard.as_ref(), grant.as_ref()) else {
                    return http;
                };
                let (len, permit) = (skip + len, permit.counted(counted).of_user(user));
                Verdict::Upgrade(Upgrade { accepted, len, grant, permit })
            }
            Head::Other | Head::Upgrade { .. } => Verdict::Http { from, skip },
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
    pub(super) fn into_handover(self, link: impl Into<Link>, read: &[u8]) -> Handover {
        let Self { accepted, len, grant, permit } = self;
        let named = |known: &Protocol| known.name() == accepted.protocol;
        Handover {
            response: accepted.response(),
            leftover: Bytes::copy_from_slice(read.get(len..).unwrap_or_default()),
            deflate: accepted.deflate,
            protocol: Protocol::ALL.into_iter().find(named).unwrap_or_default(),
            grant,
            permit: Some(permit),
            ..Handover::new(link)
        }
    }
}
