//! Disconnects: from the annotation that people write to the live configuration of the gateways.
//!
//! The operator stamps what is new and takes out what is over, by its own clock, and writes that back before a gateway hears
//! of it: another operator, or this one after a restart, goes on with the same times. Names are personal: they are in the
//! annotation and the live configuration, and in no log, event, metric or status.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use wsgateway_crds::{DISCONNECT, Disconnects, ValidGateway, WsGateway};

use crate::apply::in_our_name;
use crate::context::Context;
use crate::error::{Error, Stage};
use crate::wake::Name;

/// Between two attempts to write what cannot be written now, such as an object that is too large.
const RETRY: Duration = Duration::from_secs(30);
/// Bad lines that an event names.
const MOST_NAMED: usize = 3;
/// WsGateways remembered; of what is forgotten there is one more event.
const MOST: usize = 20_000;

/// What was reported of each WsGateway's annotation last.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<HashMap<Name, String>>);

impl Reported {
    /// Whether this is news.
    fn is_new(&self, key: &Name, note: &str) -> bool {
        let mut all = self.lock();
        if all.get(key).is_some_and(|before| before == note) {
            return false;
        }
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(key.clone(), note.to_owned());
        true
    }

    /// Forgets a WsGateway that is deleted, or of which there is nothing to report.
    pub(crate) fn forget(&self, key: &Name) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the annotation, brings it up to date, reports what in it counts for nothing, and gives the gateways what stands.
/// Returns the time until something of it is over.
///
/// # Errors
/// It could not be written now: what stands is not known yet, so gateways must keep what they have.
pub(crate) async fn settle(
    gateway: &WsGateway,
    valid: &mut ValidGateway,
    context: &Context,
) -> Result<Option<Duration>, Error> {
    let key = Name::new(&valid.namespace, &valid.name);
    let Some(text) = gateway.annotations().get(DISCONNECT) else {
        context.disconnects.forget(&key);
        return Ok(None);
    };
    let now = now();
    let mut all = Disconnects::parse(text);
    let (before, mut next) = (all.clone(), None);
    if all.settle(now) {
        match write(gateway, &all, context).await {
            Ok(()) => {}
            // Also a cache that is behind our own last write: with the times of now everybody would be ended twice.
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => {
                context.metrics.problem(error.stage.as_str(), error.reason);
                tracing::warn!(%error, "new disconnects wait: their times cannot be written");
                (all, next) = (before, Some(RETRY));
            }
        }
    }
    report(gateway, &key, problem(&all, valid), context).await;
    valid.disconnects = all.config();
    Ok(next.or_else(|| all.next(now)))
}

/// The time in whole milliseconds, as gateways are given it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

async fn write(gateway: &WsGateway, all: &Disconnects, context: &Context) -> Result<(), Error> {
    let name = gateway.name_any();
    let namespace = gateway.namespace().unwrap_or_default();
    let api: Api<WsGateway> = Api::namespaced(context.client.clone(), &namespace);
    // With the version: what a person adds at the same moment must not be lost.
    let patch = json!({ "metadata": {
        "annotations": { DISCONNECT: all.render() },
        "resourceVersion": gateway.metadata.resource_version,
    } });
    match api.patch_metadata(&name, &in_our_name(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            Err(Error::kube(Stage::Apply, &format!("annotation {DISCONNECT} of {name}"), &error))
        }
    }
}

async fn report(gateway: &WsGateway, key: &Name, problem: Option<String>, context: &Context) {
    match problem {
        None => context.disconnects.forget(key),
        Some(note) if context.disconnects.is_new(key, &note) => {
            context.events.tell(gateway, false, "DisconnectIgnored", &note).await;
        }
        Some(_) => {}
    }
}

/// What in the annotation counts for nothing, and what to do.
fn problem(all: &Disconnects, valid: &ValidGateway) -> Option<String> {
    let count = all.bad().count();
    if count == 0 {
        let is_vain = valid.auth.is_none() && all.entries().next().is_some();
        return is_vain.then(|| {
            format!(
                "{DISCONNECT} ends no connection: nobody has a name here, since clients show no tokens; set spec.auth, or \
                 remove the annotation"
            )
        });
    }
    let named: Vec<String> =
        all.bad().take(MOST_NAMED).map(|(line, why)| format!("line {line}: {why}")).collect();
    let more = if count > MOST_NAMED {
        format!("; and {} more", count - MOST_NAMED)
    } else {
        String::new()
    };
    Some(format!(
        "lines of {DISCONNECT} count for nothing, the others hold: {}{more}; correct them with kubectl edit wsgw {}",
        named.join("; "),
        valid.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(auth: bool) -> ValidGateway {
        let auth = match auth {
            true => {
                json!({ "jwt": { "jwks": { "url": "https://issuer/keys" }, "algorithms": ["RS256"] } })
            }
            false => json!(null),
        };
        let gateway: WsGateway = serde_json::from_value(json!({
            "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": { "name": "odin" },
            "spec": {
                "nats": { "servers": ["nats://n:4222"] },
                "stream": { "name": "S", "subjects": ["s.>"] },
                "auth": auth,
            },
        }))
        .unwrap();
        wsgateway_crds::validate(&gateway).unwrap()
    }

    #[test]
    fn a_bad_line_is_reported_by_its_number_and_no_name_is_in_the_report() {
        let good = r#"{"user":"ann","ban":"10m"}"#;
        let all = |text: &str| Disconnects::parse(text);
        assert_eq!(problem(&all(good), &valid(true)), None);
        let note =
            problem(&all(&format!("{good}\n{{\"user\":\"bob\",\"ban\":\"soon\"}}")), &valid(true))
                .unwrap();
        assert!(
            note.contains("line 2: ban must be a time") && note.contains("kubectl edit wsgw odin"),
            "{note}"
        );
        assert!(!note.contains("bob") && !note.contains("ann\""), "{note}");
        let many = problem(&all(&"ann\n".repeat(99)), &valid(true)).unwrap();
        assert!(
            many.contains("line 3:") && many.contains("and 96 more") && many.len() < 900,
            "{many}"
        );
    }

    #[test]
    fn where_nobody_has_a_name_a_disconnect_is_reported_as_vain() {
        let note = problem(&Disconnects::parse(r#"{"user":"ann"}"#), &valid(false)).unwrap();
        assert!(note.contains("set spec.auth"), "{note}");
        assert_eq!(problem(&Disconnects::default(), &valid(false)), None);
    }

    #[test]
    fn the_same_is_reported_once() {
        let (reported, key) = (Reported::default(), Name::new("a", "b"));
        assert!(reported.is_new(&key, "x") && !reported.is_new(&key, "x"));
        assert!(reported.is_new(&key, "y"));
        reported.forget(&key);
        assert!(reported.is_new(&key, "y"));
    }
}
