//! The figures of all rounds, as a table.

use serde::Serialize;
use wsgateway_client::machine::Machine;

use super::{Measured, Who};
use crate::samples::{Spread, number};

/// The lines of the page between which the table stands.
const BEGIN: &str = "<!-- begin: written by make bench-market -->\n";
const END: &str = "<!-- end -->\n";

/// Everything that was measured, and where.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Results {
    machine: Machine,
    rate: u32,
    seconds: u64,
    measured: Vec<Measured>,
}

impl Results {
    pub(super) fn new(rate: u32, seconds: u64, pinned: bool, measured: Vec<Measured>) -> Self {
        Self { machine: Machine::of_this(pinned), rate, seconds, measured }
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from(
            "| publisher | messages per second of CPU | CPU for a million messages | messages a second in the best round |\n|---|---:|---:|---:|\n",
        );
        for who in [Who::Market, Who::Plain, Who::Acked, Who::Make] {
            let of = |figure: fn(&Measured) -> f64| {
                Spread::of(self.measured.iter().filter(|one| one.who == who).map(figure))
            };
            let yields = of(|one| one.messages as f64 / one.cpu_seconds);
            let cost = of(|one| one.cpu_seconds * 1e6 / one.messages as f64);
            // Whatever else runs on the machine takes time from the other rounds.
            let speed = of(|one| one.messages as f64 / one.seconds);
            let (Some(yields), Some(cost), Some(speed)) = (yields, cost, speed) else { continue };
            text.push_str(&format!(
                "| {} | {} | {} s | {} |\n",
                title(who),
                yields.text(0),
                cost.text(2),
                number(speed.high, 0)
            ));
        }
        let rounds = self.measured.len() / Who::ALL.len();
        text.push_str(&format!(
            "\nMedian (lowest – highest) of {rounds} rounds of {} s each at {} messages a second, one publisher after the other. {}.\n",
            self.seconds,
            number(self.rate.into(), 0),
            self.machine.text()
        ));
        text
    }
}

fn title(who: Who) -> &'static str {
    match who {
        Who::Make => "the market alone: messages are made, and dropped",
        Who::Plain => "async-nats, `publish`: ready messages, no acknowledgement",
        Who::Acked => "async-nats, `jetstream::send_publish`: ready messages, acknowledged",
        Who::Market => "**`wsgw market`**: messages are made, and acknowledged",
    }
}

/// The page with another table; None when it has no place for one.
pub(super) fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_publisher_has_a_row_with_the_median_of_its_rounds() {
        let one =
            |who, messages, cpu_seconds| Measured { who, messages, seconds: 2.0, cpu_seconds };
        let measured = vec![
            one(Who::Market, 200_000, 1.0),
            one(Who::Plain, 200_000, 0.5),
            one(Who::Market, 200_000, 2.0),
            one(Who::Market, 200_000, 0.5),
        ];
        let text = Results::new(100_000, 2, true, measured).markdown();
        let rows: Vec<&str> = text.lines().skip(2).take_while(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), 2, "{text}");
        let market = "| 200,000 (100,000 – 400,000) | 5.00 (2.50 – 10.00) s | 100,000 |";
        assert!(rows[0].ends_with(market), "{text}");
        assert!(rows[1].ends_with("| 400,000 | 2.50 s | 100,000 |"), "{text}");
    }

    #[test]
    fn a_page_keeps_its_words_around_the_table() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let new = format!("before\n{BEGIN}\nnew\n\n{END}after\n");
        assert_eq!(replaced(&page, "new\n"), Some(new.clone()));
        assert_eq!(replaced(&new, "new\n"), Some(new));
        assert_eq!(replaced("no place", "new\n"), None);
    }
}
