//! `wsgw load`: clients by the thousand, and what they notice.
//!
//! Reads top to bottom: flags → a [`Preparation`] with everything that can be wrong before the run → publisher and workers →
//! a line or a screen now and then → report. What is judged is in the crate `wsgateway-load`; here are files, sockets of the
//! publisher, processes and the terminal.

mod error;
mod files;
mod http;
mod page;
mod prepare;
mod publish;
mod simulating;
mod usage;
mod workers;

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use wsgateway_client::machine::Machine;
use wsgateway_load::clock::Clock;
use wsgateway_load::report::{End, Generator, Published, Report};
use wsgateway_load::run::Run;
use wsgateway_load::snapshot::Order;
use wsgateway_runtime::shutdown;

use crate::cli::{Color, Load};
use crate::error::Error;
use crate::output::print;
use crate::screen::Terminal;
use page::View;
use prepare::Preparation;
use publish::Publisher;
use usage::{Cpu, Usages};
use workers::Workers;

pub(crate) use error::LoadError;
pub(crate) use simulating::Simulating;
pub(crate) use workers::worker;

/// Between two looks at the workers.
const TICK: Duration = Duration::from_millis(100);
/// Between two points of the report and two states of the screen.
const POINT: Duration = Duration::from_secs(1);
/// Beyond the time that workers may take for their last messages they are left alone.
const GRACE: Duration = Duration::from_secs(5);

/// What `--insecure` means, said at the beginning.
const INSECURE: &str = "WARNING: certificates are not checked (--insecure): anybody on the way can answer as the target, and read \
                        tokens and messages";

pub(crate) fn run(options: &Load) -> Result<(), Error> {
    wsgateway_runtime::logs::init_with("wsgw", "error");
    prepared(options, Preparation::new(options)?, None)
}

/// The same with traders of a market instead of clients that stay.
pub(crate) fn simulate(options: &Load, simulating: Simulating) -> Result<(), Error> {
    let mut preparation = Preparation::new(options)?;
    preparation.market = Some(simulating.market);
    preparation.setting.profile.clone_from(&simulating.profile);
    preparation.setting.ramp_seconds =
        simulating.market.lasts(simulating.market.ramp).as_secs_f64();
    preparation.setting.hold_seconds -= preparation.setting.ramp_seconds;
    prepared(options, preparation, Some(simulating))
}

fn prepared(
    options: &Load,
    preparation: Preparation,
    simulating: Option<Simulating>,
) -> Result<(), Error> {
    if options.clients.insecure {
        // On standard error, where it also stands above the lines of a run. Nobody may be reading.
        let _ = writeln!(std::io::stderr(), "{INSECURE}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    let outcome = runtime.block_on(Box::pin(go(options, preparation, simulating)));
    // A publish that nobody confirms is no reason to wait.
    runtime.shutdown_background();
    outcome
}

async fn go(
    options: &Load,
    mut preparation: Preparation,
    mut simulating: Option<Simulating>,
) -> Result<(), Error> {
    let stop = shutdown::watch().map_err(Error::Threads)?;
    let publisher = match &options.publishing.publish {
        Some(_) => Some(Publisher::start(&options.publishing, &mut preparation).await?),
        None => None,
    };
    let usages = Usages::start(&options.result.admin)?;
    simulating.iter_mut().try_for_each(Simulating::start)?;
    let workers = Workers::start(&preparation)?;
    let session = Session {
        clock: Clock::start(),
        cpu: Cpu::now(&workers.pids()),
        view: View::new(options, &preparation, simulating.is_some()),
        run: Run::default(),
        publisher,
        usages,
        workers,
        simulating,
    };
    let started = jiff::Timestamp::try_from(SystemTime::now());
    preparation.setting.started = started.map_or_else(|_| String::new(), |at| format!("{at:.0}"));
    let report = session.measure(&stop, &preparation, options).await?;
    conclude(&report, preparation, options.result.color)
}

/// Everything that runs.
struct Session {
    clock: Clock,
    cpu: Cpu,
    view: View,
    run: Run,
    publisher: Option<Publisher>,
    usages: Usages,
    workers: Workers,
    simulating: Option<Simulating>,
}

impl Session {
    async fn measure(
        mut self,
        stop: &CancellationToken,
        preparation: &Preparation,
        options: &Load,
    ) -> Result<Report, Error> {
        let end = self.until_end(stop, preparation.shape.length()).await?;
        // A second Ctrl-C ends the program at once: by then the terminal is as it was.
        self.view.end(preparation.drain);
        let seconds = self.clock.elapsed_ns() as f64 / 1e9;
        let published = match self.publisher.take() {
            Some(publisher) => {
                let (published, unstored) = publisher.finish().await;
                for (from, to) in unstored {
                    self.workers.order(Order::Unstored { from, to });
                }
                Some(published)
            }
            None => None,
        };
        self.workers.order(Order::Finish { published: published.map_or(0, |all| all.due) });
        self.until_finished(preparation.drain + GRACE).await;
        self.run.point(self.clock.elapsed_ns() as f64 / 1e9);
        let Self { clock, cpu, run, workers, simulating, .. } = self;
        let mut report = Report::new(preparation.setting.clone(), &run, (seconds, end));
        report.machine = Some(Machine::of_this(false));
        report.published = published;
        report.simulation = simulating.map(|simulating| simulating.report(&run));
        report.generator = Generator {
            cpu_percent: cpu.percent_until_now(&workers.pids()),
            lag_ms: run.lag_ms,
            clock_jump_ms: clock.jump_ns() as f64 / 1e6,
        };
        report.conclude(&options.result.fail_if);
        Ok(report)
    }

    /// Goes on for its time, until Ctrl-C, or until no worker is left.
    async fn until_end(
        &mut self,
        stop: &CancellationToken,
        length: Duration,
    ) -> Result<End, Error> {
        let mut due = POINT;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(End::Interrupted),
                () = tokio::time::sleep(TICK) => {}
            }
            self.collect();
            let now = Duration::from_nanos(self.clock.elapsed_ns());
            if now >= due {
                due = now + POINT;
                self.run.point(now.as_secs_f64());
                let published = self.publisher.as_ref().map(Publisher::so_far);
                if let Some(percent) = self.simulating.as_mut().and_then(|all| all.pace(now)) {
                    self.workers.order(Order::Pace { percent });
                }
                self.view.show(&self.run, now, published, self.simulating.as_ref())?;
            }
            if self.run.finished() >= self.workers.count() {
                return Ok(End::Failed);
            }
            if now >= length {
                return Ok(End::Time);
            }
        }
    }

    /// Waits for the last word of each worker.
    async fn until_finished(&mut self, within: Duration) {
        let end = tokio::time::Instant::now() + within;
        while self.run.finished() < self.workers.count() && tokio::time::Instant::now() < end {
            tokio::time::sleep(TICK).await;
            self.collect();
        }
    }

    fn collect(&mut self) {
        while let Some(snapshot) = self.workers.snapshot() {
            self.run.enter(snapshot);
        }
        while let Some((target, usage)) = self.usages.next() {
            self.run.usage(target, usage);
        }
    }
}

/// Writes the report everywhere, also where one of the files takes none; then says whether the run has failed.
fn conclude(report: &Report, preparation: Preparation, color: Color) -> Result<(), Error> {
    let written = preparation.files.write(report);
    if !preparation.files.use_standard_output() {
        print(&page::summary(report, Terminal::new(color)))?;
    }
    written?;
    if report.totals.opened == 0 {
        let why = report.last_error.clone().or_else(|| report.failures.first().cloned());
        let why = why.unwrap_or_else(|| "no target answered".to_owned());
        return Err(LoadError::NoConnection { why }.into());
    }
    let failed = report.thresholds.iter().filter(|verdict| verdict.failed);
    let failed: Vec<&str> = failed.map(|verdict| verdict.threshold.as_str()).collect();
    match failed.as_slice() {
        [] => Ok(()),
        failed => Err(LoadError::Thresholds { failed: failed.join(", ") }.into()),
    }
}

/// What was published so far, for a screen.
fn published_text(published: Published) -> String {
    match published.failed {
        0 => format!("{} published", published.due),
        failed => format!("{} published, {failed} not confirmed", published.due),
    }
}
