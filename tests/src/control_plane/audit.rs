//! What the API server noted of every request: who asked for what, and what became of it.
//!
//! Kubernetes' own controllers are left out. A request is in the log before or right after its answer: whoever counts
//! requests makes one himself and waits until that one is there ([`ControlPlane::audit_until_now`]).

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use serde_json::Value;

use super::{ControlPlane, Identity};
use crate::wait_until_some;

/// The log is behind by no more than what the server is doing.
const SOON: Duration = Duration::from_secs(60);

static MARKERS: AtomicU32 = AtomicU32::new(0);

/// What the API server notes.
pub(super) const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    users: ["system:apiserver", "system:kube-controller-manager", "system:anonymous"]
  - level: None
    userGroups: ["system:serviceaccounts:kube-system"]
  - level: Metadata
"#;

/// A request that has been answered; a watch, when it began and when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Such as `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// Such as `wsgateways` or `wsgateways/status`; empty for what is no resource.
    pub resource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// Nothing was to be changed.
    pub is_dry_run: bool,
    /// Of the answer.
    pub code: u16,
    /// When the API server had the request.
    pub received: Timestamp,
}

impl AuditEvent {
    /// Whether the request could change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !self.is_dry_run && !["get", "list", "watch"].contains(&self.verb.as_str())
    }

    /// Whether it was carried out.
    #[must_use]
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.code)
    }

    fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut resource = text(&object["resource"]);
        if let Some(part) = object["subresource"].as_str() {
            resource = format!("{resource}/{part}");
        }
        Some(Self {
            verb: text(&event["verb"]),
            user: text(&event["user"]["username"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            is_dry_run: event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All")),
            code: event["responseStatus"]["code"].as_u64()?.try_into().ok()?,
            received: event["requestReceivedTimestamp"].as_str()?.parse().ok()?,
        })
    }
}

impl ControlPlane {
    /// Requests of these users so far, in the order in which the API server received them.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit(&self, users: &[&str]) -> Result<Vec<AuditEvent>> {
        let text = std::fs::read_to_string(self.layout.audit_log()).context("no audit log")?;
        let users: BTreeSet<&str> = users.iter().copied().collect();
        let named = |line: &&str| users.iter().any(|user| line.contains(*user));
        let mut events: Vec<_> = text.lines().filter(named).filter_map(AuditEvent::read).collect();
        events.retain(|event| users.contains(event.user.as_str()));
        events.sort_by_key(|event| event.received);
        Ok(events)
    }

    /// The same, with certainly everything that was answered before this call.
    ///
    /// # Errors
    /// When the log cannot be read, or does not follow.
    pub async fn audit_until_now(&self, users: &[&str]) -> Result<Vec<AuditEvent>> {
        let number = MARKERS.fetch_add(1, Ordering::Relaxed);
        let marker = Identity::new(&format!("audit-marker-{number}"), &["system:masters"]);
        let client = super::client(&self.kubeconfig_as(&marker)?).await?;
        let map = ConfigMap {
            metadata: ObjectMeta { name: Some(marker.user.clone()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        Api::<ConfigMap>::namespaced(client, "default").create(&dry_run, &map).await?;
        wait_until_some(SOON, "the audit log to follow", async || {
            self.audit(&[marker.user.as_str()]).ok().filter(|events| !events.is_empty())
        })
        .await?;
        self.audit(users)
    }
}
