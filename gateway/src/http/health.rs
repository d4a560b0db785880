//! /health, /stats and /status: what people, load balancers and the operator ask.
//!
//! `/health` keeps the fields that clients of earlier systems read (`status`, `healthy`, `checks`, `warnings`,
//! `errors`, `uptime`, `websocket`), `/stats` those of theirs. Judgement ([`judge`]) is a function of numbers.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::Site;
use super::upgrade::source_is_healthy;
use crate::counters::{AWAY_MS, Totals};
use crate::guard::Guard;
use crate::resources::Usage;
use crate::source::status::{Snapshot, State as SourceState};
use crate::tls::Tls;

/// Percent of capacity, memory or CPU from which on people should know.
const WARN_PERCENT: f64 = 90.0;

/// What a judgement is made of.
#[derive(Debug)]
struct Facts<'a> {
    source: &'a Snapshot,
    draining: bool,
    connections: u64,
    capacity: u64,
    usage: Usage,
    guards: Vec<Guard>,
    /// Of the certificate.
    tls: Vec<String>,
}

/// A judgement, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Healthy,
    Degraded,
    Unhealthy,
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 1_000.0).round() / 10.0 }
}

/// What is wrong, in words that say what to do.
fn judge(facts: &Facts<'_>) -> (Verdict, Vec<String>, Vec<String>) {
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    if !source_is_healthy(facts.source.state) {
        let why = facts.source.error.as_deref().unwrap_or("please wait");
        let message = format!("source {}: {why}", facts.source.state.name());
        // Before it was ever live there is nothing to serve; afterwards clients stay and go on when it is back.
        if facts.source.epoch.is_empty() { errors.push(message) } else { warnings.push(message) }
    }
    if facts.draining {
        errors.push("draining: about to stop".to_owned());
    }
    let shares = [
        ("capacity", percent(facts.connections, facts.capacity)),
        ("memory", percent(facts.usage.memory, facts.usage.memory_limit)),
        ("cpu", facts.usage.cpu_percent),
    ];
    for (what, share) in shares {
        if share >= WARN_PERCENT {
            warnings.push(format!("{what} at {share:.0} %: add pods or raise the limit"));
        }
    }
    warnings.extend(facts.guards.iter().map(|guard| guard.warning().to_owned()));
    warnings.extend(facts.tls.iter().cloned());
    let verdict = match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => Verdict::Unhealthy,
        (true, false) => Verdict::Degraded,
        (true, true) => Verdict::Healthy,
    };
    (verdict, warnings, errors)
}

/// /health as it is now, for the admin port.
pub(super) async fn health(State(site): State<Arc<Site>>) -> (StatusCode, Json<Value>) {
    let (status, body) = render_health(&site);
    (status, Json(body))
}

/// /health of the public port: at most a second old, but for what it is judged by.
pub(super) async fn cached_health(State(site): State<Arc<Site>>) -> Response {
    let state = site.status.state() as u8;
    let key = state << 1 | u8::from(is_draining(&site));
    site.pages.health.answer(Instant::now(), key, || render_health(&site))
}

/// /stats of the public port: at most a second old.
pub(super) async fn cached_stats(State(site): State<Arc<Site>>) -> Response {
    site.pages.stats.answer(Instant::now(), 0, || (StatusCode::OK, render_stats(&site)))
}

fn render_health(site: &Site) -> (StatusCode, Value) {
    let source = site.status.snapshot();
    let facts = Facts {
        source: &source,
        draining: is_draining(site),
        connections: site.admission.taken(),
        capacity: site.admission.capacity(),
        usage: site.sampler.sample(),
        guards: site.guards.acting().collect(),
        tls: site.tls.as_ref().map(Tls::warnings).unwrap_or_default(),
    };
    let (verdict, warnings, errors) = judge(&facts);
    let mib = |bytes: u64| (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0;
    let (memory, capacity) = (
        percent(facts.usage.memory, facts.usage.memory_limit),
        percent(facts.connections, facts.capacity),
    );
    let broker = if source.state == SourceState::Live { "connected" } else { source.state.name() };
    let body = json!({
        "status": verdict,
        "healthy": verdict != Verdict::Unhealthy,
        "checks": {
            (site.broker): { "status": broker, "healthy": source_is_healthy(source.state) },
            "capacity": {
                "current": facts.connections, "max": facts.capacity, "percentage": capacity,
                "healthy": capacity < 100.0,
            },
            "memory": {
                "used_mb": mib(facts.usage.memory), "limit_mb": mib(facts.usage.memory_limit), "percentage": memory,
                "healthy": memory < WARN_PERCENT,
            },
            "cpu": {
                "percentage": (facts.usage.cpu_percent * 10.0).round() / 10.0,
                "healthy": facts.usage.cpu_percent < WARN_PERCENT,
            },
        },
        "warnings": warnings,
        "errors": errors,
        "uptime": uptime(site),
        "websocket": {
            "currentConnections": facts.connections,
            "totalConnections": site.admission.admitted(),
        },
    });
    let status = if verdict == Verdict::Unhealthy {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    (status, body)
}

/// /stats as they are now, for the admin port.
pub(super) async fn stats(State(site): State<Arc<Site>>) -> Json<Value> {
    Json(render_stats(&site))
}

fn render_stats(site: &Site) -> Value {
    let (totals, source) = (site.hub.totals(), site.status.snapshot());
    json!({
        "name": site.name,
        "currentConnections": site.admission.taken(),
        "totalConnections": site.admission.admitted(),
        "capacity": site.admission.capacity(),
        "messagesSent": totals.deliveries,
        "messagesReceived": totals.commands,
        "messagesPublished": source.messages,
        "messagesDelivered": totals.deliveries,
        "connectionCount": site.admission.taken(),
        "averageLatency": (totals.mean_latency_ms() * 1_000.0).round() / 1_000.0,
        "peakLatency": totals.peak_latency_ms,
        "bytesSent": totals.delivered_bytes,
        "writes": totals.writes,
        "subscriptions": totals.subscriptions,
        "slowConsumers": totals.slow_consumers(),
        "outboxBytes": totals.outbox_bytes,
        "streamMessages": source.messages,
        "duplicatesDropped": source.duplicates + source.repetitions,
        "streamMessagesLost": source.lost,
        "lastSequence": source.last_sequence,
        "epoch": source.epoch,
        "shards": site.hub.shards(),
        "uptime": uptime(site),
    })
}

pub(super) async fn status(State(site): State<Arc<Site>>) -> Json<Value> {
    let source = site.status.snapshot();
    let (draining, config) = (is_draining(&site), site.config.get());
    let shed = site.shedding.progress().map(|progress| {
        json!({
            "id": progress.shed.id, "reason": progress.shed.reason, "keep": progress.shed.keep,
            "perMinute": progress.shed.per_minute, "closed": progress.is_closed, "told": progress.told,
        })
    });
    let (totals, usage) = (site.hub.totals(), site.sampler.sample());
    Json(json!({
        "ready": !source.epoch.is_empty() && !draining,
        "draining": draining,
        "connections": site.admission.taken(),
        "capacity": site.admission.capacity(),
        "configHash": config.hash,
        "liveHash": config.live_hash,
        "configProblem": config.problem,
        "unknownKeys": config.unknown,
        "shed": shed,
        "auth": site.authentication.status(),
        "tls": site.tls.as_ref().map(Tls::status),
        "cpuPercent": (usage.cpu_percent * 10.0).round() / 10.0,
        "memoryBytes": usage.memory,
        "streamMessages": source.messages,
        "deliveries": totals.deliveries,
        "slowClients": totals.outboxes,
        "sentAway": totals.sent_away,
        "refused": site.rejections.unexpected(),
        "resumes": { "recovered": totals.resumes_recovered, "withGap": totals.resumes_with_gap, "awayMs": away(&totals) },
        "source": source,
    }))
}

/// How long clients were away that resumed: upper bounds (ms, none for the last) and how many were within.
fn away(totals: &Totals) -> Vec<(Option<u64>, u64)> {
    let bounds = AWAY_MS.iter().copied().map(Some).chain([None]);
    bounds.zip(totals.away.counts).filter(|(_, count)| *count > 0).collect()
}

/// Whether the pod is about to go, or is not needed any more.
fn is_draining(site: &Site) -> bool {
    site.admission.is_closed() || site.shedding.is_draining()
}

fn uptime(site: &Site) -> f64 {
    (site.started.elapsed().as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::status::Status;

    fn verdict(change: impl Fn(&mut Facts<'_>), state: SourceState, epoch: &str) -> Verdict {
        let mut source = Status::new("S").snapshot();
        (source.state, source.epoch) = (state, epoch.to_owned());
        let usage = Usage { memory: 1, memory_limit: 100, cpu_limit: 1.0, cpu_percent: 1.0 };
        let mut facts = Facts {
            source: &source,
            draining: false,
            connections: 1,
            capacity: 100,
            usage,
            guards: Vec::new(),
            tls: Vec::new(),
        };
        change(&mut facts);
        judge(&facts).0
    }

    #[test]
    fn a_live_gateway_with_room_is_healthy() {
        assert_eq!(verdict(|_| {}, SourceState::Live, "e"), Verdict::Healthy);
    }

    #[test]
    fn a_source_that_was_live_once_degrades_and_one_that_never_was_is_unhealthy() {
        assert_eq!(verdict(|_| {}, SourceState::Connecting, "e"), Verdict::Degraded);
        assert_eq!(verdict(|_| {}, SourceState::Connecting, ""), Verdict::Unhealthy);
    }

    #[test]
    fn little_room_degrades_and_draining_is_unhealthy() {
        assert_eq!(
            verdict(|facts| facts.connections = 95, SourceState::Live, "e"),
            Verdict::Degraded
        );
        assert_eq!(
            verdict(|facts| facts.usage.memory = 95, SourceState::Live, "e"),
            Verdict::Degraded
        );
        let refused = |facts: &mut Facts<'_>| facts.tls.push("tls: no key".to_owned());
        assert_eq!(verdict(refused, SourceState::Live, "e"), Verdict::Degraded);
        let guarded = |facts: &mut Facts<'_>| facts.guards.push(Guard::PauseCpu);
        assert_eq!(verdict(guarded, SourceState::Live, "e"), Verdict::Degraded);
        assert_eq!(
            verdict(|facts| facts.draining = true, SourceState::Live, "e"),
            Verdict::Unhealthy
        );
    }
}
