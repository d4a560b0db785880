//! The flags of `simulate`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::cluster::timeout;
use super::load::{ClientArgs, MOST_TARGETS, Publishing, ResultArgs, ramp};

/// Traders of one run.
const MOST_TRADERS: i64 = 100_000;
/// Faster, and sessions of half a minute would be shorter than their handshakes.
const FASTEST: f64 = 1_440.0;

const SIMULATE_EXAMPLES: &str = "\
Examples:
  wsgw simulate ws://127.0.0.1:8080/ws        300 traders for 5 min
  wsgw simulate ws://127.0.0.1:8080/ws --profile long --speed 60 --html market.html
                                              two hours of a market in two minutes, with plots
  wsgw simulate ws://127.0.0.1:8080/ws --profile custom -c 500 --duration 24h --ramp 1h --start 06:00 --speed 288
                                              a day with its peak hours, in five minutes
  wsgw simulate ws://127.0.0.1:8080/ws --publish nats://127.0.0.1:4222 --subject 'odin.token.{channel}' \\
       --channels 50 --per-client 3 --fail-if 'lost>0'
                                              prices of our own: what is lost is counted exactly

Traders: 20 % quick (30 s to 5 min), 35 % active (5 to 30 min), 30 % day traders (30 min to 4 h), 10 % long holders (4 to
8 h), 5 % bots (24 to 48 h). 70 % of those who leave come back within a minute. Peak hours are 13:00 to 17:00 UTC. Fewer
come while /health of the target warns. The same --seed gives the same traders. Ctrl-C ends with the report.
Stay within what you may do to the target: this is load.";

#[derive(Debug, Args)]
#[command(after_help = SIMULATE_EXAMPLES)]
pub(crate) struct Simulate {
    /// Addresses such as ws://127.0.0.1:8080/ws; several share the traders
    #[arg(value_name = "TARGET", required = true, num_args = 1..=MOST_TARGETS)]
    pub(crate) targets: Vec<String>,
    /// Size of the market; the other flags change it
    #[arg(long, value_name = "PROFILE", value_enum, default_value_t = Market::Short)]
    pub(crate) profile: Market,
    /// Traders at peak hours, the most that are connected at the same time [default: of the profile]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_TRADERS))]
    pub(crate) connections: Option<u32>,
    /// How long, by the market's time [default: of the profile]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) duration: Option<Duration>,
    /// Over how long traders come at the start, by the market's time; 0s: all at once [default: a tenth of the duration]
    #[arg(long, value_name = "DURATION", value_parser = ramp)]
    pub(crate) ramp: Option<Duration>,
    /// How many times faster than the clock the market's time is
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    pub(crate) speed: f64,
    /// The market's time of day at the start (UTC)
    #[arg(long, value_name = "HH:MM", default_value = "13:00", value_parser = time_of_day)]
    pub(crate) start: Duration,
    /// Traders that come, stay and leave as in another run with this number [default: a random one, which the report names]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u32>,
    /// Where the target's health is, once for each target in their order [default: /health of --admin, else of the target]
    #[arg(long, value_name = "URL")]
    pub(crate) health: Vec<String>,
    /// Do not ask for the target's health: nobody is sent away
    #[arg(long, conflicts_with = "health")]
    pub(crate) no_health: bool,
    /// What traders speak
    #[arg(long, value_name = "PROTOCOL", value_enum, default_value_t)]
    pub(crate) protocol: Spoken,
    /// Traders that come back begin anew, instead of where they were
    #[arg(long)]
    pub(crate) no_resume: bool,
    #[command(flatten)]
    pub(crate) clients: ClientArgs,
    #[command(flatten)]
    pub(crate) publishing: Publishing,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// A size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Market {
    /// 300 traders, 5 min
    Short,
    /// 1,000 traders, 30 min
    Medium,
    /// 2,000 traders, 2 h
    Long,
    /// --connections and --duration
    Custom,
}

impl Market {
    /// Traders and time; a custom market has neither.
    pub(crate) fn size(self) -> Option<(u32, Duration)> {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        match self {
            Self::Short => Some((300, minutes(5))),
            Self::Medium => Some((1_000, minutes(30))),
            Self::Long => Some((2_000, minutes(120))),
            Self::Custom => None,
        }
    }
}

/// A protocol of traders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoken {
    /// wsgateway.v1
    #[default]
    V1,
    /// wsgateway.v1 as an event stream, GET /sse
    Sse,
    /// odin.v1, without resuming
    Odin,
    /// symbols.v1, without resuming
    Symbols,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (1.0..=FASTEST).contains(&speed) => Ok(speed),
        _ => Err(format!("must be a number from 1 to {FASTEST}")),
    }
}

fn time_of_day(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time of day such as 13:00".to_owned();
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < below).ok_or_else(wrong)
    };
    Ok(Duration::from_secs(number(hours, 24)? * 3_600 + number(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn numbers_out_of_their_bounds_are_refused() {
        for arguments in [
            &["-c", "0"][..],
            &["-c", "100001"],
            &["--speed", "0.5"],
            &["--speed", "1e9"],
            &["--speed", "NaN"],
            &["--start", "24:00"],
            &["--start", "13:60"],
            &["--start", "1:5"],
            &["--start", "+1:05"],
            &["--seed", "-1"],
            &["--health", "http://a", "--no-health"],
        ] {
            let words = ["wsgw", "simulate", "ws://a"].iter().chain(arguments);
            assert!(Cli::try_parse_from(words).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_time_of_day_is_read() {
        assert_eq!(time_of_day("00:00"), Ok(Duration::ZERO));
        assert_eq!(time_of_day("23:59"), Ok(Duration::from_secs(86_340)));
    }
}
