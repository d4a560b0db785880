//! Guards: while a container is short of CPU or memory, new clients are refused and what can wait does, so that those who are
//! connected get their messages in time.
//!
//! In: what the cgroup says, once a second. Out: a closed admission, slow lookups, a gauge. The judgement ([`Judge`]) is a
//! function of numbers and time; a container without a limit is never short.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wsgateway_config::Capacity;

use crate::admission::Admission;
use crate::resources::cgroup::{Cgroup, Load};
use crate::swap::Swap;

/// Between two samples. A kernel throttles by periods of 0.1 s: ten of them are no accident.
const EVERY: Duration = Duration::from_secs(1);
/// Above its level for so long, a guard acts: one busy second is a burst.
const RISE: Duration = Duration::from_secs(2);
/// Below its level, less [`MARGIN`], for so long, it ends: clients that were refused come back in a few seconds, and would
/// otherwise turn it on and off.
const FALL: Duration = Duration::from_secs(5);
/// Percentage points.
const MARGIN: f64 = 5.0;

/// What is done, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    RejectCpu,
    PauseCpu,
    RejectMemory,
}

impl Guard {
    const ALL: [Self; 3] = [Self::RejectCpu, Self::PauseCpu, Self::RejectMemory];

    /// The name used as metric label and in logs.
    fn name(self) -> &'static str {
        match self {
            Self::RejectCpu => "reject_cpu",
            Self::PauseCpu => "pause_cpu",
            Self::RejectMemory => "reject_memory",
        }
    }

    /// In words for /health.
    pub(crate) fn warning(self) -> &'static str {
        match self {
            Self::RejectCpu => "overloaded: new clients are refused until less CPU is used",
            Self::PauseCpu => "overloaded: replays wait until less CPU is used",
            Self::RejectMemory => "overloaded: new clients are refused until less memory is used",
        }
    }
}

/// The levels above which guards act, in percent of the container's limit; 0: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    reject_cpu: u32,
    pause_cpu: u32,
    reject_memory: u32,
}

impl Levels {
    pub(crate) fn of(capacity: &Capacity) -> Self {
        Self {
            reject_cpu: capacity.reject_above_cpu_percent,
            pause_cpu: capacity.pause_above_cpu_percent,
            reject_memory: capacity.reject_above_memory_percent,
        }
    }
}

/// One guard's memory of what it has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    acts: bool,
    /// Since when the value has been where the guard would change.
    since: Option<Instant>,
}

impl Latch {
    /// Whether the guard acts, with a value of this moment.
    fn step(&mut self, level: u32, value: Option<f64>, now: Instant) -> bool {
        let (Some(value), 1..) = (value, level) else {
            *self = Self::default();
            return false;
        };
        let level = f64::from(level);
        let (changes, wait) = match self.acts {
            false => (value > level, RISE),
            true => (value < level - MARGIN, FALL),
        };
        self.since = changes.then(|| self.since.unwrap_or(now));
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= wait) {
            *self = Self { acts: !self.acts, since: None };
        }
        self.acts
    }
}

/// What follows from loads, one after the other.
#[derive(Debug, Default)]
struct Judge([Latch; Guard::ALL.len()]);

impl Judge {
    /// Which guards act, in the order of [`Guard::ALL`].
    fn step(&mut self, levels: Levels, load: Load, now: Instant) -> [bool; Guard::ALL.len()] {
        let [cpu, pause, memory] = &mut self.0;
        [
            cpu.step(levels.reject_cpu, load.cpu_percent, now),
            pause.step(levels.pause_cpu, load.cpu_percent, now),
            memory.step(levels.reject_memory, load.memory_percent, now),
        ]
    }
}

/// The guards of a process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Guards(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    levels: Swap<Levels>,
    acting: [AtomicBool; Guard::ALL.len()],
    gauges: [IntGauge; Guard::ALL.len()],
    pause: watch::Sender<bool>,
}

impl Guards {
    pub(crate) fn new(levels: Levels, registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_guard_active",
            "1 while a guard acts, because the container is short of CPU or memory",
        );
        let gauge = IntGaugeVec::new(options, &["guard"])?;
        registry.register(Box::new(gauge.clone()))?;
        let gauges = Guard::ALL.map(|guard| gauge.with_label_values(&[guard.name()]));
        let pause = watch::Sender::new(false);
        let levels = Swap::new(levels);
        Ok(Self(Arc::new(Shared { levels, acting: Default::default(), gauges, pause })))
    }

    /// Acts by other levels from the next sample on.
    pub(crate) fn set(&self, levels: Levels) {
        self.0.levels.set(levels);
    }

    /// Those that act now.
    pub(crate) fn acting(&self) -> impl Iterator<Item = Guard> {
        let pairs = Guard::ALL.into_iter().zip(&self.0.acting);
        pairs.filter(|(_, acts)| acts.load(Ordering::Relaxed)).map(|(guard, _)| guard)
    }

    /// Says whether what can wait is to wait.
    pub(crate) fn pauses(&self) -> watch::Receiver<bool> {
        self.0.pause.subscribe()
    }

    fn apply(&self, acts: [bool; Guard::ALL.len()], load: Load, admission: &Admission) {
        let [reject_cpu, pause, reject_memory] = acts;
        admission.overload(reject_cpu || reject_memory);
        self.0.pause.send_if_modified(|paused| std::mem::replace(paused, pause) != pause);
        for ((guard, acts), (was, gauge)) in
            Guard::ALL.into_iter().zip(acts).zip(self.0.acting.iter().zip(&self.0.gauges))
        {
            gauge.set(acts.into());
            let (guard, cpu, memory) = (guard.name(), load.cpu_percent, load.memory_percent);
            match (was.swap(acts, Ordering::Relaxed), acts) {
                (false, true) => tracing::warn!(guard, cpu, memory, "overloaded: a guard acts"),
                (true, false) => tracing::info!(guard, cpu, memory, "a guard acts no more"),
                _ => {}
            }
        }
    }
}

/// Looks at the cgroup again and again.
pub(crate) async fn run(
    guards: Guards,
    root: PathBuf,
    admission: Admission,
    stop: CancellationToken,
) {
    let work = async {
        let (mut cgroup, mut judge) = (Cgroup::new(root), Judge::default());
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let load = cgroup.sample(now);
            let acts = judge.step(*guards.0.levels.get(), load, now);
            guards.apply(acts, load, &admission);
        }
    };
    stop.run_until_cancelled(work).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels { reject_cpu: 75, pause_cpu: 80, reject_memory: 90 };

    fn cpu(percent: f64) -> Load {
        Load { cpu_percent: Some(percent), memory_percent: None }
    }

    /// What acts after loads of a second each.
    fn after(levels: Levels, loads: &[Load]) -> [bool; 3] {
        let (mut judge, start) = (Judge::default(), Instant::now());
        let mut acts = [false; 3];
        for (second, load) in (0..).zip(loads) {
            acts = judge.step(levels, *load, start + Duration::from_secs(second));
        }
        acts
    }

    #[test]
    fn a_guard_acts_after_two_seconds_and_until_five_below_the_margin() {
        let nines = |count: usize| vec![9.0; count];
        for (what, seconds, expected) in [
            ("nothing", vec![10.0; 4], [false, false]),
            ("a burst", vec![10.0, 99.0, 99.0, 10.0], [false, false]),
            ("on its level", vec![75.0; 4], [false, false]),
            ("above the first", vec![76.0; 3], [true, false]),
            ("above both", vec![81.0; 3], [true, true]),
            ("a little less", [vec![81.0; 3], vec![71.0; 6]].concat(), [true, false]),
            ("not long enough", [vec![81.0; 3], nines(5), vec![78.0]].concat(), [true, true]),
            ("over", [vec![81.0; 3], nines(6)].concat(), [false, false]),
        ] {
            let loads: Vec<Load> = seconds.into_iter().map(cpu).collect();
            assert_eq!(after(LEVELS, &loads)[..2], expected, "{what}");
        }
    }

    #[test]
    fn memory_has_a_guard_of_its_own() {
        let load = Load { cpu_percent: Some(1.0), memory_percent: Some(91.0) };
        assert_eq!(after(LEVELS, &[load; 3]), [false, false, true]);
    }

    #[test]
    fn without_a_limit_or_a_level_no_guard_acts_and_one_that_did_ends_at_once() {
        let (none, busy) = (Load::default(), cpu(100.0));
        assert_eq!(after(LEVELS, &[none; 9]), [false; 3]);
        assert_eq!(after(Levels::default(), &[busy; 9]), [false; 3]);
        assert_eq!(after(LEVELS, &[busy, busy, busy, none]), [false; 3]);
        let mut judge = Judge::default();
        let start = Instant::now();
        for second in 0..4 {
            judge.step(LEVELS, busy, start + Duration::from_secs(second));
        }
        let acts = judge.step(Levels::default(), busy, start + Duration::from_secs(4));
        assert_eq!(acts, [false; 3], "it was switched off");
    }
}
