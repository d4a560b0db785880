//! Lookup: what is older than the history, from the stream: by sequences, or by channels.
//!
//! In: queries of those who catch up, and the reader's request for the last values of a stream. Out: blocks, and a
//! [`seed::Seed`]. Any replica may answer, also one that is behind: an answer that ends before it should is asked again, and
//! never taken for "deleted". Only what is before the stream's first sequence, or missing between two messages, is
//! deleted. Direct gets are used, or the stream's leader where they are not allowed; servers before 2.11 give one message
//! for each.

mod filters;
mod merge;
mod messages;
pub(super) mod seed;
mod stream;
mod values;
mod wide;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wsgateway_config::JetStreamSource;
use wsgateway_nats::jetstream::{Api, StreamInfo};
use wsgateway_nats::link::{Dialer, requests};
use wsgateway_nats::{Access, Notice};

use super::Life;
use crate::encode::{Delivery, Envelope, Message};
use crate::history::archive::{
    BLOCK, BLOCK_BYTES, Block, Desk, Fetched, LookupError, Query, block_of,
};
use stream::{ATTEMPTS, Stream, failed};
use wide::Wide;

/// Those who ask: clients that catch up, and the reader at its start.
#[derive(Debug)]
pub(crate) struct Askers {
    pub desk: Desk,
    pub seeds: mpsc::Receiver<seed::Asked>,
}

/// Answers until told to stop, over a connection of its own, made when it is first needed: what is looked up is much, and
/// live messages must not wait behind it. `life` tells which stream is read.
pub(crate) async fn look_up(
    source: JetStreamSource,
    name: String,
    (envelope, life): (Envelope, Life),
    Askers { mut desk, mut seeds }: Askers,
    stop: CancellationToken,
) {
    let work = async {
        desk.filters();
        let first = tokio::select! {
            () = desk.wanted() => None,
            asked = seeds.recv() => asked,
        };
        match Dialer::new(&Access::from(&source), &name, on_notice) {
            Ok(dialer) => {
                let (requests, serve) = requests(dialer);
                let stream = Stream::new(Api::new(&*source.api_prefix), requests, &source.stream);
                let lookup = Lookup { stream, envelope, life, wide: Arc::default() };
                let seeding = seed::serve(lookup.clone(), first, seeds);
                let answer = desk.serve(move |query| lookup.clone().answer(query));
                tokio::join!(answer, seeding, serve);
            }
            // The reader of the stream has the same trouble, and reports it.
            Err(error) => {
                drop((first, seeds));
                let why: Arc<str> = error.to_string().into();
                desk.serve(move |_| std::future::ready(Err(LookupError::Failed(Arc::clone(&why)))))
                    .await;
            }
        }
    };
    stop.run_until_cancelled(Box::pin(work)).await;
}

/// Whether NATS can be reached is reported by the reader of the stream; what a lookup is refused, only here.
fn on_notice(notice: Notice) {
    match notice {
        Notice::Complaint(complaint) => tracing::warn!(complaint, "NATS complains about a lookup"),
        notice => tracing::debug!(?notice, "the connection for lookups"),
    }
}

/// Looks up what one stream has. Clones share the connection.
#[derive(Clone)]
struct Lookup {
    stream: Stream,
    envelope: Envelope,
    life: Life,
    wide: Arc<Wide>,
}

impl Lookup {
    async fn answer(self, query: Query) -> Fetched {
        match query {
            Query::Block { from } => self.block(from).await,
            Query::Messages { interest, from } => self.messages(&interest, from).await,
            Query::Values { interest, from, until } => self.values(&interest, from, until).await,
        }
    }

    /// The stream as it is now, and its epoch.
    async fn current(&self) -> Result<(StreamInfo, Arc<str>), LookupError> {
        let info = self.stream.info().await?;
        let epoch = self.life.epoch_of(&info.epoch);
        Ok((info, epoch.ok_or_else(|| failed("the stream is another one now"))?))
    }

    /// The block that begins at `from`: up to the end of its aligned range, or less if its messages are large.
    async fn block(&self, from: u64) -> Fetched {
        let (info, epoch) = self.current().await?;
        let (first, last) = (info.first, info.last);
        let to = (block_of(from).saturating_add(BLOCK - 1)).min(last);
        let (mut messages, mut bytes, mut next) = (Vec::new(), 0, from.max(first));
        let mut attempts = 0;
        while next <= to && bytes < BLOCK_BYTES {
            let answer = match info.allow_direct {
                true => self.stream.ask(">", next, (to + 1 - next, BLOCK_BYTES)).await?,
                false => self.stream.ask_leader(">", next).await?.into_iter().collect(),
            };
            let before = next;
            for message in answer {
                next = next.max(message.sequence + 1);
                bytes += message.payload.len();
                if message.sequence >= before && message.sequence <= to {
                    messages.push(message);
                }
            }
            attempts = if next > before { 0 } else { attempts + 1 };
            if attempts >= ATTEMPTS {
                next = self.next_by_leader(next, last).await?;
                attempts = 0;
            }
        }
        let to = to.min(next.saturating_sub(1)).max(from.saturating_sub(1));
        let messages = self.encode(&messages);
        let missing_is_gone = true;
        Ok(Arc::new(Block { epoch, messages, from, to, first, last, missing_is_gone }))
    }

    /// The first sequence after `missing` that the stream's leader has, or the one after `last`.
    async fn next_by_leader(&self, missing: u64, last: u64) -> Result<u64, LookupError> {
        match self.stream.ask_leader(">", missing).await? {
            Some(message) if message.sequence > missing => Ok(message.sequence),
            Some(_) => Err(failed("the replica that answers is behind the stream's leader")),
            None => Ok(last + 1),
        }
    }

    /// Encodes messages in order; the first of each channel says that the one before it is not known.
    fn encode(&self, messages: &[Message]) -> Vec<Arc<Delivery>> {
        let mut previous: HashMap<&str, u64> = HashMap::new();
        let encode = |message| {
            let channel = self.envelope.channel(message);
            let prev = previous.insert(channel, message.sequence).unwrap_or(0);
            self.envelope.encode(message, prev)
        };
        messages.iter().map(encode).collect()
    }
}
