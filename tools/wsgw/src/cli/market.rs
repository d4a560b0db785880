//! The flags of the market's publisher. Their variables are those of the earlier systems (seeds S2 and S4).

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;

use super::{NatsAccess, RedisAccess, parse_rate};

const MARKET_EXAMPLES: &str = "\
Examples:
  wsgw market --nats nats://127.0.0.1:4222               five tokens, 17 messages a second
  wsgw market --tokens BTC,ETH --rate 500 --wait         nothing before POST /control/start
  curl -X POST http://127.0.0.1:3003/control/start -d '{\"rate\":10}'
  curl -X POST http://127.0.0.1:3003/control/configure -d '{\"rate\":20,\"tokens\":[\"BTC\",\"SOL\"]}'
  curl -X POST http://127.0.0.1:3003/control/stop
  curl http://127.0.0.1:3003/stats                       also /health and /metrics
  wsgw market --redis redis://127.0.0.1:6379             trades on channel:trade:SYMBOL

A stream must take the subjects, odin.> for example; wsgw market creates none. Messages carry their nonce as Nats-Msg-Id, and are sent
again under the same one until the stream confirms them. Ctrl-C ends with a summary.";

/// `wsgw market`.
#[derive(Debug, Args)]
#[command(after_help = MARKET_EXAMPLES)]
pub(crate) struct MarketArgs {
    /// NATS server [default: nats://localhost:4222, without --redis]
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true)]
    pub(crate) nats: Option<String>,
    #[command(flatten)]
    pub(crate) access: NatsAccess,
    /// Publish trades to the channels of this Redis server instead
    #[arg(
        long,
        value_name = "URL",
        env = "REDIS_URL",
        hide_env_values = true,
        conflicts_with = "nats"
    )]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) redis_access: RedisAccess,
    /// What is traded, up to 1000 names with commas between [default: BTC,ETH,ODIN,SOL,DOGE, with --redis
    /// AAPL,GOOGL,MSFT,TSLA,AMZN]
    #[arg(long, value_name = "NAMES", env = "TOKENS", value_delimiter = ',')]
    pub(crate) tokens: Vec<String>,
    /// Messages a second, 0.1 to 100000 [default: what is natural for as many tokens]
    #[arg(long, value_name = "N", env = "RATE", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Publish nothing until POST /control/start
    #[arg(long)]
    pub(crate) wait: bool,
    /// Port of the control API; 0 picks a free one
    #[arg(long, value_name = "PORT", env = "PORT", default_value_t = 3003)]
    pub(crate) port: u16,
    /// Address of the control API, which asks nobody who they are; 0.0.0.0 in a container
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub(crate) host: IpAddr,
}
