//! What `wsgw market` is compared with: the messages of the same market, made or published by as little code as possible.

use std::future::IntoFuture as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{ContextBuilder, message::PublishMessage};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use wsgateway_market::{Market, Settings, Shape};
use wsgateway_nats::Access;

use super::{Measured, WARM_UP, Who};
use crate::error::{Error, io, nats_error};
use crate::process::cpu_ns;

/// As `wsgw market` has it.
const UNCONFIRMED: usize = 4_096;
/// The shortest pause, as `wsgw market` has it.
const NAP: Duration = Duration::from_millis(1);
/// Messages that are made beforehand, and published over and over.
const READY: usize = 50_000;
/// Any time will do (Unix time, µs).
const START_US: u64 = 1_800_000_000_000_000;
const SEED: u64 = 7;

/// Which publisher, where and how fast.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    who: Who,
    #[arg(long)]
    nats: SocketAddr,
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: u64,
}

/// Publishes, and prints what was measured as one line of JSON.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(io("cannot make a runtime"))?;
    let measured = runtime.block_on(measure(arguments))?;
    let line = serde_json::to_string(&measured)? + "\n";
    std::io::stdout().write_all(line.as_bytes()).map_err(io("standard output"))
}

async fn measure(arguments: &Arguments) -> Result<Measured, Error> {
    let settings = Settings::demo(Shape::Odin).changed(Some(arguments.rate.into()), None);
    let market = settings.map(|settings| Market::open(SEED, settings, START_US));
    let market = market.map_err(|error| Error::Faulty(error.to_string()))?;
    let mut line = match arguments.who {
        Who::Make => Line::Make(market),
        Who::Plain | Who::Market => {
            Line::Plain(connect(arguments.nats).await?, Ready::made_by(market))
        }
        Who::Acked => {
            let client = connect(arguments.nats).await?;
            let context = ContextBuilder::new().max_ack_inflight(UNCONFIRMED).build(client);
            Line::Acked(context, Ready::made_by(market), FuturesUnordered::new())
        }
    };
    paced(&mut line, arguments.rate, WARM_UP).await?;
    let (cpu, start) = (cpu_ns(std::process::id())?, Instant::now());
    let messages = paced(&mut line, arguments.rate, Duration::from_secs(arguments.seconds)).await?;
    Ok(Measured {
        who: arguments.who,
        messages,
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: (cpu_ns(std::process::id())? - cpu) as f64 / 1e9,
    })
}

async fn connect(nats: SocketAddr) -> Result<Client, Error> {
    let access = Access::open(vec![format!("nats://{nats}")]);
    let connection = wsgateway_nats::connect(&access, "bench", |_| ()).await;
    let client = connection.map_err(|error| nats_error(&error))?.client;
    client.flush().await.map_err(|error| nats_error(&error))?;
    Ok(client)
}

type Confirmation = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// Messages whose making is no part of the measurement.
struct Ready {
    messages: Vec<(Subject, Bytes, String)>,
    at: usize,
}

impl Ready {
    fn made_by(mut market: Market) -> Self {
        let mut messages = Vec::with_capacity(READY);
        while messages.len() < READY {
            let due = market.next_due_us();
            messages.extend(
                market.advance(due).into_iter().map(|message| {
                    (Subject::from(&*message.subject), message.payload, message.nonce)
                }),
            );
        }
        Self { messages, at: 0 }
    }

    /// The next one, which comes again after all others.
    fn next(&mut self) -> &(Subject, Bytes, String) {
        self.at = (self.at + 1) % self.messages.len();
        &self.messages[self.at]
    }
}

/// A publisher with what it needs.
enum Line {
    Make(Market),
    Plain(Client, Ready),
    Acked(async_nats::jetstream::Context, Ready, FuturesUnordered<Confirmation>),
}

/// Publishes as many as are due for so long.
async fn paced(line: &mut Line, rate: u32, length: Duration) -> Result<u64, Error> {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < length {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        done += line.publish(due.saturating_sub(done)).await?;
        tokio::time::sleep(NAP).await;
    }
    line.finish().await?;
    Ok(done)
}

impl Line {
    /// Publishes about so many; returns how many.
    async fn publish(&mut self, count: u64) -> Result<u64, Error> {
        match self {
            Self::Make(market) => {
                let mut made = 0;
                while made < count {
                    made += market.advance(market.next_due_us()).len() as u64;
                }
                return Ok(made);
            }
            Self::Plain(client, ready) => {
                for _ in 0..count {
                    let (subject, payload, _) = ready.next();
                    let sent = client.publish(subject.clone(), payload.clone()).await;
                    sent.map_err(|error| nats_error(&error))?;
                }
            }
            Self::Acked(context, ready, unconfirmed) => {
                for _ in 0..count {
                    // The nonce of an earlier time would be a duplicate, which costs the publisher the same.
                    let (subject, payload, nonce) = ready.next();
                    let message =
                        PublishMessage::build().payload(payload.clone()).message_id(nonce);
                    let sent = context.send_publish(subject.clone(), message).await;
                    let confirmation = sent.map_err(|error| nats_error(&error))?;
                    unconfirmed.push(confirmation.into_future());
                    if unconfirmed.len() >= UNCONFIRMED {
                        confirmed(unconfirmed.next().await)?;
                    }
                }
                while let Some(Some(answer)) = unconfirmed.next().now_or_never() {
                    confirmed(Some(answer))?;
                }
            }
        }
        Ok(count)
    }

    async fn finish(&mut self) -> Result<(), Error> {
        match self {
            Self::Make(_) => Ok(()),
            Self::Plain(client, _) => client.flush().await.map_err(|error| nats_error(&error)),
            Self::Acked(_, _, unconfirmed) => {
                while let Some(answer) = unconfirmed.next().await {
                    confirmed(Some(answer))?;
                }
                Ok(())
            }
        }
    }
}

fn confirmed(answer: Option<Result<PublishAck, PublishError>>) -> Result<(), Error> {
    answer.map_or(Ok(()), |answer| answer.map(drop).map_err(|error| nats_error(&error)))
}
