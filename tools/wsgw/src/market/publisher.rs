//! The loop that publishes: what is wanted and what is due in, messages out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use wsgateway_market::control::Wanted;
use wsgateway_market::{Market, Message};

use super::redis::Line;
use super::shared::Shared;
use crate::dev::unix_us;
use crate::pipeline::Pipeline;

/// Shortest pause: timers are no finer, and 100,000 messages a second are a hundred in it.
const NAP: Duration = Duration::from_millis(1);
/// Longest pause, so that confirmations are counted soon and a clock that was set back is noticed.
const LOOK: Duration = Duration::from_millis(50);
/// How long messages under way are waited for in the end.
const LAST: Duration = Duration::from_secs(5);
/// Over which the rate is measured.
const SECOND: Duration = Duration::from_secs(1);

/// Where messages go.
pub(super) enum Sink {
    /// A stream, which confirms.
    Nats(Box<Pipeline>),
    /// Channels of Redis.
    Redis(Box<Line>),
}

impl Sink {
    /// Does what has become possible: counts confirmations, sends again, connects.
    async fn collect(&mut self) {
        match self {
            Self::Nats(pipeline) => pipeline.collect().await,
            Self::Redis(line) => line.connect().await,
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Nats(pipeline) => pipeline.has_room(),
            Self::Redis(line) => line.has_room(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Nats(pipeline) => pipeline.is_idle(),
            Self::Redis(_) => true,
        }
    }

    /// Sends as much of the queue as there is room for.
    async fn push(&mut self, queue: &mut VecDeque<Message>) {
        match self {
            Self::Nats(pipeline) => pipeline.push(queue).await,
            Self::Redis(line) => line.push(queue).await,
        }
    }

    /// Waits until there may be room.
    async fn wait(&mut self) {
        match self {
            Self::Nats(pipeline) => pipeline.wait().await,
            Self::Redis(line) => line.wait().await,
        }
    }
}

/// Publishes until it is stopped and everything is confirmed, or [`LAST`] is over.
pub(super) async fn run(market: Market, sink: Sink, shared: &Shared, stop: &CancellationToken) {
    let mut publisher = Publisher {
        wanted: shared.subscribe(),
        running: false,
        market,
        sink,
        queue: VecDeque::new(),
        meter: Meter { since: Instant::now(), before: 0 },
        shared,
    };
    publisher.running = publisher.wanted.borrow_and_update().running;
    let deadline = async {
        stop.cancelled().await;
        sleep(LAST).await;
    };
    tokio::select! {
        () = publisher.publish(stop) => {}
        () = deadline => {}
    }
}

struct Publisher<'a> {
    wanted: watch::Receiver<Wanted>,
    running: bool,
    market: Market,
    sink: Sink,
    /// What was made and not sent yet: at most one batch of the market.
    queue: VecDeque<Message>,
    meter: Meter,
    shared: &'a Shared,
}

impl Publisher<'_> {
    async fn publish(&mut self, stop: &CancellationToken) {
        loop {
            self.follow();
            self.sink.collect().await;
            let stopping = stop.is_cancelled();
            let makes = self.running && !stopping;
            if makes && self.queue.is_empty() && self.sink.has_room() {
                let before = self.market.published();
                self.queue.extend(self.market.advance(unix_us()));
                self.shared.tally.generated.inc_by(self.market.published() - before);
            }
            self.sink.push(&mut self.queue).await;
            self.meter.measure(self.shared);
            if stopping && self.queue.is_empty() && self.sink.is_idle() {
                return;
            }
            // Whatever is left waits for confirmations or a connection.
            let blocked = !self.queue.is_empty() || !self.sink.has_room() || stopping;
            let pause = if blocked || !makes { LOOK } else { self.until_due() };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.sink.wait(), if blocked => {}
                Ok(()) = self.wanted.changed() => self.wanted.mark_changed(),
                () = stop.cancelled(), if !stopping => {}
            }
        }
    }

    /// Takes over what is wanted.
    fn follow(&mut self) {
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let wanted = self.wanted.borrow_and_update().clone();
        let now = unix_us();
        self.market.configure(wanted.settings.clone(), now);
        if wanted.running && !self.running {
            self.market.resume(now);
        }
        self.running = wanted.running;
        self.shared.take_over(wanted);
    }

    fn until_due(&self) -> Duration {
        let due = self.market.next_due_us().saturating_sub(unix_us());
        Duration::from_micros(due).clamp(NAP, LOOK)
    }
}

/// Measures the rate of each second.
struct Meter {
    since: Instant,
    before: u64,
}

impl Meter {
    fn measure(&mut self, shared: &Shared) {
        let elapsed = self.since.elapsed();
        if elapsed < SECOND {
            return;
        }
        let published = shared.tally.published.get();
        shared.set_per_second((published - self.before) as f64 / elapsed.as_secs_f64());
        (self.since, self.before) = (Instant::now(), published);
    }
}
