//! `wsgw simulate`: the traders of a market as clients of a gateway.
//!
//! Flags become the [`Market`] of the crate `wsgateway-load` and the flags of a `load`, which runs, shows and reports it.

use std::time::Duration;

use wsgateway_load::address::Address;
use wsgateway_load::simulate::market::Market;

use crate::cli::{Load, ProfileName, Protocol, RawArgs, Simulate, Spoken};
use crate::error::Error;
use crate::load::{self, Simulating};

/// By the clock; less is not worth a report.
const SHORTEST: Duration = Duration::from_secs(1);
/// By the clock.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Why there is no simulation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SimulateError {
    #[error("--profile custom needs --connections and --duration")]
    Custom,
    #[error("--ramp is longer than the {}s of --duration: nobody would see all traders", .duration.as_secs_f64())]
    Ramp { duration: Duration },
    #[error(
        "{}s of a market that is {speed} times as fast as the clock take {:.1}s: they must take from 1s to 7 days",
        .market.as_secs_f64(), .clock.as_secs_f64()
    )]
    Length { market: Duration, speed: f64, clock: Duration },
    #[error("there are {given} --health and {targets} targets: give one for each")]
    Count { given: usize, targets: usize },
    #[error(
        "{url}: the health of a target is asked for with http://; name its admin port with --health, or give --no-health"
    )]
    Tls { url: String },
    #[error(
        "the health of the target is unknown ({url}: {why}): name it with --health, such as that of a gateway's admin port, \
         or go without it with --no-health"
    )]
    Health { url: String, why: String },
}

pub(crate) fn run(options: Simulate) -> Result<(), Error> {
    wsgateway_runtime::logs::init_with("wsgw", "error");
    let (traders, market) = market(&options)?;
    let places = if options.no_health { Vec::new() } else { health_urls(&options)? };
    let simulating = Simulating::new(market, profile(&options), &places)?;
    load::simulate(&flags(options, traders, &market), simulating)
}

fn market(options: &Simulate) -> Result<(u32, Market), SimulateError> {
    let (traders, length) = match (options.profile.size(), options.connections, options.duration) {
        (Some((traders, length)), ..) => {
            (options.connections.unwrap_or(traders), options.duration.unwrap_or(length))
        }
        (None, Some(traders), Some(length)) => (traders, length),
        (None, ..) => return Err(SimulateError::Custom),
    };
    let ramp = options.ramp.unwrap_or(length / 10);
    if ramp > length {
        return Err(SimulateError::Ramp { duration: length });
    }
    let market = Market {
        seed: options.seed.unwrap_or_else(|| fastrand::u32(..)).into(),
        speed: options.speed,
        start: options.start,
        ramp,
        length,
        // Protocols of earlier systems have no cursor.
        resumes: !options.no_resume && matches!(options.protocol, Spoken::V1 | Spoken::Sse),
    };
    let clock = market.lasts(length);
    if (SHORTEST..=LONGEST).contains(&clock) {
        Ok((traders, market))
    } else {
        Err(SimulateError::Length { market: length, speed: options.speed, clock })
    }
}

fn profile(options: &Simulate) -> String {
    let name = clap::ValueEnum::to_possible_value(&options.profile);
    name.map(|name| name.get_name().to_owned()).unwrap_or_default()
}

/// Where the health of each target is.
fn health_urls(options: &Simulate) -> Result<Vec<String>, Error> {
    let (targets, given) = (options.targets.len(), options.health.len());
    if given > 0 {
        return if given == targets {
            Ok(options.health.clone())
        } else {
            Err(SimulateError::Count { given, targets }.into())
        };
    }
    let admins = options.result.admin.iter().map(Some).chain(std::iter::repeat(None));
    let url = |(target, admin): (&String, Option<&String>)| -> Result<String, Error> {
        if let Some(admin) = admin {
            let admin = admin.trim_start_matches("http://").trim_end_matches('/');
            return Ok(format!("http://{admin}/health"));
        }
        let address = Address::parse(target).map_err(load::LoadError::from)?;
        if target.starts_with("wss:") || target.starts_with("https:") {
            return Err(SimulateError::Tls { url: address.public() }.into());
        }
        Ok(format!("http://{}/health", address.host_header()))
    };
    options.targets.iter().zip(admins).map(url).collect()
}

/// What `load` is asked for: all places at once, which are empty until a trader comes.
fn flags(options: Simulate, traders: u32, market: &Market) -> Load {
    Load {
        targets: options.targets,
        profile: ProfileName::Custom,
        connections: Some(traders),
        ramp: Some(Duration::ZERO),
        duration: Some(market.lasts(market.length)),
        protocol: match options.protocol {
            Spoken::V1 => Protocol::V1,
            Spoken::Sse => Protocol::Sse,
            Spoken::Odin => Protocol::Odin,
            Spoken::Symbols => Protocol::Symbols,
        },
        no_reconnect: false,
        no_resume: options.no_resume,
        clients: options.clients,
        publishing: options.publishing,
        raw: RawArgs::default(),
        result: options.result,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn options(arguments: &str) -> Simulate {
        let words = ["wsgw", "simulate"].into_iter().chain(arguments.split_whitespace());
        let Command::Simulate(options) = Cli::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        *options
    }

    #[test]
    fn a_profile_has_its_size_and_flags_change_it() {
        let of = |arguments| {
            let (traders, market) = market(&options(arguments)).unwrap();
            (traders, market.length.as_secs(), market.ramp.as_secs(), market.start.as_secs())
        };
        assert_eq!(of("ws://a"), (300, 300, 30, 13 * 3_600));
        assert_eq!(of("ws://a --profile medium"), (1_000, 1_800, 180, 13 * 3_600));
        assert_eq!(of("ws://a --profile long -c 7"), (7, 7_200, 720, 13 * 3_600));
        assert_eq!(
            of("ws://a --profile custom -c 9 --duration 1h --ramp 0s --start 06:30"),
            (9, 3_600, 0, 23_400)
        );
    }

    #[test]
    fn the_clock_bounds_what_the_market_may_last() {
        let error = |arguments| market(&options(arguments)).unwrap_err().to_string();
        assert!(
            error("ws://a --profile custom -c 9").contains("needs --connections and --duration")
        );
        assert!(error("ws://a --duration 1m --ramp 2m").contains("60s of --duration"));
        assert!(error("ws://a --duration 30s --speed 60").contains("take 0.5s"));
        assert!(error("ws://a --duration 1000h").contains("7 days"));
        assert!(market(&options("ws://a --duration 1000h --speed 60")).is_ok());
    }

    #[test]
    fn health_is_asked_for_where_it_is() {
        let urls = |arguments| health_urls(&options(arguments)).unwrap();
        assert_eq!(urls("ws://a:8080/ws"), ["http://a:8080/health"]);
        assert_eq!(
            urls("ws://a/ws ws://[::1]:9/ws --admin c:9090"),
            ["http://c:9090/health", "http://[::1]:9/health"]
        );
        assert_eq!(urls("ws://a/ws --health http://b/h"), ["http://b/h"]);
        assert!(health_urls(&options("ws://a ws://b --health http://c")).is_err());
    }

    #[test]
    fn only_protocols_with_a_cursor_resume() {
        let resumes = |arguments| market(&options(arguments)).unwrap().1.resumes;
        assert!(resumes("ws://a") && resumes("ws://a --protocol sse"));
        assert!(!resumes("ws://a --protocol odin") && !resumes("ws://a --no-resume"));
    }
}
