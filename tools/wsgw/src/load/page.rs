//! What a person sees: a screen that is drawn again, lines where there is none, and the summary.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use wsgateway_load::report::{Published, Report};
use wsgateway_load::run::{Point, Run};
use wsgateway_load::snapshot::Totals;

use super::Simulating;
use super::prepare::Preparation;
use super::published_text;
use crate::cli::{Format, Load, Show};
use crate::error::Error;
use crate::output::Redraw;
use crate::screen::{Column, Table, Terminal, Tone, bytes, clean, count};

/// A terminal of so many columns shows tables that can be copied; on a narrower one their rows are broken at words.
const TABLES: usize = 80;
/// Bars of a line over time, from the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Kinds of errors on a screen.
const KINDS: usize = 6;
/// What stands before a line over time.
const LABEL: usize = 9;
/// A run that takes longer has a line every five seconds.
const SHORT: Duration = Duration::from_secs(60);
const LONG_STEP: Duration = Duration::from_secs(5);

/// Shows how a run goes.
pub(super) struct View {
    screen: Option<Redraw>,
    show: Show,
    head: String,
    length: Duration,
    line_due: Duration,
}

impl View {
    pub(super) fn new(options: &Load, preparation: &Preparation, simulates: bool) -> Self {
        let show = Show { output: Format::Table, color: options.result.color };
        let on_terminal = std::io::stdout().is_terminal()
            && !options.result.plain
            && !preparation.files.use_standard_output();
        let setting = &preparation.setting;
        Self {
            screen: on_terminal.then(|| Redraw::new(show)),
            show,
            head: format!(
                "{} {} {}",
                if simulates { "simulate" } else { "load" },
                setting.profile,
                setting.targets.join(" ")
            ),
            length: preparation.shape.length(),
            line_due: Duration::ZERO,
        }
    }

    /// Ends the screen, and says what is waited for.
    pub(super) fn end(&mut self, drain: Duration) {
        if self.screen.take().is_some() {
            let seconds = drain.as_secs();
            let text = format!(
                "Waiting for the last messages, {seconds} s at most; then comes the report. Ctrl-C ends without it."
            );
            let text = Terminal::new(self.show.color).wrap(&text, 0, 0);
            // Nobody needs to read it.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Shows the state of a run after so much time.
    pub(super) fn show(
        &mut self,
        run: &Run,
        now: Duration,
        published: Option<Published>,
        simulating: Option<&Simulating>,
    ) -> Result<(), Error> {
        if let Some(screen) = &mut self.screen {
            let terminal = Terminal::new(self.show.color);
            let head = format!("{}, {} s of {} s", self.head, now.as_secs(), self.length.as_secs());
            let more = simulating.map(|simulating| simulating.lines(run)).unwrap_or_default();
            return screen.draw(&page(&head, run, (published, &more), terminal));
        }
        if now >= self.line_due {
            self.line_due = now + if self.length > SHORT { LONG_STEP } else { Duration::ZERO };
            let line = run.points().last().map(|point| line(point, &run.totals()));
            let more = simulating.map(|simulating| simulating.line(run)).unwrap_or_default();
            // Standard output is the report's. Nobody needs to read how it goes.
            let _ = writeln!(std::io::stderr(), "{}{more}", line.unwrap_or_default());
        }
        Ok(())
    }
}

/// One moment on one line.
fn line(point: &Point, totals: &Totals) -> String {
    let latency = point.latency.map_or("no messages".to_owned(), |latency| {
        format!("p50 {:.1} p99 {:.1} max {:.1} ms", latency.p50_ms, latency.p99_ms, latency.max_ms)
    });
    format!(
        "{:>5.0} s  {} clients, {:.0}/s, {latency}; lost {}, twice {}, errors {}",
        point.seconds,
        count(point.connected),
        point.per_second,
        totals.lost,
        totals.twice,
        totals.errors_in_all()
    )
}

fn page(
    head: &str,
    run: &Run,
    (published, more): (Option<Published>, &[String]),
    terminal: Terminal,
) -> String {
    let (totals, point) = (run.totals(), run.points().last().copied().unwrap_or_default());
    let mut text = String::new();
    let mut say = |line: &str, tone: Tone| {
        let wrapped = terminal.wrap(&clean(line), 0, 2);
        for line in wrapped.lines() {
            text.push_str(&terminal.paint(tone, line));
            text.push('\n');
        }
    };
    say(&format!("wsgw {head}"), Tone::Bold);
    more.iter().for_each(|line| say(line, Tone::Plain));
    say(
        &format!(
            "{} clients, {} connecting, {} reconnects",
            count(totals.connected),
            count(totals.connecting),
            count(totals.reconnects)
        ),
        Tone::Plain,
    );
    let so_far = published.map(|published| format!(", {}", published_text(published)));
    say(&format!("{:.0} messages/s{}", point.per_second, so_far.unwrap_or_default()), Tone::Plain);
    let harm = totals.lost > 0 || totals.twice > 0 || totals.out_of_order > 0;
    say(
        &format!(
            "lost {}, twice {}, out of order {}",
            totals.lost, totals.twice, totals.out_of_order
        ),
        if harm { Tone::Bad } else { Tone::Good },
    );
    if let Some(latency) = point.latency {
        let [p50, p90, p99, max] = [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms];
        say(
            &format!("latency p50 {p50:.1}, p90 {p90:.1}, p99 {p99:.1}, max {max:.1} ms"),
            Tone::Plain,
        );
    }
    if let (Some(cpu), Some(memory)) = (point.cpu_percent, point.memory_bytes) {
        say(&format!("target: CPU {cpu:.0} %, memory {}", bytes(memory)), Tone::Plain);
    }
    text.push_str(&over_time(run.points(), terminal));
    text.push_str(&errors(&totals, terminal));
    text.push_str(&terminal.paint(Tone::Dim, &terminal.wrap("Ctrl-C: end and report", 0, 2)));
    text.push('\n');
    text
}

fn over_time(points: &[Point], terminal: Terminal) -> String {
    let room = terminal.width.unwrap_or(80).saturating_sub(LABEL).max(1);
    let latest = points.get(points.len().saturating_sub(room)..).unwrap_or_default();
    let latency = |of: fn(&wsgateway_load::latency::Percentiles) -> f64| {
        latest.iter().map(move |point| point.latency.as_ref().map_or(0.0, of)).collect()
    };
    let lines: [(&str, Vec<f64>); 6] = [
        ("clients", latest.iter().map(|point| point.connected as f64).collect()),
        ("rate", latest.iter().map(|point| point.per_second).collect()),
        ("p50", latency(|latency| latency.p50_ms)),
        ("p90", latency(|latency| latency.p90_ms)),
        ("p99", latency(|latency| latency.p99_ms)),
        ("max", latency(|latency| latency.max_ms)),
    ];
    lines.iter().map(|(name, values)| format!("{name:<LABEL$}{}\n", bars(values))).collect()
}

/// Values as bars below the highest of them.
fn bars(values: &[f64]) -> String {
    let highest = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| match highest > 0.0 {
        true => BARS[((value / highest * 7.0).round() as usize).min(7)],
        false => BARS[0],
    };
    values.iter().map(bar).collect()
}

fn errors(totals: &Totals, terminal: Terminal) -> String {
    if totals.errors.is_empty() {
        return String::new();
    }
    let mut kinds: Vec<(&String, &u64)> = totals.errors.iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut table = Table::new(&[Column::flexible("ERROR"), Column::number("COUNT")]);
    for (kind, number) in kinds.iter().take(KINDS) {
        table.row([(kind.to_string(), Tone::Bad), (count(**number), Tone::Plain)]);
    }
    table.render(terminal)
}

/// What stands on standard output in the end.
pub(super) fn summary(report: &Report, terminal: Terminal) -> String {
    // Markdown without its table over time, which is in the files.
    let page = report.markdown();
    let page = page.split("\n## Over time").next().unwrap_or_default();
    let is_narrow = terminal.width.is_some_and(|width| width < TABLES);
    let line = |line: &str| match is_narrow {
        true => terminal.wrap(line, 0, 2) + "\n",
        false => format!("{line}\n"),
    };
    page.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;
    use wsgateway_load::report::{End, Setting};
    use wsgateway_load::snapshot::Snapshot;

    use super::*;

    fn run() -> Run {
        let mut run = Run::default();
        for second in 1..=100_u32 {
            run.enter(Snapshot {
                totals: Totals {
                    connected: 50_000,
                    messages: u64::from(second) * 1_000_000,
                    lost: 3,
                    errors: [("closed with a code that is long \u{1b}[2J".to_owned(), 7)].into(),
                    ..Totals::default()
                },
                latency: vec![(u64::from(second) * 1_000_000, 100)],
                ..Snapshot::default()
            });
            run.point(f64::from(second));
        }
        run
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_of_twenty_columns() {
        let published = Some(Published { due: 1_000_000, failed: 2, ..Published::default() });
        for width in [20, 21, 40, 80, 200] {
            let terminal = Terminal { width: Some(width), height: Some(10), color: false };
            let more = ["health: cpu at 95 %: add pods\u{1b}[2J".to_owned()];
            let head = "load quick ws://a.long.name.example.com:8080/ws";
            let page = page(head, &run(), (published, &more), terminal);
            for line in page.lines() {
                assert!(line.width() <= width, "{width}: {line:?}");
            }
            assert!(!page.contains('\u{1b}'), "what a server says commands no terminal");
            assert!(page.contains("p99") && page.contains("lost 3"), "{page}");
        }
    }

    #[test]
    fn a_summary_is_markdown_and_on_a_narrow_terminal_no_line_is_longer_than_it() {
        let report = Report::new(Setting::default(), &run(), (100.0, End::Time));
        let summary = |width| {
            let terminal = Terminal { width, height: Some(10), color: false };
            summary(&report, terminal)
        };
        assert!(summary(None).contains("| Clients, at most at the same time | 50000 of 0 |\n"));
        assert_eq!(summary(None), summary(Some(80)));
        assert!(!summary(None).contains("Over time"));
        for width in [20, 40, 79] {
            let summary = summary(Some(width));
            assert!(summary.lines().all(|line| line.width() <= width), "{width}: {summary}");
            assert!(summary.contains("| Lost | 3 |"), "{summary}");
        }
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        assert_eq!(bars(&[0.0, 1.0, 2.0]), "▁▅█");
        assert_eq!(bars(&[0.0, 0.0]), "▁▁");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn a_moment_is_one_line() {
        let line = line(&run().points()[49].to_owned(), &run().totals());
        assert!(
            line.starts_with("   50 s  50,000 clients, 1000000/s, p50 50.0 p99 50.0"),
            "{line}"
        );
        assert!(line.contains("lost 3, twice 0, errors 7"), "{line}");
    }
}
