//! Which pods hand clients over while none is replaced (pure): those that are not needed any more, the emptiest first, and
//! those that have far more clients than others.
//!
//! What is decided stands on the pods themselves: whether the Service sends clients to them (a label), and what they do with
//! those that they have (an annotation, which they read). So nothing is remembered, another operator goes on from what it
//! finds, and whatever is called off is undone by taking it away. One thing happens at a time: nothing while pods are replaced,
//! and while a pod that somebody else ends hands its clients over, ours wait. So all of it together keeps one pace.

mod rebalance;
mod rest;
mod shrink;

use std::collections::BTreeSet;

use wsgateway_config::{Shed, ShedReason};
use wsgateway_crds::{DisruptionKind, ValidRebalance};

use crate::fleet::{PodFacts, Seen};

/// Load balancers hear in these seconds that a pod takes no clients; it still does meanwhile.
const DELAY_SECONDS: i64 = 5;
/// Above the time that clients take at the pace: for those that come back late, or do not go.
const MARGIN_SECONDS: i64 = 60;

/// What a pod does with clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stance {
    /// The Service sends it clients.
    pub(crate) accepts: bool,
    pub(crate) shed: Option<Shed>,
}

/// What is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    /// Pods that the Deployment is to have, if there is one.
    pub(crate) replicas: Option<i32>,
    /// Pods of all templates.
    pub(crate) pods: &'a [PodFacts],
    /// The template of the Deployment.
    pub(crate) template: &'a str,
    /// Pods are being replaced.
    pub(crate) is_rolling: bool,
    /// The Service is limited to pods of one template, or is about to be.
    pub(crate) is_pinned: bool,
    /// The pods have said how many clients they have a moment ago, as far as they say anything.
    pub(crate) is_fresh: bool,
    /// No crowd comes or goes.
    pub(crate) is_steady: bool,
    /// Unix time (s).
    pub(crate) now: i64,
    /// Seconds since clients were last moved to spread them.
    pub(crate) since_rebalance: Option<i64>,
    /// Until when clients have been moved as often as they may (Unix time, s).
    pub(crate) moved_enough_until: Option<i64>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) replicas: i32,
    /// Clients in a minute that leave pods which are not needed any more.
    pub(crate) per_minute: u32,
    pub(crate) rebalance: ValidRebalance,
    /// Somebody asks for a rebalance that has not been yet.
    pub(crate) is_asked: bool,
    /// Clients whose connection is younger than this are not moved to spread them (s).
    pub(crate) min_age_seconds: u32,
    /// What too many clients have missed messages by: it is called off, and does not begin.
    pub(crate) halted: Option<DisruptionKind>,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing.
    #[default]
    Settled,
    /// Pods that are not needed any more hand their clients over.
    Shrinking(Moves),
    /// There is not room enough for the clients of the next pod that is not needed.
    NoRoom { room: u64, needed: u64, surplus: usize },
    /// Clients have been moved as often as they may: pods that are not needed any more stay until then (Unix time, s).
    Resting { surplus: usize, until: i64 },
    /// Pods above the mean hand some of their clients over.
    Rebalancing(Moves),
    /// Pods that hand clients over, or are to, wait for so many that are being ended by somebody else.
    Yielding { ending: usize, moves: Moves, shrinks: bool },
    /// Clients stay where they are, though pods are not needed, or have too many of them.
    Halted(DisruptionKind),
}

impl Stage {
    /// What [`Stage::word`] may be.
    pub(crate) const WORDS: [&str; 7] =
        ["settled", "shrinking", "no_room", "resting", "rebalancing", "yielding", "halted"];

    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Shrinking(_) => "shrinking",
            Self::NoRoom { .. } => "no_room",
            Self::Resting { .. } => "resting",
            Self::Rebalancing(_) => "rebalancing",
            Self::Yielding { .. } => "yielding",
            Self::Halted(_) => "halted",
        }
    }

    /// Clients that are still to be moved.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Shrinking(moves) | Self::Rebalancing(moves) | Self::Yielding { moves, .. } => {
                moves.left
            }
            Self::NoRoom { needed, .. } => *needed,
            Self::Settled | Self::Resting { .. } | Self::Halted(_) => 0,
        }
    }

    /// Whether there are pods that are not needed any more.
    pub(crate) fn is_shrinking(&self) -> bool {
        matches!(
            self,
            Self::Shrinking(_)
                | Self::NoRoom { .. }
                | Self::Resting { .. }
                | Self::Yielding { shrinks: true, .. }
                | Self::Halted(DisruptionKind::ScaleDown)
        )
    }
}

/// How many are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Pods that hand clients over, and all that are to.
    pub(crate) pods: usize,
    pub(crate) of: usize,
    /// Clients that are to go.
    pub(crate) left: u64,
    pub(crate) seconds_left: u64,
}

/// The steps to take now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Pods that the Deployment is to have.
    pub(crate) replicas: i32,
    /// Pods whose stance is another one, by name.
    pub(crate) changes: Vec<(String, Stance)>,
    pub(crate) stage: Stage,
    /// Pods that were called back have not opened their entrance yet, are to be asked once more before one is told anything, or
    /// wait for others.
    pub(crate) is_waiting: bool,
    /// It was looked whether clients are spread evenly, and acted on what was found.
    pub(crate) is_answered: bool,
}

/// A pod, and what it is to do.
#[derive(Clone, Debug)]
struct Pod<'a> {
    facts: &'a PodFacts,
    stance: Stance,
}

/// The next steps.
pub(crate) fn plan(observed: &Observed<'_>, wanted: Wanted) -> Plan {
    let mut pods: Vec<Pod<'_>> = observed
        .pods
        .iter()
        .filter(|facts| facts.is_current())
        .map(|facts| Pod { facts, stance: Stance { accepts: true, shed: facts.view.shed.clone() } })
        .collect();
    let replicas = observed.replicas.unwrap_or(wanted.replicas);
    let (mut replicas, mut stage, mut is_answered) =
        (replicas.max(wanted.replicas), Stage::Settled, false);
    // Where pods are replaced, clients are moved by that.
    if observed.is_rolling || wanted.replicas == 0 {
        pods.iter_mut().for_each(|pod| pod.stance.shed = None);
        replicas = if wanted.replicas == 0 { 0 } else { replicas };
    } else {
        let is_of_template =
            |pod: &Pod<'_>| pod.facts.view.template.as_deref() == Some(observed.template);
        let (mut ours, mut others): (Vec<Pod<'_>>, Vec<Pod<'_>>) =
            pods.into_iter().partition(is_of_template);
        others.iter_mut().for_each(|pod| pod.stance.shed = None);
        rest::step(&mut ours, observed, wanted);
        (replicas, stage) = shrink::step(&mut ours, replicas, observed, wanted);
        if stage == Stage::Settled {
            (stage, is_answered) = rebalance::step(&mut ours, replicas, observed, wanted);
        } else {
            rebalance::call_off(&mut ours);
        }
        stage = rest::stage(stage, observed);
        ours.append(&mut others);
        pods = ours;
    }
    let waits =
        |reason| !observed.is_fresh || (reason == ShedReason::Rebalance && !observed.is_steady);
    let is_premature = retract(&mut pods, waits);
    if is_premature {
        (stage, is_answered) = (Stage::Settled, false);
    }
    withdraw(&mut pods, observed.is_pinned);
    let is_yielding = matches!(stage, Stage::Yielding { .. });
    let is_waiting = is_premature
        || is_yielding
        || pods.iter().any(|pod| pod.stance.shed.is_none() && pod.has_closed());
    let changes = pods
        .into_iter()
        .filter(|pod| {
            pod.stance
                != Stance { accepts: pod.facts.view.accepts, shed: pod.facts.view.shed.clone() }
        })
        .map(|pod| (pod.facts.view.name.clone(), pod.stance))
        .collect();
    Plan { replicas, changes, stage, is_waiting, is_answered }
}

/// Leaves what was newly decided for another look, if that waits. Returns whether there was anything.
fn retract(pods: &mut [Pod<'_>], waits: impl Fn(ShedReason) -> bool) -> bool {
    let id = |shed: &Option<Shed>| shed.as_ref().map(|shed| shed.id.clone());
    let is_new = |pod: &&mut Pod<'_>| {
        pod.stance.shed.as_ref().is_some_and(|shed| {
            waits(shed.reason) && Some(&shed.id) != id(&pod.facts.view.shed).as_ref()
        })
    };
    let mut new = pods.iter_mut().filter(is_new).peekable();
    let any = new.peek().is_some();
    new.for_each(|pod| pod.stance.shed.clone_from(&pod.facts.view.shed));
    any
}

/// Takes pods from behind the Service that hand clients over, and, as long as others have room, those that are full or on a
/// node that is taken out of service: a new client is not to meet a closed door while there is an open one, nor a pod from
/// which it has to go soon. Somebody takes clients in any case, also of the pods of one template, if only those are
/// behind the Service.
fn withdraw(pods: &mut [Pod<'_>], is_pinned: bool) {
    let template = |pod: &Pod<'_>| pod.facts.view.template.as_ref().filter(|_| is_pinned).cloned();
    let templates: BTreeSet<Option<String>> = pods.iter().map(template).collect();
    for of in &templates {
        let mut group: Vec<_> = pods.iter_mut().filter(|pod| template(pod) == *of).collect();
        withdraw_of(&mut group);
    }
}

fn withdraw_of(pods: &mut [&mut Pod<'_>]) {
    for pod in &mut *pods {
        // One that was called back takes clients when it says so; of one that has not been asked yet nothing is known.
        let may_accept = pod.facts.view.accepts || pod.facts.seen != Seen::NotAsked;
        pod.stance.accepts = may_accept && pod.stance.shed.is_none() && !pod.has_closed();
    }
    let has_room =
        |pod: &&mut Pod<'_>| pod.stance.accepts && pod.facts.takes_clients() && !pod.facts.full;
    if pods.iter().any(|pod| has_room(pod) && !pod.facts.leaving) {
        for pod in pods.iter_mut().filter(|pod| pod.facts.full || pod.facts.leaving) {
            pod.stance.accepts = false;
        }
    } else if pods.iter().any(has_room) {
        for pod in pods.iter_mut().filter(|pod| pod.facts.full) {
            pod.stance.accepts = false;
        }
    }
    if !pods.iter().any(|pod| pod.stance.accepts) {
        pods.iter_mut().for_each(|pod| pod.stance.accepts = true);
    }
}

impl Pod<'_> {
    fn connections(&self) -> u64 {
        self.facts.report().map_or(0, |report| u64::from(report.connections))
    }

    fn room(&self) -> u64 {
        let free =
            |report: &crate::fleet::Report| report.capacity.saturating_sub(report.connections);
        self.facts.report().map_or(0, |report| u64::from(free(report)))
    }

    /// Whether its entrance is closed.
    fn has_closed(&self) -> bool {
        self.facts.report().is_some_and(|report| report.shed.is_some())
    }

    fn sheds(&self, reason: ShedReason) -> bool {
        self.stance.shed.as_ref().is_some_and(|shed| shed.reason == reason)
    }

    /// Whether it has done what it was told, or has had the time for it.
    fn is_done(&self, now: i64) -> bool {
        let Some(shed) = &self.stance.shed else { return false };
        let has_closed =
            self.facts.report().is_some_and(|report| report.shed.as_deref() == Some(&*shed.id));
        self.facts.is_idle() || now >= shed.until || (has_closed && self.connections() <= shed.keep)
    }
}

/// An instruction that begins now, for a pod whose clients are a part of those that move together at a pace.
fn instruct(reason: ShedReason, now: i64, (keep, moving): (u64, u64), all: u64, pace: u32) -> Shed {
    let share = (u64::from(pace) * moving).checked_div(all).unwrap_or(pace.into());
    let seconds =
        i64::try_from(all.saturating_mul(60) / u64::from(pace.max(1))).unwrap_or(i64::MAX);
    Shed {
        id: format!("{}-{now}", reason.as_str()),
        reason,
        keep,
        per_minute: u32::try_from(share.max(1)).unwrap_or(u32::MAX),
        delay_ms: u32::try_from(DELAY_SECONDS * 1_000).unwrap_or_default(),
        min_age_seconds: 0,
        until: now
            .saturating_add(DELAY_SECONDS + MARGIN_SECONDS)
            .saturating_add(seconds.saturating_mul(2)),
    }
}

/// Pods from which clients leave for another reason at this moment: Kubernetes ends them.
fn ending(observed: &Observed<'_>) -> usize {
    observed.pods.iter().filter(|pod| pod.is_ending(observed.now)).count()
}

#[cfg(test)]
mod tests;
