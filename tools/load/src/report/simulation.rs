//! What a report says of a market and its traders.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::simulate::crowd::{CrowdTotals, KindTotals};
use crate::simulate::market::Market;
use crate::simulate::traders::Kind;

/// Columns of the table of traders.
pub(super) const HEAD: [&str; 7] =
    ["type", "at the end", "traders", "sessions", "mean session", "came back (%)", "sent away"];

/// Texts of the target's health that are shown.
const TEXTS: usize = 4;

/// A simulation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The market.
    pub market: Market,
    /// Its traders.
    pub crowd: CrowdTotals,
    /// Whether the health of the targets was asked for.
    pub health: bool,
    /// How often fewer traders came, since a target warned.
    pub back_offs: u32,
    /// The fewest of 100 that were allowed.
    pub lowest_percent: u8,
    /// Questions for health without an answer that was one.
    pub unanswered: u64,
    /// What is wrong with the last of these.
    pub last_silence: Option<String>,
    /// What targets warned of, and how often.
    pub warnings: BTreeMap<String, u64>,
}

impl Simulation {
    /// The market in a sentence or two.
    pub(super) fn text(&self) -> String {
        let Self { market, crowd, .. } = self;
        let end = std::time::Duration::try_from_secs_f64(crowd.market_seconds).unwrap_or_default();
        let all = crowd.all();
        format!(
            "From {} to {} (UTC), {} of the market, {} times as fast as the clock; seed {}. {} came back and resumed, {} \
             began anew; messages caught up by resuming: {}.",
            market.clock(std::time::Duration::ZERO),
            market.clock(end),
            span(crowd.market_seconds),
            market.speed,
            market.seed,
            all.resumed,
            all.anew,
            crowd.caught_up
        )
    }

    /// A row for each type, and their sum.
    pub(super) fn rows(&self) -> Vec<[String; HEAD.len()]> {
        let row = |name: &str, kind: &KindTotals| {
            [
                name.to_owned(),
                kind.present.to_string(),
                kind.traders.to_string(),
                kind.sessions.to_string(),
                kind.mean_seconds().map_or("-".to_owned(), span),
                kind.return_percent().map_or("-".to_owned(), |percent| format!("{percent:.0}")),
                kind.sent_away.to_string(),
            ]
        };
        let kinds = Kind::ALL.iter().zip(&self.crowd.kinds);
        let mut rows: Vec<_> = kinds.map(|(kind, totals)| row(kind.name(), totals)).collect();
        rows.push(row("all", &self.crowd.all()));
        rows
    }

    /// What a reader must know.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.back_offs > 0 {
            let warnings: Vec<&str> =
                self.warnings.keys().take(TEXTS).map(String::as_str).collect();
            let why = match warnings.as_slice() {
                [] => "did not say how it is".to_owned(),
                warnings => format!("warned ({})", warnings.join("; ")),
            };
            notes.push(format!(
                "a target {why}: traders were sent away {} times, down to {} % of them",
                self.back_offs, self.lowest_percent
            ));
        }
        if self.unanswered > 0 {
            let why = self.last_silence.as_deref().unwrap_or("no answer");
            notes.push(format!("{} questions for health had no answer: {why}", self.unanswered));
        }
        if !self.health {
            notes.push(
                "the health of the target was not asked for: nobody would have been sent away"
                    .to_owned(),
            );
        }
        notes
    }
}

/// A length as people say it.
fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;
    use crate::simulate::market::tests::market;

    fn simulation() -> Simulation {
        let mut crowd = CrowdTotals { market_seconds: 5_400.0, ..CrowdTotals::default() };
        crowd.kinds[0] = KindTotals {
            present: 20,
            traders: 100,
            sessions: 400,
            ended: 380,
            resumed: 200,
            anew: 66,
            sent_away: 5,
            seconds: 38_500.0,
            ..KindTotals::default()
        };
        Simulation {
            market: market(7),
            crowd,
            health: true,
            back_offs: 2,
            lowest_percent: 64,
            unanswered: 3,
            last_silence: Some("it answers 404".to_owned()),
            warnings: [("cpu at 95 %: <add> pods".to_owned(), 9)].into(),
        }
    }

    #[test]
    fn each_form_has_the_traders_and_why_they_were_sent_away() {
        let mut report = example();
        report.simulation = Some(simulation());
        report.conclude(&[]);
        let page = report.markdown();
        for text in [
            "# Simulation: ws://",
            "From 13:00 to 14:30 (UTC), 1 h 30 min of the market, 60 times as fast as the clock; seed 7.",
            "| quick traders | 20 | 100 | 400 | 1 min 40 s | 70 | 5 |",
            "| bots | 0 | 0 | 0 | - | - | 0 |",
            "| all | 20 | 100 |",
            "warned (cpu at 95 %: &lt;add> pods): traders were sent away 2 times, down to 64 %",
            "3 questions for health had no answer: it answers 404",
        ] {
            assert!(page.contains(text), "{text} is missing in\n{page}");
        }
        let page = report.html();
        assert!(
            page.contains("<h2>Traders</h2>") && page.contains("<td>1 min 40 s</td>"),
            "{page}"
        );
        assert!(page.contains("&lt;add&gt; pods") && !page.contains("<add>"), "{page}");
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["simulation"]["crowd"]["kinds"][0]["sessions"], 400);
        assert_eq!(json["simulation"]["market"]["seed"], 7);
        assert_eq!(json["simulation"]["lowestPercent"], 64);
    }

    #[test]
    fn lengths_are_read_at_a_glance() {
        assert_eq!(
            [0.4, 59.4, 61.0, 7_260.0, 90_000.0].map(span).join(", "),
            "0 s, 59 s, 1 min 01 s, 2 h 01 min, 25 h 00 min"
        );
    }
}
