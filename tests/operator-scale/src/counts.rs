//! Requests of the operator, by what they were and for which WsGateway (pure).

use std::collections::BTreeMap;

use harness::AuditEvent;
use serde::{Deserialize, Serialize};

/// Writes for one WsGateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Writes {
    /// Carried out.
    pub done: u64,
    /// Refused by the API server.
    pub refused: u64,
}

/// What was asked for in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes by namespace and [stem](stem) of the name.
    pub writes: BTreeMap<(String, String), Writes>,
    /// Writes of Leases, which every leader renews all the time.
    pub leases: u64,
    /// Requests that read, without watches.
    pub reads: u64,
    /// Watches that began.
    pub watches: u64,
    /// Everything but Leases, by verb and resource.
    pub kinds: BTreeMap<String, u64>,
}

/// The beginning of an object's name by which its WsGateway is known: ours have neither a dash nor a dot, and all of their
/// objects go on with one of those.
#[must_use]
pub fn stem(name: &str) -> &str {
    name.split(['-', '.']).next().unwrap_or_default()
}

impl Tally {
    /// Counts requests.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a AuditEvent>) -> Self {
        let mut tally = Self::default();
        for event in events {
            tally.add(event);
        }
        tally
    }

    fn add(&mut self, event: &AuditEvent) {
        if event.resource == "leases" {
            self.leases += u64::from(event.is_write());
            return;
        }
        *self.kinds.entry(format!("{} {}", event.verb, event.resource)).or_default() += 1;
        if !event.is_write() {
            self.reads += u64::from(event.verb != "watch");
            self.watches += u64::from(event.verb == "watch");
            return;
        }
        let key = (event.namespace.clone(), stem(&event.name).to_owned());
        let writes = self.writes.entry(key).or_default();
        if event.is_done() { writes.done += 1 } else { writes.refused += 1 }
    }

    /// Writes that were carried out, and those that were refused.
    #[must_use]
    pub fn written(&self) -> Writes {
        self.writes.values().fold(Writes::default(), |sum, one| Writes {
            done: sum.done + one.done,
            refused: sum.refused + one.refused,
        })
    }

    /// The most writes for one WsGateway, carried out or not.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.writes.values().map(|writes| writes.done + writes.refused).max().unwrap_or(0)
    }

    /// All requests but those for Leases.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Writes by verb and resource.
    #[must_use]
    pub fn kinds_of_writes(&self) -> BTreeMap<String, u64> {
        let is_write =
            |kind: &str| !["get ", "list ", "watch "].iter().any(|verb| kind.starts_with(verb));
        let writes = self.kinds.iter().filter(|(kind, _)| is_write(kind));
        writes.map(|(kind, count)| (kind.clone(), *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn event(verb: &str, resource: &str, name: &str, code: u16) -> AuditEvent {
        AuditEvent {
            verb: verb.to_owned(),
            user: "operator".to_owned(),
            resource: resource.to_owned(),
            namespace: "a".to_owned(),
            name: name.to_owned(),
            is_dry_run: false,
            code,
            received: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn writes_belong_to_the_wsgateway_whose_name_the_object_begins_with() {
        let events = [
            event("patch", "configmaps", "g7-config-0123", 201),
            event("patch", "wsgateways/status", "g7", 200),
            event("create", "events", "g7.18a", 201),
            event("patch", "deployments", "g8-gateway", 422),
            event("get", "secrets", "nats-token", 200),
            event("watch", "pods", "", 200),
            event("update", "leases", "wsgateway-operator", 200),
        ];
        let tally = Tally::of(&events);
        let of = |name: &str| tally.writes[&("a".to_owned(), name.to_owned())];
        assert_eq!(of("g7"), Writes { done: 3, refused: 0 });
        assert_eq!(of("g8"), Writes { done: 0, refused: 1 });
        assert_eq!((tally.leases, tally.reads, tally.watches), (1, 1, 1));
        assert_eq!((tally.requests(), tally.most()), (6, 3));
        assert_eq!(tally.written(), Writes { done: 3, refused: 1 });
        assert_eq!(tally.kinds_of_writes().len(), 4);
    }
}
