//! Publishes to Redis, which keeps nothing and confirms nothing beyond having taken a message.
//!
//! What is under way when the connection is lost may have been published or not. It is counted as dropped and not sent again:
//! Redis would deliver a second one to every subscriber.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gateway::RedisPublisher;
use tokio::time::{Instant, sleep_until};
use wsgateway_config::RedisSource;
use wsgateway_market::Message;

use super::shared::Shared;

/// Most messages of one write: their answers come before the next ones are sent.
const BATCH: usize = 512;
/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to Redis, or the next attempt at one.
pub(super) struct Line {
    source: RedisSource,
    shared: Arc<Shared>,
    connection: Option<RedisPublisher>,
    next_attempt: Instant,
}

impl Line {
    pub(super) fn new(source: RedisSource, shared: Arc<Shared>) -> Self {
        Self { source, shared, connection: None, next_attempt: Instant::now() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects if it is time.
    pub(super) async fn connect(&mut self) {
        if self.connection.is_some() || Instant::now() < self.next_attempt {
            return;
        }
        match RedisPublisher::connect(&self.source, super::NAME).await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.shared.set_trouble(None);
                self.shared.set_connected(true);
            }
            Err(error) => self.lost(error.to_string()),
        }
    }

    /// Publishes what is waiting, until all is sent or the connection is lost.
    pub(super) async fn push(&mut self, queue: &mut VecDeque<Message>) {
        while let (Some(connection), false) = (&mut self.connection, queue.is_empty()) {
            let count = queue.len().min(BATCH);
            let batch: Vec<Message> = queue.drain(..count).collect();
            let messages = batch.iter().map(|message| (&*message.subject, &message.payload[..]));
            match connection.publish(messages).await {
                Ok(()) => self.shared.tally.published.inc_by(count as u64),
                Err(error) => {
                    self.shared.tally.dropped.inc_by(count as u64);
                    self.lost(error.to_string());
                }
            }
        }
    }

    fn lost(&mut self, why: String) {
        self.connection = None;
        self.next_attempt = Instant::now() + PAUSE;
        self.shared.tally.errors.inc();
        self.shared.set_connected(false);
        self.shared.set_trouble(Some(why));
    }

    /// Until the next attempt to connect.
    pub(super) async fn wait(&self) {
        sleep_until(self.next_attempt).await;
    }
}
