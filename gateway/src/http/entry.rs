//! Entry: who may come in at the client port, judged before anything else is done for a request.
//!
//! In: the header fields of a request and where its connection comes from. Out: where its client is, or a refusal. Where
//! nothing is configured no header is read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use wsgateway_config::Listener;
use wsgateway_proto::handshake::{Fields, HeadFields};

use super::cors::{self, Cors};
use super::forwarded::{Beginning, Proxies};
use super::origin::{Hosts, Origins};
use super::pending::Pending;
use super::place::{Busy, busy};
use super::refusal::Denied;
use super::{Site, Terms, problem};
use crate::limits::Counted;

/// Whatever asks for it: load balancers ask by the address of a pod.
const HEALTH: &str = "/health";

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    origins: Origins,
    hosts: Hosts,
    proxies: Proxies,
}

/// What becomes of a clean upgrade request.
pub(super) enum Entered {
    /// Its client may come in, and is counted so.
    Counted(Option<Arc<Counted>>),
    /// There is no place for it: the HTTP server says why.
    Busy,
    /// It is refused with this answer.
    Refused(Vec<u8>),
}

impl Entry {
    pub(crate) fn new(listener: &Listener) -> Self {
        Self {
            origins: Origins::new(&listener.allowed_origins),
            hosts: Hosts::new(&listener.allowed_hosts),
            proxies: Proxies::new(listener),
        }
    }

    /// Whether there is nothing to judge a request by.
    fn is_open(&self) -> bool {
        self.origins.is_empty() && self.hosts.is_empty() && self.proxies.is_empty()
    }

    /// Judges the first bytes of a connection.
    pub(super) fn begin(&self, read: &[u8], peer: IpAddr) -> Beginning {
        self.proxies.begin(read, peer)
    }

    /// Judges a request: where its client is.
    fn judge(&self, fields: &impl Fields, from: IpAddr) -> Result<IpAddr, Denied> {
        self.origins.judge(fields.lines("origin")).map_err(|_| Denied::Origin)?;
        Ok(self.proxies.client(fields, from))
    }

    /// Whether a request is of a page whose origin is in the list.
    pub(super) fn is_of_a_listed_page(&self, fields: &impl Fields) -> bool {
        // Without a list every origin is fine, which is not enough here.
        !self.origins.is_empty()
            && self.origins.judge(fields.lines("origin")).is_ok_and(|origin| origin.is_some())
    }

    /// What a page may read of an answer to a request with these fields.
    pub(super) fn cors(&self, fields: &impl Fields) -> Cors {
        match self.origins.is_empty() {
            true => Cors::Anybody,
            false => Cors::of(self.origins.judge(fields.lines("origin")).ok().flatten()),
        }
    }
}

/// Judges a clean upgrade request, whose head is this.
pub(super) fn enter(site: &Site, terms: &Terms, head: &[u8], from: IpAddr) -> Entered {
    let entry = &terms.entry;
    let mut address = from;
    if !entry.is_open() {
        let Some(fields) = HeadFields::of(head) else { return Entered::Busy };
        let judged = match entry.hosts.allow(fields.lines("host"), None) {
            true => entry.judge(&fields, from),
            false => Err(Denied::Host),
        };
        address = match judged {
            Ok(address) => address,
            Err(denied) => return Entered::Refused(refuse(site, denied, from).bytes()),
        };
    }
    if busy(site).is_some() {
        return Entered::Busy;
    }
    match site.limits.enter(address, Instant::now()) {
        Err(limited) => Entered::Refused(Busy::of(limited, site, address).bytes()),
        Ok(counted) => Entered::Counted(counted),
    }
}

/// Counts a refusal.
pub(super) fn refuse(site: &Site, denied: Denied, from: IpAddr) -> Denied {
    tracing::debug!(%from, code = denied.code(), "a request was refused");
    match denied {
        Denied::Origin => site.rejections.origin.inc(),
        Denied::Host => site.rejections.host.inc(),
        Denied::ProxyHeader => site.rejections.proxy_header.inc(),
        // Counted with the handshakes.
        Denied::Plain => {}
    }
    denied
}

/// Judges every request of the HTTP server, and has every answer say what browsers may do with it.
pub(super) async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let terms = site.terms.get();
    let entry = &terms.entry;
    let pending = request.extensions().get::<Arc<Pending>>().cloned();
    let from =
        pending.as_ref().map_or(IpAddr::from([0; 4]), |pending| pending.caller().connection());
    let (fields, uri) = (request.headers(), request.uri());
    let is_for_us = entry.is_open()
        || uri.path() == HEALTH
        || entry
            .hosts
            .allow(Fields::lines(fields, "host"), uri.authority().map(|name| name.as_str()));
    let judged = if is_for_us { entry.judge(fields, from) } else { Err(Denied::Host) };
    let allowed = entry.cors(fields);
    let response = match judged {
        Ok(address) => {
            if let Some(pending) = pending {
                pending.caller().ask(address);
            }
            next.run(request).await
        }
        Err(denied) => {
            refuse(&site, denied, from);
            problem(denied.status(), denied.code(), denied.message(), None)
        }
    };
    cors::secure(allowed.restrict(response))
}
