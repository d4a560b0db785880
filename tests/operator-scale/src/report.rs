//! What a run found out: as a table for people, and as JSON for machines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wsgateway_client::machine::Machine;

use crate::fleet::{Broken, Changed, Cold, Fleet, Rest};
use crate::gateways::Fault;
use crate::hostile::{Hostile, MOST_WRITES};
use crate::plan::Plan;

/// Resident memory of the operator (bytes) with a thousand WsGateways.
pub const MEMORY: u64 = 100_000_000;
/// Cold start of a thousand (s).
pub const COLD: f64 = 60.0;
/// Writes of one change.
pub const CHANGE: u64 = 8;
/// Of these, those that are no write of the status, of which there is another one every five seconds while a change takes
/// its time: what tests can hold a change to on a machine that is busy.
#[must_use]
pub fn most_besides_status(what: &str) -> u64 {
    // The template, hand-over, start, switch and end of a ReplicaSet and of its ConfigMap, the Service and back, twice
    // what is told (ADR 0032), and evictions that are held and allowed again (ADR 0038). P11 has 8 for all of them, with
    // the status.
    if what.contains("replaces all pods") { 13 } else { 6 }
}

/// Everything that a run found out.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// The operator's program was built without optimisation.
    pub debug: bool,
    /// WsGateways.
    pub gateways: usize,
    /// Pods of each.
    pub pods: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Seconds between two reconciliations at rest.
    pub resync_seconds: u32,
    /// All of them sound.
    pub fleet: Option<Fleet>,
    /// A tenth of them broken.
    pub broken: Option<Broken>,
    /// Hostile ones.
    pub hostile: Option<Hostile>,
}

impl Results {
    /// The results of a run after this plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            machine: Machine::of_this(false),
            debug: plan.operator.components().any(|part| part.as_os_str() == "debug"),
            gateways: plan.gateways,
            pods: plan.pods,
            namespaces: plan.namespaces,
            resync_seconds: plan.resync,
            fleet: None,
            broken: None,
            hostile: None,
        }
    }

    /// Those of an earlier run of the same size that this one left out.
    pub fn complete(&mut self, earlier: Self) {
        if (earlier.gateways, earlier.pods, earlier.debug) == (self.gateways, self.pods, self.debug)
        {
            self.fleet = self.fleet.take().or(earlier.fleet);
            self.broken = self.broken.take().or(earlier.broken);
            self.hostile = self.hostile.take().or(earlier.hostile);
        }
    }

    /// How much longer sound WsGateways took with broken ones among them than without, to the last and to the half of them.
    #[must_use]
    pub fn ratios(&self) -> Option<(f64, f64)> {
        let (alone, among) = (&self.fleet.as_ref()?.cold, &self.broken.as_ref()?.cold);
        let ratio = |among: f64, alone: f64| among / alone.max(1e-3);
        Some((
            ratio(among.seconds_of_sound, alone.seconds_of_sound),
            ratio(among.median_of_sound, alone.median_of_sound),
        ))
    }

    /// The tables, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if let Some(fleet) = &self.fleet {
            text += &format!(
                "| {} WsGateways, {} pods each | P11 | measured |\n|---|---:|---:|\n",
                self.gateways, self.pods
            );
            self.fleet_lines(fleet).iter().for_each(|line| text += line);
            text += &changes(&fleet.changes);
        }
        if let Some(broken) = &self.broken {
            text += &self.broken_lines(broken);
        }
        if let Some(hostile) = &self.hostile {
            text += &hostile_lines(hostile);
        }
        text += &format!(
            "\n{} namespaces, reconciled every {} s at rest, with leader election. The API server, etcd, \
             kube-controller-manager, nats-server and the operator share the machine: {}{}.\n",
            self.namespaces,
            self.resync_seconds,
            self.machine.text(),
            if self.debug { "; the operator built without optimisation" } else { "" },
        );
        text
    }

    fn fleet_lines(&self, fleet: &Fleet) -> Vec<String> {
        let (cold, rest, per) = (&fleet.cold, &fleet.rest, self.gateways.max(1) as f64);
        let minute = |count: u64| format!("{:.1}", count as f64 / rest.seconds.max(1e-3) * 60.0);
        let line =
            |what: &str, goal: &str, found: String| format!("| {what} | {goal} | {found} |\n");
        vec![
            line("resident memory in the steady state", "≤ 100 MB", mb(rest.memory)),
            line("the most resident memory", "", mb(fleet.memory_peak)),
            line(
                "cold start: from the operator's start until the last is as specified",
                "≤ 60 s",
                seconds(cold.seconds),
            ),
            line(
                "writes of a cold start, each",
                "",
                format!("{:.1}, at most {}", all(cold) as f64 / per, cold.most_writes),
            ),
            line("CPU time of a cold start", "", seconds(cold.cpu_seconds)),
            line("writes a minute in the steady state", "0", minute(rest.writes)),
            line("requests about streams a minute in the steady state", "0", minute(rest.lookups)),
            line(
                "requests to the API server a second in the steady state",
                "told",
                format!("{:.1}", rest.requests as f64 / rest.seconds.max(1e-3)),
            ),
            line("of which", "", kinds(&rest.kinds, rest.seconds)),
            line(
                "CPU in the steady state",
                "",
                format!("{:.1} % of a core", rest.cpu_seconds / rest.seconds.max(1e-3) * 100.0),
            ),
            line(
                "counted over",
                "",
                format!("{:.0} s, {} reconciliations", rest.seconds, rest.reconciles),
            ),
        ]
    }

    fn broken_lines(&self, broken: &Broken) -> String {
        let mut text = format!(
            "\n| {} of {} broken | {} each |\n|---|---:|\n",
            broken.broken,
            self.gateways,
            broken.broken / crate::gateways::FAULTS.len()
        );
        let reasons = |fault: &Fault| {
            let found = broken.reasons.get(fault).into_iter().flatten();
            found
                .map(|(reason, count)| format!("{reason} × {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        for fault in crate::gateways::FAULTS {
            text += &format!("| {} | {} |\n", fault.title(), reasons(&fault));
        }
        if let Some((last, half)) = self.ratios() {
            text += &format!(
                "| the others' cold start, over that of the same ones when all are sound: last, median | {last:.2}, {half:.2} |\n"
            );
        }
        text += &format!(
            "| writes a minute afterwards | {:.1} |\n",
            per_minute(broken.rest.writes, &broken.rest)
        );
        text += &format!("| the most resident memory | {} |\n", mb(broken.memory_peak));
        text
    }

    /// Which of P11's figures this run missed, line by line: told, and not judged, since everything shares the machine.
    #[must_use]
    pub fn missed(&self) -> Vec<String> {
        let Some(fleet) = &self.fleet else { return Vec::new() };
        let mut lines = Vec::new();
        if fleet.cold.seconds > COLD {
            lines.push(format!("cold start {} of {COLD} s", seconds(fleet.cold.seconds)));
        }
        if fleet.rest.lookups > 0 {
            let found = per_minute(fleet.rest.lookups, &fleet.rest);
            lines.push(format!("{found:.1} requests about streams a minute at rest, of 0"));
        }
        let beyond = fleet.changes.iter().filter(|change| change.most > CHANGE);
        lines.extend(
            beyond.map(|change| format!("{}: {} writes of {CHANGE}", change.what, change.most)),
        );
        lines
    }

    /// What is beyond the bounds that hold on every machine, line by line.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut complain = |is_wrong: bool, line: String| lines.extend(is_wrong.then_some(line));
        if let Some(fleet) = &self.fleet {
            complain(
                fleet.rest.writes > 0,
                format!("{} writes at rest: {:?}", fleet.rest.writes, fleet.rest.kinds),
            );
            for change in &fleet.changes {
                complain(
                    change.elsewhere > 0,
                    format!("{}: {} writes for others", change.what, change.elsewhere),
                );
            }
            complain(
                self.gateways <= 1_000 && fleet.rest.memory > MEMORY,
                format!("memory: {}", mb(fleet.rest.memory)),
            );
        }
        if let Some(broken) = &self.broken {
            let told: usize = broken.reasons.values().flat_map(BTreeMap::values).sum();
            complain(
                told < broken.broken,
                format!("{told} of {} broken ones have a condition", broken.broken),
            );
        }
        if let Some(hostile) = &self.hostile {
            let found = [
                ("unanswered", &hostile.unanswered),
                ("without a condition", &hostile.silent),
                ("not deleted", &hostile.undeleted),
                ("panic", &hostile.panics),
            ];
            for (what, which) in found {
                complain(
                    !which.is_empty(),
                    format!(
                        "{what}: {}, such as {}",
                        which.len(),
                        which.first().map_or("", |one| cut(one))
                    ),
                );
            }
            complain(
                hostile.most_writes > MOST_WRITES,
                format!("{} writes for {}", hostile.most_writes, hostile.most_written),
            );
            complain(
                !hostile.sound_afterwards,
                "a sound WsGateway is not served afterwards".to_owned(),
            );
        }
        lines
    }
}

fn all(cold: &Cold) -> u64 {
    cold.writes.done + cold.writes.refused
}

fn changes(changes: &[Changed]) -> String {
    let mut text = "\n| what is changed | P11 | writes each, mean and most | of which |\n|---|---:|---:|---|\n".to_owned();
    for change in changes {
        let mean = change.writes as f64 / change.gateways.max(1) as f64;
        let each = change.kinds.iter().map(|(kind, count)| {
            format!("{:.1} {kind}", *count as f64 / change.gateways.max(1) as f64)
        });
        let each = each.collect::<Vec<_>>().join(", ");
        text +=
            &format!("| {} | ≤ {CHANGE} | {mean:.1}, {} | {each} |\n", change.what, change.most);
    }
    text
}

fn hostile_lines(hostile: &Hostile) -> String {
    let refused: usize = hostile.refused.values().sum();
    let count = |map: &BTreeMap<String, usize>| {
        let mut all: Vec<_> = map.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        all.iter().map(|(what, count)| format!("{what} × {count}")).collect::<Vec<_>>().join(", ")
    };
    let codes: BTreeMap<String, usize> =
        hostile.refused.iter().map(|(code, count)| (code.to_string(), *count)).collect();
    let line = |what: &str, found: String| format!("| {what} | {found} |\n");
    let mean = hostile.writes as f64 / hostile.accepted.max(1) as f64;
    let mut text =
        format!("\n| {} hostile WsGateways (seed {}) | |\n|---|---|\n", hostile.made, hostile.seed);
    text +=
        &line("refused by the API server, with a message", format!("{refused}: {}", count(&codes)));
    text += &line(
        "accepted, and what Ready says",
        format!("{}: {}", hostile.accepted, count(&hostile.reasons)),
    );
    text += &line(
        "without an answer, without a condition, not deleted",
        format!(
            "{}, {}, {}",
            hostile.unanswered.len(),
            hostile.silent.len(),
            hostile.undeleted.len()
        ),
    );
    text += &line("panics of the operator", hostile.panics.len().to_string());
    text += &line(
        "writes for each accepted one, until its end: mean and most",
        format!("{mean:.1}, {}", hostile.most_writes),
    );
    text += &line(
        "reconciliations for each accepted one",
        format!("{:.1}", hostile.reconciles as f64 / hostile.accepted.max(1) as f64),
    );
    text += &line(
        "a sound one is served afterwards",
        if hostile.sound_afterwards { "yes" } else { "no" }.to_owned(),
    );
    text += &line(
        "resident memory: the most, and in the end",
        format!("{}, {}", mb(hostile.memory_peak), mb(hostile.memory)),
    );
    text
}

fn kinds(kinds: &BTreeMap<String, u64>, seconds: f64) -> String {
    let each = kinds
        .iter()
        .map(|(kind, count)| format!("{kind} {:.1}", *count as f64 / seconds.max(1e-3)));
    each.collect::<Vec<_>>().join(", ")
}

fn per_minute(count: u64, rest: &Rest) -> f64 {
    count as f64 / rest.seconds.max(1e-3) * 60.0
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

fn mb(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(300).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
