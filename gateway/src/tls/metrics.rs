//! What became of handshakes and of the certificate.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::TlsStatus;

/// How a connection's handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    /// The client broke it off, or has nothing in common with us.
    Failed,
    /// It spoke without TLS.
    Plain,
    /// It took too long, or its place was needed.
    TooSlow,
}

/// What became of handshakes and of the certificate.
#[derive(Clone, Debug)]
pub(crate) struct TlsMetrics {
    handshakes: [IntCounter; 4],
    reloads: [IntCounter; 2],
    expires: IntGauge,
    problem: IntGauge,
}

impl TlsMetrics {
    /// Registers all of them, with every outcome.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let handshakes = IntCounterVec::new(
            Opts::new("wsgateway_tls_handshakes_total", "TLS handshakes of clients, by outcome"),
            &["outcome"],
        )?;
        let reloads = IntCounterVec::new(
            Opts::new(
                "wsgateway_tls_reloads_total",
                "Changes of the certificate's files, by what became of them",
            ),
            &["outcome"],
        )?;
        let expires = IntGauge::new(
            "wsgateway_tls_certificate_expiry_timestamp_seconds",
            "When the certificate expires that clients are shown, in Unix time; 0 without TLS",
        )?;
        let problem = IntGauge::new(
            "wsgateway_tls_certificate_refused",
            "1 while the certificate's files hold no pair that can be used: the last good one is",
        )?;
        registry.register(Box::new(handshakes.clone()))?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(expires.clone()))?;
        registry.register(Box::new(problem.clone()))?;
        let outcomes = ["completed", "failed", "plain", "too_slow"];
        Ok(Self {
            handshakes: outcomes.map(|outcome| handshakes.with_label_values(&[outcome])),
            reloads: ["refused", "applied"].map(|outcome| reloads.with_label_values(&[outcome])),
            expires,
            problem,
        })
    }

    /// A handshake has ended.
    pub(crate) fn ended(&self, outcome: Outcome) {
        let [completed, failed, plain, too_slow] = &self.handshakes;
        match outcome {
            Outcome::Completed => completed.inc(),
            Outcome::Failed => failed.inc(),
            Outcome::Plain => plain.inc(),
            Outcome::TooSlow => too_slow.inc(),
        }
    }

    /// Other files were taken up, or not.
    pub(super) fn reloaded(&self, is_applied: bool) {
        let [refused, applied] = &self.reloads;
        if is_applied { applied.inc() } else { refused.inc() }
    }

    /// This is shown from now on.
    pub(super) fn shows(&self, status: &TlsStatus) {
        self.expires.set(status.not_after);
        self.problem.set(i64::from(status.problem.is_some()));
    }
}
