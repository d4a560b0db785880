//! The clients: some are there all the time, others come when the market opens and go when it closes.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use harness::wait_until;
use loss::clients::Herd;
use loss::interest;
use loss::meter::{Settled, Shared};
use loss::publisher::Publishers;

use crate::cluster::PATIENCE;

/// Channels that are published to.
const CHANNELS: usize = 500;
/// After everything has come: time for what should not come any more.
const LINGER: Duration = Duration::from_millis(500);

/// All clients and publishers, and who knows what came.
pub struct Crowd {
    /// Who knows everything.
    pub meter: Shared,
    /// Publishers, resting at first.
    pub publishers: Publishers,
    address: SocketAddr,
    patterns: Vec<Vec<String>>,
    /// Clients that are there all the time.
    always: usize,
    _base: Herd,
    guests: Option<Herd>,
}

impl Crowd {
    /// Connects those who are there all the time.
    ///
    /// # Errors
    /// When they are not served.
    pub async fn start(
        address: SocketAddr,
        nats: SocketAddr,
        (always, guests): (usize, usize),
        rate: u32,
    ) -> Result<Self> {
        let channels = interest::channels(CHANNELS);
        let patterns: Vec<_> =
            (0..always + guests).map(|client| interest::patterns(client, &channels)).collect();
        let meter = Shared::new(channels.clone(), &patterns);
        meter.lock().left(always..always + guests);
        let client = async_nats::ConnectOptions::new()
            .retry_on_initial_connect()
            .connect(format!("nats://{nats}"))
            .await?;
        let jetstream = jetstream::new(client);
        let publishers = Publishers::start(&jetstream, &channels, rate, &meter);
        let base = patterns.get(..always).unwrap_or_default().to_vec();
        let base = Herd::start(address, 0, base, true, None, &meter);
        let crowd =
            Self { meter, publishers, address, patterns, always, _base: base, guests: None };
        crowd.subscribed().await?;
        Ok(crowd)
    }

    /// How many there are now.
    #[must_use]
    pub fn present(&self) -> usize {
        if self.guests.is_some() { self.patterns.len() } else { self.always }
    }

    /// The guests come, while nothing is published.
    ///
    /// # Errors
    /// When they are not served.
    pub async fn come(&mut self) -> Result<()> {
        self.publishers.rest().await;
        self.caught_up().await?;
        self.meter.lock().join(self.always..self.patterns.len());
        let guests = self.patterns.get(self.always..).unwrap_or_default().to_vec();
        self.guests = Some(Herd::start(self.address, self.always, guests, true, None, &self.meter));
        self.subscribed().await?;
        self.publishers.go();
        Ok(())
    }

    /// The guests go.
    pub fn go(&mut self) {
        // What they hear until their connections end still counts.
        self.guests = None;
        self.meter.lock().left(self.always..self.patterns.len());
    }

    async fn subscribed(&self) -> Result<()> {
        let all = wait_until(PATIENCE, "every client's subscription", async || {
            self.meter.lock().ungreeted() == 0
        });
        all.await.with_context(|| format!("{} are missing", self.meter.lock().ungreeted()))
    }

    /// Waits until every client that is there has everything that was published until now.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn caught_up(&self) -> Result<()> {
        let mark = self.meter.lock().mark();
        let all = wait_until(PATIENCE, "clients that have everything", async || {
            self.meter.lock().behind(&mark) == 0
        });
        all.await.with_context(|| format!("{} clients are behind", self.meter.lock().behind(&mark)))
    }

    /// Stops publishing and counts what came since the last time.
    ///
    /// # Errors
    /// When a client does not get what it is owed, or a channel was refused.
    pub async fn settle(&self) -> Result<(Settled, u64)> {
        self.publishers.rest().await;
        let behind = self.caught_up().await;
        tokio::time::sleep(LINGER).await;
        let mut meter = self.meter.lock();
        let refused = meter.refused_channels();
        ensure!(refused == 0, "{refused} channels were refused");
        // Whoever is behind is counted as what was lost, which says more.
        drop(behind);
        Ok((meter.settle(), self.publishers.retries()))
    }
}
