//! The flags of `wsgw size`.

use std::time::Duration;

use clap::Args;

use super::cluster::{Show, timeout};

const SIZE_EXAMPLES: &str = "\
Examples:
  wsgw size -c 100000 --messages 5 --published 500
                                              100,000 clients at the peak, with five messages a second each
  wsgw size -c 100000 --payload 256 --polling-interval 2s --polling-response 5000 --prices gcp
                                              the same clients by polling: 3,000,000 requests a minute
  wsgw size -c 40000 --messages 12 --payload 500 --batch-window 1s --mobile 60 --prices my-prices.yaml
                                              batches for phones, and prices of your own
  wsgw size -c 100000 --manifest >prices.yaml && wsgw check -f prices.yaml

Prices: gcp, aws and bare are examples with a date, not offers; copy one from docs/sizing.md and write what you pay. Figures
are those of the last benchmark, whose CPU is not yours: check one point with wsgw load before you rely on them.";

/// `wsgw size`.
#[derive(Debug, Args)]
#[command(after_help = SIZE_EXAMPLES)]
pub(crate) struct SizeArgs {
    /// Clients at the peak, 1 to 10,000,000
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) connections: u32,
    /// Channels that each client subscribes to
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) channels: u32,
    /// Messages a second that each client gets
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = rate)]
    pub(crate) messages: f64,
    /// Messages a second that are published to the stream [default: as many as one client gets]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) published: Option<f64>,
    /// Size of a message as it is published, such as 256 or 2Ki
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = payload)]
    pub(crate) payload: u32,
    /// Part of the clients that are phones, which lose and make connections more often
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = percent(0))]
    pub(crate) mobile: u8,
    /// Part of the clients that connect within one second at worst, such as when a market opens
    #[arg(long, value_name = "PERCENT", default_value_t = 2, value_parser = percent(0))]
    pub(crate) surge: u8,
    /// batchWindow of the channels: messages within this time leave together
    #[arg(long, value_name = "DURATION", value_parser = batch_window)]
    pub(crate) batch_window: Option<Duration>,
    /// Batches are not compressed
    #[arg(long)]
    pub(crate) no_compression: bool,
    /// capacity.connectionsPerPod [default: 10000, or fewer where there are fewer clients]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections_per_pod: Option<u32>,
    /// Average load of a month, in percent of the peak; for cost
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = percent(1))]
    pub(crate) average: u8,
    /// Cost by these prices: gcp, aws or bare, which are examples, or a file
    #[arg(long, value_name = "PRICES")]
    pub(crate) prices: Option<String>,
    /// Compare with clients that poll this often
    #[arg(long, value_name = "DURATION", value_parser = polling_interval)]
    pub(crate) polling_interval: Option<Duration>,
    /// Bytes of an answer to a poll, with its headers [default: a payload for each channel, and 500]
    #[arg(long, value_name = "BYTES", requires = "polling_interval", value_parser = answer)]
    pub(crate) polling_response: Option<u32>,
    /// Print the WsGateway alone
    #[arg(long, conflicts_with_all = ["output", "prices", "polling_interval"])]
    pub(crate) manifest: bool,
    #[command(flatten)]
    pub(crate) show: Show,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number from 0 to 1000000".to_owned()),
    }
}

fn percent(least: i64) -> impl clap::builder::TypedValueParser<Value = u8> {
    clap::value_parser!(u8).range(least..=100)
}

fn payload(text: &str) -> Result<u32, String> {
    size(text, 1 << 20, "must be from 1 to 1Mi: NATS carries 1Mi unless its max_payload is raised")
}

fn answer(text: &str) -> Result<u32, String> {
    size(text, 1 << 30, "must be from 1 to 1Gi")
}

fn size(text: &str, most: u32, otherwise: &str) -> Result<u32, String> {
    let bytes = wsgateway_crds::size(text).map_err(|error| error.to_string())?;
    let bytes = u32::try_from(bytes).ok().filter(|bytes| (1..=most).contains(bytes));
    bytes.ok_or_else(|| otherwise.to_owned())
}

fn batch_window(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), "must be from 1ms to 1s, as spec.channels.rules has it")
}

fn polling_interval(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(86_400), "must be from 1ms to 24h")
}

fn within(text: &str, most: Duration, otherwise: &str) -> Result<Duration, String> {
    let time = timeout(text)?;
    let is_within = (Duration::from_millis(1)..=most).contains(&time);
    if is_within { Ok(time) } else { Err(otherwise.to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    fn parse(flags: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["wsgw", "size"].into_iter().chain(flags.split_whitespace()))
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_with_what_does() {
        for (flags, says) in [
            ("-c 0", "1..=10000000"),
            ("-c 99999999999999999999", "too large"),
            ("-c 1 --messages NaN", "from 0 to 1000000"),
            ("-c 1 --messages inf", "from 0 to 1000000"),
            ("-c 1 --messages=-1", "from 0 to 1000000"),
            ("-c 1 --published 1e300", "from 0 to 1000000"),
            ("-c 1 --payload 0", "from 1 to 1Mi"),
            ("-c 1 --payload 2Mi", "from 1 to 1Mi"),
            ("-c 1 --payload many", "write bytes"),
            ("-c 1 --mobile 101", "0..=100"),
            ("-c 1 --average 0", "1..=100"),
            ("-c 1 --batch-window 2s", "1ms to 1s"),
            ("-c 1 --polling-interval 0", "1ms to 24h"),
            ("-c 1 --polling-response 5", "--polling-interval"),
            ("-c 1 --manifest -o json", "cannot be used with"),
            ("", "--connections"),
        ] {
            let error = parse(flags).unwrap_err().to_string();
            assert!(error.contains(says), "{flags:?}: {error}");
        }
        assert!(parse("-c 1 --messages 0").is_ok(), "idle clients are a load, too");
    }
}
