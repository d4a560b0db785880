//! What became of tokens, and of the keys for them.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use wsgateway_access::{RefusedToken, Verified};

use super::KeysStatus;

/// What became of tokens. No label comes from a token.
#[derive(Clone, Debug)]
pub(crate) struct AuthMetrics {
    refused: Arc<HashMap<RefusedToken, IntCounter>>,
    pub missing: IntCounter,
    pub several: IntCounter,
    pub no_origin: IntCounter,
    pub no_keys: IntCounter,
    pub wrong_user: IntCounter,
    pub banned: IntCounter,
    by_signature: IntCounter,
    by_cache: IntCounter,
    fetched: [IntCounter; 2],
    keys: IntGauge,
    problems: IntGauge,
    disconnects: IntGauge,
}

impl AuthMetrics {
    /// Registers all of them, with every reason.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let refused = IntCounterVec::new(
            Opts::new(
                "wsgateway_auth_refused_total",
                "Requests and commands refused for their token",
            ),
            &["reason"],
        )?;
        let verified = IntCounterVec::new(
            Opts::new("wsgateway_auth_verified_total", "Tokens accepted, by what verified them"),
            &["by"],
        )?;
        let fetches = IntCounterVec::new(
            Opts::new("wsgateway_auth_key_fetches_total", "Requests for the keys of an issuer"),
            &["outcome"],
        )?;
        let keys = IntGauge::new("wsgateway_auth_keys", "Keys that tokens are verified with")?;
        let problems = IntGauge::new(
            "wsgateway_auth_key_problems",
            "Files or addresses of keys that cannot be used now: their last good keys are",
        )?;
        let disconnects = IntGauge::new(
            "wsgateway_auth_disconnects",
            "Disconnects that stand: users and tokens whose connections were ended, banned ones among them",
        )?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(verified.clone()))?;
        registry.register(Box::new(fetches.clone()))?;
        registry.register(Box::new(keys.clone()))?;
        registry.register(Box::new(problems.clone()))?;
        registry.register(Box::new(disconnects.clone()))?;
        let reason = |reason| refused.with_label_values(&[reason]);
        let by = |by| verified.with_label_values(&[by]);
        Ok(Self {
            refused: Arc::new(RefusedToken::ALL.map(|one| (one, reason(one.code()))).into()),
            missing: reason("token_missing"),
            several: reason("several_tokens"),
            no_origin: reason("origin_missing"),
            no_keys: reason("no_keys"),
            wrong_user: reason("wrong_user"),
            banned: reason("banned"),
            by_signature: by("signature"),
            by_cache: by("cache"),
            fetched: ["failed", "answered"].map(|outcome| fetches.with_label_values(&[outcome])),
            keys,
            problems,
            disconnects,
        })
    }

    /// A token was refused.
    pub(crate) fn refused(&self, refused: RefusedToken) {
        if let Some(counter) = self.refused.get(&refused) {
            counter.inc();
        }
    }

    /// A token was accepted.
    pub(crate) fn verified(&self, verified: &Verified) {
        if verified.was_cached { self.by_cache.inc() } else { self.by_signature.inc() }
    }

    /// An issuer was asked.
    pub(super) fn fetched(&self, is_answered: bool) {
        let [failed, answered] = &self.fetched;
        if is_answered { answered.inc() } else { failed.inc() }
    }

    /// So many disconnects stand.
    pub(super) fn disconnects(&self, count: usize) {
        self.disconnects.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// These are the keys.
    pub(super) fn keys(&self, status: Option<&KeysStatus>) {
        let (keys, problems) = status.map_or((0, 0), |all| (all.keys, all.problems.len()));
        self.keys.set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.problems.set(i64::try_from(problems).unwrap_or(i64::MAX));
    }
}
