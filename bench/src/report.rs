//! Figures from runs: per delivery, as ratios within a round, with their spread.

use serde::Serialize;

use crate::clients::{Load, Measured};

/// Everything that was measured, and where.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    load: Load,
    machine: Machine,
    rounds: Vec<Round>,
}

/// What the figures depend on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    pinned: bool,
}

/// Floor and gateway, one after the other.
#[derive(Debug, Serialize)]
struct Round {
    floor: Measured,
    gateway: Measured,
}

impl Measured {
    fn us_per_delivery(&self) -> f64 {
        self.cpu_ns as f64 / self.deliveries as f64 / 1_000.0
    }
}

impl Round {
    fn ratio(&self) -> f64 {
        self.gateway.us_per_delivery() / self.floor.us_per_delivery()
    }
}

/// One round in one line.
pub(crate) fn line(floor: &Measured, gateway: &Measured) -> String {
    let (floor, ours) = (floor.us_per_delivery(), gateway.us_per_delivery());
    format!("floor {floor:.2} µs, gateway {ours:.2} µs, ratio {:.2}", ours / floor)
}

impl Report {
    pub(crate) fn new(load: &Load, pinned: bool) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let machine = Machine {
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            // The version without the builder's own marks.
            kernel: read("/proc/sys/kernel/osrelease").split(['-', '\n']).take(1).collect(),
            pinned,
        };
        Self { load: *load, machine, rounds: Vec::new() }
    }

    pub(crate) fn add(&mut self, floor: Measured, gateway: Measured) {
        self.rounds.push(Round { floor, gateway });
    }

    /// What tells this result's files from those of another load.
    pub(crate) fn name(&self) -> String {
        format!("{}-window-{}", self.load.connections, self.load.window)
    }

    pub(crate) fn markdown(&self) -> String {
        let (load, machine) = (&self.load, &self.machine);
        let mut text = format!(
            "# Fan-out: {} connections, {} in flight\n\n\
             | server | CPU per delivery (µs) | × floor | messages a second | memory per idle connection (kB) |\n\
             |---|---|---|---|---|\n",
            load.connections, load.window
        );
        let figures =
            |figure: &dyn Fn(&Round) -> f64, digits| spread(self.rounds.iter().map(figure), digits);
        let speed = |run: &Measured| load.messages as f64 / (run.wall_ns as f64 / 1e9);
        let rows = [
            (
                "floor: one `send` of a ready frame per delivery",
                figures(&|round| round.floor.us_per_delivery(), 2),
                "1".to_owned(),
                figures(&|round| speed(&round.floor), 0),
                "–".to_owned(),
            ),
            (
                "wsgateway, over NATS JetStream",
                figures(&|round| round.gateway.us_per_delivery(), 2),
                figures(&Round::ratio, 2),
                figures(&|round| speed(&round.gateway), 0),
                figures(&|round| round.gateway.idle_bytes as f64 / 1_000.0, 2),
            ),
        ];
        for (name, cpu, ratio, speed, memory) in rows {
            text += &format!("| {name} | {cpu} | {ratio} | {speed} | {memory} |\n");
        }
        let place = if machine.pinned {
            "server on one core, NATS and clients on another"
        } else {
            "not pinned"
        };
        text + &format!(
            "\nMedian of {} rounds (lowest – highest); floor and gateway interleaved, ratios within a round. CPU: \
             scheduler time of all threads of the server. {} messages of {} bytes of payload a run, {} published at \
             once and the next when every client had them; three subscriptions a connection; clients sleep in epoll; \
             {place}. {}, {} cores, Linux {}.",
            self.rounds.len(),
            load.messages,
            load.payload,
            load.window,
            machine.cpu,
            machine.cores,
            machine.kernel,
        )
    }
}

/// Median, lowest and highest.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(low), Some(middle), Some(high)) => {
            format!("{middle:.digits$} ({low:.digits$} – {high:.digits$})")
        }
        _ => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_between_the_ends() {
        assert_eq!(spread([3.0, 1.0, 2.0].into_iter(), 1), "2.0 (1.0 – 3.0)");
        assert_eq!(spread(std::iter::empty(), 1), "–");
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let run = |cpu_ns| Measured { deliveries: 1_000, cpu_ns, wall_ns: 1, idle_bytes: 0 };
        let round = Round { floor: run(2_000_000), gateway: run(3_000_000) };
        assert!((round.ratio() - 1.5).abs() < 1e-9);
    }
}
