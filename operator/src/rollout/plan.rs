//! What a rollout does next (pure): from what is wanted and what is seen to steps, all of which may be repeated.
//!
//! 1. The Deployment gets the new template and is paused. Its ReplicaSet of before is detached: owned by the WsGateway, so
//!    that no controller but us scales it. The Deployment goes on and starts all pods of the new template.
//! 2. Once enough of these take clients, the Service is limited to them. Whoever connects from now on stays.
//! 3. The detached pods go, a few at a time, each handing over its clients at the pace of the rollout, and only if there
//!    is room for them. The first one goes alone, and the others wait until its clients are back; as soon as too many of
//!    those who were moved have missed messages, no other pod goes. None goes while a pod hands over its clients that somebody
//!    else ends. In the end the Service takes all pods again, of which there is one kind.
//!
//! Nothing is remembered: a new operator goes on from what it finds.

mod world;

use crate::fleet::PodFacts;
use crate::halt::Trial;
use world::World;

/// Whose a ReplicaSet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The Deployment scales it.
    Deployment,
    /// It is detached: we do.
    Gateway,
}

/// A ReplicaSet with pods of a WsGateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Hash of its pod template; those of earlier operators have none.
    pub(crate) template: Option<String>,
    pub(crate) replicas: i32,
    pub(crate) owner: Owner,
}

/// The Deployment that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) template: Option<String>,
    pub(crate) paused: bool,
    /// Its controller has seen it as it is.
    pub(crate) is_observed: bool,
    /// Kubernetes refuses some of its pods.
    pub(crate) is_refused: bool,
}

/// What is seen.
#[derive(Clone, Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) deployment: Option<Current>,
    pub(crate) sets: &'a [Set],
    /// `None`: nobody knows yet which there are.
    pub(crate) pods: Option<&'a [PodFacts]>,
    /// The template that the Service is limited to.
    pub(crate) pinned: Option<String>,
    /// Unix time (s).
    pub(crate) now: i64,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) template: &'a str,
    pub(crate) replicas: i32,
    pub(crate) per_minute: u32,
    /// Whether pods may be replaced now.
    pub(crate) may_begin: bool,
    /// How those fared who were moved first.
    pub(crate) trial: Trial,
}

/// What is done with a ReplicaSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The WsGateway owns it instead of the Deployment.
    Detach,
    /// The Deployment, whose template it has again, may take it back.
    Attach,
    Scale(i32),
    Delete,
}

/// What is done with the Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// It gets the wanted template.
    Apply { paused: bool },
    /// It keeps the one that it has.
    Keep,
}

/// The clients that a rollout moves, as far as pods say how many they have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Pods of the wanted template that take clients, and how many are wanted.
    pub(crate) ready: usize,
    pub(crate) wanted: usize,
    /// Pods of other templates that are there, and their clients.
    pub(crate) old_pods: usize,
    pub(crate) left: u64,
    /// Clients on pods of the wanted template.
    pub(crate) moved: u64,
    pub(crate) seconds_left: u64,
}

/// How far a rollout is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is none.
    #[default]
    Settled,
    /// Others are before this one.
    WaitsForTurn,
    /// Clients stay where they are while new pods start.
    Starting(Moves),
    /// Clients move.
    Moving(Moves),
    /// The new pods have less room than the next pod has clients.
    NoRoom { moves: Moves, room: u64, needed: u64 },
    /// No other old pod goes: too many clients have missed messages.
    Halted(Moves),
}

/// The steps to take now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) template: Template,
    /// The template that the Service is to be limited to.
    pub(crate) pin: Option<String>,
    pub(crate) sets: Vec<(Set, Action)>,
    pub(crate) stage: Stage,
}

impl Stage {
    /// What [`Stage::word`] may be.
    pub(crate) const WORDS: [&str; 6] =
        ["settled", "waits_for_turn", "starting", "moving", "no_room", "halted"];

    /// One word for it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::WaitsForTurn => "waits_for_turn",
            Self::Starting(_) => "starting",
            Self::Moving(_) => "moving",
            Self::NoRoom { .. } => "no_room",
            Self::Halted(_) => "halted",
        }
    }

    /// Clients that are still to be moved.
    pub(crate) fn left(&self) -> u64 {
        match self {
            Self::Settled | Self::WaitsForTurn => 0,
            Self::Starting(moves) | Self::Moving(moves) | Self::Halted(moves) => moves.left,
            Self::NoRoom { moves, .. } => moves.left,
        }
    }

    /// Whether pods are being replaced.
    pub(crate) fn is_rolling(&self) -> bool {
        !matches!(self, Self::Settled | Self::WaitsForTurn)
    }

    /// Whether clients are being moved for it.
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self, Self::Moving(_) | Self::NoRoom { .. })
    }
}

impl Plan {
    /// Whether old pods go that have clients.
    pub(crate) fn ends_pods(&self) -> bool {
        self.sets.iter().any(|(_, action)| matches!(action, Action::Scale(_)))
    }
}

impl Observed<'_> {
    /// Whether a detached ReplicaSet is to have fewer pods than there are.
    pub(crate) fn is_choosing(&self) -> bool {
        let pods = self.pods.unwrap_or_default();
        let count = |set: &Set| {
            let of_set = |pod: &&PodFacts| pod.is_current() && pod.view.template == set.template;
            pods.iter().filter(of_set).count()
        };
        let mut detached = self.sets.iter().filter(|set| set.owner == Owner::Gateway);
        detached.any(|set| usize::try_from(set.replicas).is_ok_and(|most| count(set) > most))
    }

    /// Whether anything is to be done but to apply the Deployment: only then the ReplicaSets matter.
    pub(crate) fn needs_steps(&self, template: &str) -> bool {
        let Some(current) = &self.deployment else { return false };
        let is = |found: &Option<String>| found.as_deref() == Some(template);
        let pods = self.pods.unwrap_or_default();
        !is(&current.template)
            || current.paused
            || self.pinned.is_some()
            || pods.iter().any(|pod| pod.view.ended.is_none() && !is(&pod.view.template))
    }
}

/// The next steps.
pub(crate) fn plan(observed: &Observed<'_>, wanted: Wanted<'_>) -> Plan {
    let pin = observed.pinned.clone();
    let Some(current) = &observed.deployment else {
        let (template, stage) = (Template::Apply { paused: false }, Stage::Settled);
        return Plan { template, pin: None, sets: Vec::new(), stage };
    };
    let world = World::of(observed, wanted);
    let starting = Stage::Starting(world.moves());
    if current.template.as_deref() != Some(wanted.template) {
        // One that is paused has begun and got no further.
        if wanted.may_begin || current.paused {
            let template = Template::Apply { paused: true };
            return Plan { template, pin, sets: Vec::new(), stage: starting };
        }
        let mut plan = match current.template.as_deref() {
            // What has begun before goes on.
            Some(template) => World::of(observed, Wanted { template, ..wanted }).moving(),
            None => Plan { template: Template::Keep, pin, sets: Vec::new(), stage: Stage::Settled },
        };
        plan.template = Template::Keep;
        if plan.stage == Stage::Settled {
            plan.stage = Stage::WaitsForTurn;
        }
        return plan;
    }
    if current.paused {
        let sets = if current.is_observed { world.handed_over() } else { Vec::new() };
        let paused = !current.is_observed || !sets.is_empty();
        return Plan { template: Template::Apply { paused }, pin, sets, stage: starting };
    }
    world.moving()
}

#[cfg(test)]
mod tests;
