//! A simulation while it runs: the health of its targets, the pace that follows from it, and what is said of it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use wsgateway_client::bounded;
use wsgateway_load::address::Address;
use wsgateway_load::report::Simulation;
use wsgateway_load::run::Run;
use wsgateway_load::simulate::health::{Health, Verdict};
use wsgateway_load::simulate::market::Market;
use wsgateway_load::simulate::pace::Pacer;
use wsgateway_load::simulate::traders::Kind;

use super::http;
use crate::error::Error;
use crate::simulate::SimulateError;

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Answers that wait to be taken.
const WAITING: usize = 128;

/// An answer, or why there was none.
type Answer = Result<Health, String>;

/// A simulation.
pub(crate) struct Simulating {
    pub(super) market: Market,
    pub(super) profile: String,
    places: Vec<Place>,
    answers: Option<Receiver<Answer>>,
    pacer: Pacer,
    /// The latest, in words.
    health: String,
    warnings: BTreeMap<String, u64>,
    unanswered: u64,
    last_silence: Option<String>,
}

/// Where health is asked for.
#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    host: String,
    path: String,
}

impl Simulating {
    /// Asks each target for its health before anything begins.
    pub(crate) fn new(market: Market, profile: String, urls: &[String]) -> Result<Self, Error> {
        let mut places = Vec::new();
        for url in urls {
            let failed = |why| SimulateError::Health { url: shown(url), why };
            let place = place(url)?;
            let health = place.ask().map_err(failed)?;
            if health.verdict == Verdict::Unhealthy {
                return Err(failed(format!("it is unhealthy: {}", health.texts.join("; "))).into());
            }
            places.push(place);
        }
        let health = if places.is_empty() { "not asked for" } else { "healthy" }.to_owned();
        let (warnings, pacer) = (BTreeMap::new(), Pacer::default());
        let (answers, unanswered, last_silence) = (None, 0, None);
        Ok(Self {
            market,
            profile,
            places,
            answers,
            pacer,
            health,
            warnings,
            unanswered,
            last_silence,
        })
    }

    /// Asks again and again from now on.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        let (sender, receiver) = sync_channel(WAITING);
        for place in self.places.clone() {
            let sender = sender.clone();
            std::thread::Builder::new()
                .name("health".to_owned())
                .spawn(move || place.ask_again_and_again(&sender))
                .map_err(Error::Threads)?;
        }
        self.answers = Some(receiver);
        Ok(())
    }

    /// Enters what targets said since the last time; the worst of it counts. Returns the new pace if it changes.
    pub(super) fn pace(&mut self, now: Duration) -> Option<u8> {
        let answers: Vec<Answer> = self.answers.iter().flat_map(Receiver::try_iter).collect();
        let mut worst: Option<(Verdict, String)> = None;
        for answer in answers {
            let (verdict, text) = self.entered(answer);
            if worst.as_ref().is_none_or(|(known, _)| badness(verdict) > badness(*known)) {
                worst = Some((verdict, text));
            }
        }
        let (verdict, text) = worst?;
        self.health = text;
        self.pacer.enter(verdict, now)
    }

    fn entered(&mut self, answer: Answer) -> (Verdict, String) {
        match answer {
            Ok(health) => {
                health.texts.iter().for_each(|text| bounded(&mut self.warnings, &kind(text), 1));
                let text = match health.texts.as_slice() {
                    [] => "healthy".to_owned(),
                    texts => texts.join("; "),
                };
                (health.verdict, text)
            }
            Err(why) => {
                self.unanswered += 1;
                self.last_silence = Some(why.clone());
                (Verdict::Silent, format!("unknown ({why})"))
            }
        }
    }

    /// What a screen shows besides the clients.
    pub(super) fn lines(&self, run: &Run) -> Vec<String> {
        let crowd = run.crowd().unwrap_or_default();
        let now = Duration::try_from_secs_f64(crowd.market_seconds).unwrap_or_default();
        let all = crowd.all();
        let kinds = Kind::ALL.iter().zip(&crowd.kinds);
        let kinds: Vec<String> =
            kinds.map(|(kind, totals)| format!("{} {}", totals.present, kind.name())).collect();
        vec![
            format!(
                "market {} UTC, {} of {} traders",
                self.market.clock(now),
                all.present,
                crowd.aim
            ),
            kinds.join(", "),
            format!(
                "{} sessions; came back: {} resumed, {} anew, {} are away",
                all.sessions, all.resumed, all.anew, all.away
            ),
            format!("health: {}; {} % of the traders may come", self.health, self.pacer.percent()),
        ]
    }

    /// The same at the end of a line.
    pub(super) fn line(&self, run: &Run) -> String {
        let crowd = run.crowd().unwrap_or_default();
        let now = Duration::try_from_secs_f64(crowd.market_seconds).unwrap_or_default();
        let pace = match self.pacer.percent() {
            100 => String::new(),
            percent => format!(", {percent} % may come: {}", self.health),
        };
        format!(
            "; market {}, {} traders of {}{pace}",
            self.market.clock(now),
            crowd.all().present,
            crowd.aim
        )
    }

    /// What the report says of it.
    pub(super) fn report(&self, run: &Run) -> Simulation {
        Simulation {
            market: self.market,
            crowd: run.crowd().unwrap_or_default(),
            health: !self.places.is_empty(),
            back_offs: self.pacer.back_offs,
            lowest_percent: self.pacer.lowest,
            unanswered: self.unanswered,
            last_silence: self.last_silence.clone(),
            warnings: self.warnings.clone(),
        }
    }
}

impl Place {
    fn ask(&self) -> Answer {
        let answer =
            http::get(self.address, &self.host, &self.path).map_err(|error| error.to_string())?;
        Health::parse(&answer).map_err(|error| error.to_string())
    }

    /// Until nobody takes answers any more.
    fn ask_again_and_again(&self, sender: &SyncSender<Answer>) {
        while sender.send(self.ask()).is_ok() {
            std::thread::sleep(INTERVAL);
        }
    }
}

fn place(url: &str) -> Result<Place, Error> {
    if url.starts_with("https:") || url.starts_with("wss:") {
        return Err(SimulateError::Tls { url: shown(url) }.into());
    }
    let parsed = Address::parse(url).map_err(super::LoadError::from)?;
    let failed = |why: String| SimulateError::Health { url: shown(url), why };
    let found = (parsed.host.as_str(), parsed.port).to_socket_addrs();
    let found: Vec<SocketAddr> = found.map_err(|error| failed(error.to_string()))?.collect();
    // As for the target itself.
    let address = found.iter().find(|found| found.is_ipv4()).or(found.first()).copied();
    let address = address.ok_or_else(|| failed("its host has no address".to_owned()))?;
    let path = if parsed.path.is_empty() { "/health".to_owned() } else { parsed.path.clone() };
    Ok(Place { address, host: parsed.host_header(), path })
}

/// Without its query, which may hold a token.
fn shown(url: &str) -> String {
    url.split('?')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(120)
        .collect()
}

fn badness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Healthy => 0,
        Verdict::Silent => 1,
        Verdict::Degraded => 2,
        Verdict::Unhealthy => 3,
    }
}

/// A warning without its figures: cpu at 91 % and cpu at 92 % are one.
fn kind(text: &str) -> String {
    let mut in_number = false;
    let letter = |c: char| {
        let goes_on = std::mem::replace(&mut in_number, c.is_ascii_digit()) && in_number;
        (!goes_on).then_some(if in_number { 'N' } else { c })
    };
    text.chars().filter_map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulating() -> Simulating {
        let hour = Duration::from_secs(3_600);
        let market = Market {
            seed: 1,
            speed: 60.0,
            start: 13 * hour,
            ramp: Duration::ZERO,
            length: hour,
            resumes: true,
        };
        Simulating::new(market, "short".to_owned(), &[]).unwrap()
    }

    fn health(verdict: Verdict, text: &str) -> Answer {
        Ok(Health { verdict, texts: vec![text.to_owned()] })
    }

    #[test]
    fn the_worst_that_targets_said_counts_and_their_warnings_are_kept_by_kind() {
        let (mut simulating, (sender, receiver)) = (simulating(), sync_channel(WAITING));
        simulating.answers = Some(receiver);
        assert_eq!(simulating.pace(Duration::ZERO), None, "nobody has said anything");
        for answer in [
            health(Verdict::Degraded, "cpu at 91 %"),
            Err("no answer within 2s".to_owned()),
            health(Verdict::Degraded, "cpu at 100 %"),
            Ok(Health { verdict: Verdict::Healthy, texts: Vec::new() }),
        ] {
            sender.send(answer).unwrap();
        }
        assert_eq!(simulating.pace(Duration::ZERO), Some(80));
        let report = simulating.report(&Run::default());
        assert_eq!(report.warnings, [("cpu at N %".to_owned(), 2)].into());
        assert_eq!((report.unanswered, report.back_offs, report.lowest_percent), (1, 1, 80));
        let line = simulating.line(&Run::default());
        assert!(line.contains("80 % may come: cpu at 91 %"), "{line}");
    }

    #[test]
    fn what_a_page_of_health_cannot_be_is_said_with_the_way_out() {
        for (url, text) in [
            ("https://a/health", "--no-health"),
            ("http://127.0.0.1:1/?token=hidden", "http://127.0.0.1:1/: Connection refused"),
            ("ftp://a", "ws://host:port/path"),
        ] {
            let market = simulating().market;
            let error = Simulating::new(market, String::new(), &[url.to_owned()]).err().unwrap();
            let error = error.to_string();
            assert!(error.contains(text) && !error.contains("hidden"), "{error}");
        }
    }
}
