//! A client whose events are written down.

use std::time::Duration;

use tokio::time::timeout;
use wsgateway::{Backoff, Builder, Client, Closed, Event, Message, Refused, Subscription};

/// How long anything may take on a machine that compiles at the same time.
pub(super) const SOON: Duration = Duration::from_secs(60);

pub(super) struct Recorder {
    pub client: Client,
    pub events: Vec<Event>,
    subscription: Subscription,
}

/// A builder that retries within a tenth of a second, so that a test waits for servers, not for the backoff.
pub(super) fn builder(urls: &[String]) -> Builder {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(100));
    let first = Client::builder(&urls[0]).backoff(Backoff { base, cap, ..Backoff::default() });
    urls[1..].iter().fold(first, |builder, url| builder.url(url))
}

impl Recorder {
    pub(super) fn new(builder: Builder) -> Self {
        let client = builder.build().unwrap();
        let subscription = client.subscribe(["a"]);
        client.connect().unwrap();
        Self { client, events: Vec::new(), subscription }
    }

    pub(super) fn of(urls: &[String]) -> Self {
        Self::new(builder(urls))
    }

    pub(super) async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            let next = timeout(SOON, self.subscription.next()).await;
            let event = next.unwrap_or_else(|_| panic!("in vain for {what}: {:?}", self.events));
            let event = event.unwrap_or_else(|| panic!("ended before {what}: {:?}", self.events));
            self.events.push(event);
        }
    }

    pub(super) async fn received(&mut self, count: usize) {
        self.until("messages", |r| r.messages().count() >= count).await;
    }

    /// Waits for the end of the client.
    pub(super) async fn refused(&mut self, code: u16) {
        let refused = timeout(SOON, self.client.closed()).await.unwrap();
        assert!(
            matches!(refused, Err(Refused { code: found, .. }) if found == code),
            "{refused:?}"
        );
        while let Some(event) = timeout(SOON, self.subscription.next()).await.unwrap() {
            self.events.push(event);
        }
        assert!(matches!(self.closed().last(), Some(Closed { retry_in: None, .. })));
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
    }

    pub(super) fn offsets(&self) -> Vec<i64> {
        self.messages().map(|message| message.offset).collect()
    }

    pub(super) fn closed(&self) -> impl Iterator<Item = &Closed> {
        self.events.iter().filter_map(|event| match event {
            Event::Closed(closed) => Some(closed),
            _ => None,
        })
    }

    pub(super) fn reasons(&self) -> Vec<&str> {
        self.closed().map(|closed| closed.reason.as_str()).collect()
    }
}
