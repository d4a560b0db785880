//! Whether clients who are moved on purpose come back with all their messages, and what follows if they do not (pure).
//!
//! In: what was counted of the disruption under way, and the halt of before. Out: the halt of now, and whether a rollout may
//! take its next step. A halt is in the status, so that another operator does not go on by mistake. It belongs to a pod
//! template: a change of it, back or forth, ends it, and so does the end of what was halted.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use wsgateway_crds::{DisruptionKind, DisruptionStatus, HaltStatus, ValidGateway, WsGateway};

use crate::context::Context;
use crate::disruptions::Current;
use crate::status::Verdict;
use crate::text::cut;
use crate::wake::Name;
use crate::{moves, rollout};

/// On a WsGateway: goes on with what is halted, by any value that it did not have before.
pub(crate) const CONTINUE: &str = "wsgateway.dev/continue";
/// Fewer clients with a gap say nothing: some had been away for longer than messages are kept.
pub(crate) const LEAST: i64 = 10;
/// Clients in a hundred that may miss messages or be refused.
const PERCENT: i64 = 1;
/// Longest value of the annotation that is kept.
const LONGEST_ASKED: usize = 253;

/// How far a rollout is known to be harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Nobody was moved yet: the clients of one pod go first.
    Untested,
    /// The first ones are coming back.
    Measuring,
    #[default]
    Passed,
    /// Nobody else goes.
    Failed,
}

/// What clients have been put to by now, and what follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Contract {
    pub(crate) halt: Option<HaltStatus>,
    /// Of a rollout.
    pub(crate) trial: Trial,
    /// The value of [`CONTINUE`], which has been acted on.
    pub(crate) asked: Option<String>,
}

/// What a halt follows from.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    /// The halt of before.
    before: Option<&'a HaltStatus>,
    /// The disruption that is not over.
    current: Option<&'a Current>,
    /// The template of the Deployment.
    template: &'a str,
    /// Somebody wants it to go on.
    is_asked: bool,
    now: Timestamp,
}

/// What follows for a WsGateway whose Deployment has this template.
pub(crate) fn look(
    gateway: &WsGateway,
    valid: &ValidGateway,
    template: &str,
    context: &Context,
) -> Contract {
    let value = gateway.annotations().get(CONTINUE).map(|value| cut(value, LONGEST_ASKED));
    if !valid.disruption.halt_on_loss {
        return Contract { asked: value, ..Contract::default() };
    }
    let key = Name::new(&valid.namespace, &valid.name);
    let status = gateway.status.as_ref();
    let handled = status.and_then(|status| status.continue_asked.as_ref());
    let is_asked = value.is_some() && value.as_ref() != handled;
    let entries = status.map(|status| status.disruptions.as_slice()).unwrap_or_default();
    let counted = context.pods.counted(&key);
    let current = context.ledger.current(&key, entries, &counted, Instant::now());
    let seen = Seen {
        before: status.and_then(|status| status.halt.as_ref()),
        current: current.as_ref(),
        template,
        is_asked,
        now: Timestamp::now(),
    };
    let halt = judge(seen);
    let trial = trial(halt.as_ref(), current.as_ref(), template);
    Contract { halt, trial, asked: value }
}

/// The halt of now.
fn judge(seen: Seen<'_>) -> Option<HaltStatus> {
    let current = seen.current.filter(|current| is_of(&current.entry, seen.template));
    let before = seen.before.filter(|halt| halt.template == seen.template);
    let before = before
        .map(|halt| HaltStatus { continued: halt.continued || seen.is_asked, ..halt.clone() });
    let Some(Current { entry, .. }) = current else { return before };
    let halt = HaltStatus {
        kind: entry.kind,
        template: seen.template.to_owned(),
        since: Time(seen.now),
        clients: entry.clients,
        recovered: entry.recovered,
        lost: entry.lost,
        refused: entry.refused,
        continued: false,
    };
    match before {
        Some(before) if before.kind == entry.kind => {
            // The last clients come back after it; who is moved later is not why.
            let is_why = entry.began.0 <= before.since.0;
            let (since, continued) = (before.since.clone(), before.continued);
            Some(if is_why { HaltStatus { since, continued, ..halt } } else { before })
        }
        _ if is_voluntary(entry.kind) && is_beyond(entry) => Some(halt),
        before => before,
    }
}

/// Whether we do it, and may leave it.
fn is_voluntary(kind: DisruptionKind) -> bool {
    kind != DisruptionKind::PodStopped
}

fn is_of(entry: &DisruptionStatus, template: &str) -> bool {
    entry.template.as_deref() == Some(template)
}

/// Whether more clients missed messages or were refused than may. Clients who come back by themselves after a long time miss
/// messages, too: no more count than were sent away.
fn is_beyond(entry: &DisruptionStatus) -> bool {
    let resumed = entry.recovered.saturating_add(entry.lost);
    let is_much = |count: i64, of: i64| {
        count >= LEAST && count.saturating_mul(100) > of.saturating_mul(PERCENT)
    };
    is_much(entry.lost.min(entry.clients), resumed)
        || (entry.clients > 0 && is_much(entry.refused, entry.clients.max(resumed)))
}

/// How far the rollout to a template is known to be harmless.
fn trial(halt: Option<&HaltStatus>, current: Option<&Current>, template: &str) -> Trial {
    if let Some(halt) = halt.filter(|halt| halt.kind == DisruptionKind::Rollout) {
        return if halt.continued { Trial::Passed } else { Trial::Failed };
    }
    let is_ours = |current: &&Current| {
        current.entry.kind == DisruptionKind::Rollout && is_of(&current.entry, template)
    };
    match current.filter(is_ours) {
        Some(current) if current.is_passed => Trial::Passed,
        // Fewer tell nothing.
        Some(Current { entry, is_quiet, .. }) if entry.clients >= LEAST => {
            let resumed = entry.recovered.saturating_add(entry.lost);
            // Not everybody resumes: some begin anew, some never come back.
            if resumed >= entry.clients || *is_quiet { Trial::Passed } else { Trial::Measuring }
        }
        _ => Trial::Untested,
    }
}

impl Contract {
    /// What is halted and has not been continued.
    pub(crate) fn halted(&self) -> Option<DisruptionKind> {
        self.halt.as_ref().filter(|halt| !halt.continued).map(|halt| halt.kind)
    }

    /// Leaves a halt behind that is over, once it is known what is under way.
    pub(crate) fn settle(&mut self, rollout: &rollout::Stage, moves: &moves::Stage) {
        let is_under_way = |halt: &HaltStatus| match halt.kind {
            DisruptionKind::Rollout => rollout.is_rolling(),
            DisruptionKind::ScaleDown => moves.is_shrinking(),
            // Once it goes on it may be tried again, and is judged anew.
            DisruptionKind::Rebalance => {
                !halt.continued && *moves == moves::Stage::Halted(DisruptionKind::Rebalance)
            }
            DisruptionKind::PodStopped => false,
        };
        self.halt = self.halt.take().filter(is_under_way);
    }
}

/// What conditions say of a halt, as long as it stands.
pub(crate) fn words(halt: Option<&HaltStatus>, name: &str) -> Option<Verdict> {
    let halt = halt.filter(|halt| !halt.continued)?;
    let (reason, what, stays) = match halt.kind {
        DisruptionKind::Rollout => {
            ("RolloutHalted", "the rollout", "the other old pods keep their clients")
        }
        DisruptionKind::ScaleDown => (
            "ScaleDownHalted",
            "the removal of pods",
            "they go on serving the clients that they have",
        ),
        DisruptionKind::Rebalance | DisruptionKind::PodStopped => {
            ("RebalanceHalted", "the spreading of clients", "all stay where they are")
        }
    };
    let HaltStatus { clients, recovered, lost, refused, .. } = halt;
    let resumed = recovered.saturating_add(*lost);
    let back = match halt.kind {
        DisruptionKind::Rollout => ", or change the specification, back for example",
        _ => "",
    };
    Some(Verdict::no(
        reason,
        format!(
            "{what} is halted and {stays}: {clients} clients were sent away, {resumed} resumed, {lost} of these missed \
             messages, and {refused} attempts were refused, where {PERCENT} % may (disruption.haltOnLoss); see whether \
             stream.maxAge, maxMessages and maxBytes keep messages long enough and what the new pods log; then kubectl \
             annotate wsgateway {name} wsgateway.dev/continue=\"$(date)\" --overwrite goes on{back}"
        ),
    ))
}

#[cfg(test)]
mod tests;
