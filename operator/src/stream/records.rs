//! What is remembered about the streams of WsGateways between two reconciliations. All of it may be lost: then streams are
//! looked at once more, and marks stay that would have been released.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::ServerInfo;
use wsgateway_crds::ValidNats;
use wsgateway_nats::Owner;

use super::advisories::Advisories;
use super::corrections::Corrections;
use super::ignored::Ignored;
use super::look::Look;
use super::{Outcome, Work};
use crate::nats::Link;

/// A record that nobody has asked for in this time belongs to a WsGateway that is gone.
const IDLE: Duration = Duration::from_secs(3600);
/// A NATS that was left and cannot be reached is not waited for any longer.
const LEFT: Duration = Duration::from_secs(600);

/// Records by the UIDs of WsGateways.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<HashMap<String, (Instant, Record)>>);

#[derive(Debug, Default)]
pub(super) struct Record {
    /// The stream that carries our mark.
    pub(super) kept: Option<Kept>,
    /// Streams on NATS servers that the WsGateway no longer names, and since when.
    pub(super) left: Vec<(Kept, Instant)>,
    pub(super) corrections: Corrections,
    pub(super) ignored: Ignored,
    pub(super) advisories: Option<Advisories>,
    pub(super) rest: Option<Rest>,
    /// The look that goes on without anybody waiting for it.
    pub(super) look: Option<Look>,
    /// Whether the last look took long.
    pub(super) is_slow: bool,
    /// What the last look found, and of what.
    pub(super) last: Option<(ValidNats, Outcome)>,
}

/// A stream with our mark, and the connection over which it was written. The connection stays open for as long as it is
/// remembered, whatever becomes of the Secret that it was made with.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) link: Link,
    pub(crate) api_prefix: Option<String>,
    pub(crate) stream: String,
    pub(crate) owner: Owner,
    pub(super) place: Place,
    pub(super) epoch: String,
}

/// Where a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) servers: Vec<String>,
    pub(super) api_prefix: Option<String>,
    server: String,
    cluster: Option<String>,
}

impl Place {
    pub(super) fn new(nats: &ValidNats, info: ServerInfo) -> Self {
        Self {
            servers: nats.servers.clone(),
            api_prefix: nats.api_prefix.clone(),
            server: info.server_id,
            cluster: info.cluster,
        }
    }

    /// Whether both are the same JetStream, by another list of servers perhaps. `same_epoch`: the streams there have one
    /// epoch, as a copy on another cluster may have too.
    fn is(&self, other: &Self, same_epoch: bool) -> bool {
        let shared = self.servers.iter().any(|server| other.servers.contains(server));
        let same_cluster = self.cluster.is_some() && self.cluster == other.cluster;
        self.api_prefix == other.api_prefix
            && (shared || self.server == other.server || (same_cluster && same_epoch))
    }
}

/// A stream that was found as specified. While its advisories are heard it is not looked at before `until`.
#[derive(Debug)]
pub(super) struct Rest {
    nats: ValidNats,
    pods: u64,
    link: Link,
    up: u64,
    until: Instant,
    outcome: Outcome,
}

impl Records {
    /// Changes or reads the record of a WsGateway.
    pub(super) fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Record) -> T) -> T {
        let now = Instant::now();
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !records.contains_key(uid) {
            records.retain(|_, (touched, _)| now.saturating_duration_since(*touched) < IDLE);
        }
        let (touched, record) =
            records.entry(uid.to_owned()).or_insert_with(|| (now, Record::default()));
        *touched = now;
        change(record)
    }

    /// The stream of a WsGateway that carries its mark, as far as it is known.
    pub(crate) fn kept(&self, uid: &str) -> Option<Kept> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.get(uid).and_then(|(_, record)| record.kept.clone())
    }

    /// Ends the look that goes on for a WsGateway: from then on nothing is written for it. What was found stands.
    pub(crate) async fn end_look(&self, uid: &str) {
        let look = {
            let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            records.get_mut(uid).and_then(|(_, record)| record.look.take())
        };
        if let Some(look) = look {
            look.end().await;
        }
    }

    /// Ends all looks.
    pub(crate) async fn end_looks(&self) {
        let looks: Vec<Look> = {
            let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            records.values_mut().filter_map(|(_, record)| record.look.take()).collect()
        };
        for look in looks {
            look.end().await;
        }
    }

    /// Forgets a WsGateway, and returns the stream that carries its mark.
    pub(crate) fn forget(&self, uid: &str) -> Option<Kept> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.remove(uid).and_then(|(_, record)| record.kept)
    }
}

impl Record {
    /// A stream carries our mark. If another one did on another NATS, that is left.
    pub(super) fn keep(&mut self, kept: Kept, now: Instant) {
        if let Some(before) = self.kept.take()
            && !before.place.is(&kept.place, before.epoch == kept.epoch)
        {
            self.left.push((before, now));
        }
        self.kept = Some(kept);
    }

    /// Streams that were left and can be released now.
    pub(super) fn releasable(&mut self, now: Instant) -> Vec<Kept> {
        self.left.retain(|(_, since)| now.saturating_duration_since(*since) < LEFT);
        let reachable = self.left.iter().filter(|(kept, _)| kept.link.is_up());
        reachable.map(|(kept, _)| kept.clone()).collect()
    }

    /// A stream that was left is released, or never will be.
    pub(super) fn released(&mut self, released: &Kept) {
        self.left.retain(|(kept, _)| kept.place != released.place);
    }

    /// What was found last, if it still holds without asking.
    pub(super) fn resting(&self, work: &Work<'_>, now: Instant) -> Option<Outcome> {
        let rest = self.rest.as_ref()?;
        let advisories = self.advisories.as_ref()?;
        let holds = rest.nats == *work.nats
            && rest.pods == work.pods
            && now < rest.until
            && self.left.is_empty()
            && work.link.is(&rest.link)
            && work.link.up() == Some(rest.up)
            && advisories.are_of(work.link, &work.nats.stream.name)
            && advisories.are_heard(work.nats.api_prefix.is_none())
            && !advisories.is_pending();
        holds.then(|| rest.outcome.clone())
    }

    /// Remembers what was found, over the connection `up`, until then.
    pub(super) fn rest(&mut self, work: &Work<'_>, up: u64, until: Instant, outcome: &Outcome) {
        self.rest = Some(Rest {
            nats: work.nats.clone(),
            pods: work.pods,
            link: work.link.clone(),
            up,
            until,
            outcome: outcome.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(servers: &[&str], server: &str, cluster: Option<&str>) -> Place {
        Place {
            servers: servers.iter().map(|server| (*server).to_owned()).collect(),
            api_prefix: None,
            server: server.to_owned(),
            cluster: cluster.map(str::to_owned),
        }
    }

    #[test]
    fn another_list_of_the_same_servers_is_no_move() {
        let old = place(&["nats://a", "nats://b"], "A", Some("eu"));
        assert!(old.is(&place(&["nats://b"], "B", Some("eu")), false), "one in common");
        assert!(old.is(&place(&["nats://alias"], "A", None), false), "the same server");
        assert!(old.is(&place(&["nats://c"], "C", Some("eu")), true), "the same stream");
        assert!(!old.is(&place(&["nats://c"], "C", Some("eu")), false), "two clusters of one name");
        assert!(!old.is(&place(&["nats://c"], "C", Some("us")), true), "a copy elsewhere");
        let hub = Place { api_prefix: Some("$JS.hub.API".to_owned()), ..old.clone() };
        assert!(!old.is(&hub, true), "another domain");
    }
}
