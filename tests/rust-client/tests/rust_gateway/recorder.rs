//! A client whose events are written down, and a publisher of numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wsgateway::{Backoff, Builder, Client, Closed, Event, Gap, Message, Subscribed, Subscription};

use super::servers::{PREFIX, SOON, Source};

pub(super) struct Recorder {
    pub client: Client,
    pub events: Vec<Event>,
    pub subscription: Subscription,
}

/// A builder that retries within a tenth of a second, so that a test waits for servers, not for the backoff.
pub(super) fn builder(url: impl Into<String>) -> Builder {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(100));
    Client::builder(url).backoff(Backoff { base, cap, ..Backoff::default() })
}

impl Recorder {
    pub(super) fn new(builder: Builder, channels: &[&str]) -> Result<Self> {
        let client = builder.build()?;
        let subscription = client.subscribe(channels.iter().copied());
        client.connect()?;
        Ok(Self { client, events: Vec::new(), subscription })
    }

    /// A client that has been acknowledged.
    pub(super) async fn subscribed(builder: Builder, channels: &[&str]) -> Result<Self> {
        let mut recorder = Self::new(builder, channels)?;
        recorder.acknowledged(1).await?;
        Ok(recorder)
    }

    pub(super) async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        while !condition(self) {
            let event = timeout(SOON, self.subscription.next()).await;
            let last = || &self.events[self.events.len().saturating_sub(10)..];
            let event = event.with_context(|| format!("in vain for {what}: {:?}", last()))?;
            let event = event.with_context(|| format!("ended before {what}: {:?}", last()))?;
            self.events.push(event);
        }
        Ok(())
    }

    pub(super) async fn acknowledged(&mut self, times: usize) -> Result<()> {
        self.until("an acknowledgement", |r| r.acks().count() >= times).await
    }

    pub(super) async fn received(&mut self, count: usize) -> Result<()> {
        self.until("messages", |r| r.messages().count() >= count).await
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
    }

    pub(super) fn acks(&self) -> impl Iterator<Item = &Subscribed> {
        self.events.iter().filter_map(|event| match event {
            Event::Subscribed(subscribed) => Some(subscribed),
            _ => None,
        })
    }

    pub(super) fn closed(&self) -> impl Iterator<Item = &Closed> {
        self.events.iter().filter_map(|event| match event {
            Event::Closed(closed) => Some(closed),
            _ => None,
        })
    }

    pub(super) fn gaps(&self) -> Vec<&Gap> {
        let gaps = self.events.iter().filter_map(|event| match event {
            Event::Gap(gap) => Some(gap),
            _ => None,
        });
        gaps.collect()
    }

    pub(super) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is(event)).count()
    }

    pub(super) fn numbers(&self) -> Result<Vec<usize>> {
        self.messages().map(|message| Ok(message.decode()?)).collect()
    }

    /// Everything that was published has come, once, in order, and nothing was reported missing.
    pub(super) async fn complete(&mut self, count: usize) -> Result<()> {
        self.received(count).await?;
        assert_eq!(self.numbers()?, (1..=count).collect::<Vec<_>>());
        let bad = self.count(|event| matches!(event, Event::Gap(_) | Event::Rejected(_)));
        ensure!(bad == 0, "{:?}", self.gaps());
        Ok(())
    }
}

/// Publishes 1, 2, 3, … on a channel until it is stopped.
pub(super) struct Publisher {
    pub count: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<usize>>,
}

impl Publisher {
    pub(super) fn start(source: &Source, channel: &str) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let count = Arc::new(AtomicUsize::new(0));
        let (published, jetstream) = (Arc::clone(&count), source.jetstream.clone());
        let subject = format!("{PREFIX}{channel}");
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(2));
            for n in 1.. {
                jetstream.publish(subject.clone(), n.to_string().into()).await?.await?;
                published.store(n, Ordering::Relaxed);
                tokio::select! {
                    _ = pace.tick() => {}
                    _ = &mut stopped => break,
                }
            }
            Ok(published.load(Ordering::Relaxed))
        });
        Self { count, stop, task }
    }

    pub(super) fn so_far(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many there were.
    pub(super) async fn stop(self) -> Result<usize> {
        drop(self.stop);
        self.task.await?
    }
}
