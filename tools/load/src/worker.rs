//! A worker (the shell): one swarm of connections on this thread.
//!
//! In: a plan, and orders. Out: snapshots, until one is the last. It owns its connections and their book.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wsgateway_client::envelope::Envelope;
use wsgateway_client::swarm::State;
use wsgateway_client::{
    Acknowledgement, Gap, Observer, Reconnect, Swarm, SwarmError, SwarmOptions,
};

use crate::book::{Book, Told};
use crate::clock::Clock;
use crate::dialect;
use crate::plan::{Seats, Wire, WorkerPlan};
use crate::simulate::visits::Visits;
use crate::snapshot::{Order, Snapshot, Totals};

/// Between two looks at the orders.
pub(crate) const TURN: Duration = Duration::from_millis(50);
/// Between two snapshots.
const SNAPSHOT: Duration = Duration::from_millis(250);
/// Between two questions for the server's time.
const PING: Duration = Duration::from_secs(1);
/// Handshakes under way at once: a crowd, but not so large that one slow server hides behind it.
pub(crate) const IN_FLIGHT: usize = 256;
/// The largest message: many clients may receive one at the same time.
const MESSAGE_BYTES: usize = 1 << 20;
/// For close frames to leave.
const GOODBYE: Duration = Duration::from_millis(200);

/// Runs until the order to finish, or until the caller does not take snapshots any more.
pub fn run(plan: &WorkerPlan, orders: &Receiver<Order>, mut tell: impl FnMut(Snapshot) -> bool) {
    let seats = if plan.market.is_some() { Seats::new(plan.clients) } else { Seats::default() };
    let plan = &WorkerPlan { seats, ..plan.clone() };
    let clock = Clock::start();
    let book = Arc::new(Mutex::new(Book::new(plan)));
    let visits = Visits::new(plan);
    let swarm = connect(plan, &book, clock);
    let mut worker = match swarm {
        Ok(swarm) => Worker { plan, clock, book, swarm, visits, lag: Duration::ZERO },
        Err(error) => {
            let (worker, target) = (plan.worker, plan.target);
            let failure = Some(error);
            tell(Snapshot { worker, target, failure, finished: true, ..Snapshot::default() });
            return;
        }
    };
    let last = match worker.work(orders, &mut tell) {
        Ok(last) => last,
        Err(error) => {
            Snapshot { failure: Some(error.to_string()), finished: true, ..worker.snapshot() }
        }
    };
    tell(last);
    worker.swarm.close_all(1000);
    // Whether or not they leave: the run is over.
    let _ = worker.swarm.run_for(GOODBYE);
}

fn connect(plan: &WorkerPlan, book: &Arc<Mutex<Book>>, clock: Clock) -> Result<Swarm, String> {
    let tls = plan.endpoint.tls.as_ref().map(|(host, trust)| trust.tls(host));
    let tls = tls.transpose().map_err(|error| error.to_string())?;
    let options = SwarmOptions { tls, ..options(plan, book, clock) };
    Swarm::connect(plan.endpoint.address, options).map_err(|error| error.to_string())
}

fn options(plan: &WorkerPlan, book: &Arc<Mutex<Book>>, clock: Clock) -> SwarmOptions {
    let (first, again, ramp, tokens) = (plan.clone(), plan.clone(), plan.clone(), plan.clone());
    SwarmOptions {
        connections: plan.clients as usize,
        path: plan.endpoint.path.clone(),
        host: Some(plan.endpoint.host.clone()),
        events: plan.wire == Wire::Events,
        polls: plan.wire == Wire::Polls,
        protocol: dialect::protocol(&plan.wire),
        headers: (!plan.tokens.is_empty()).then(|| {
            Box::new(move |index| bearer(&tokens, index)) as wsgateway_client::swarm::Headers
        }),
        sources: plan.sources.clone(),
        in_flight: IN_FLIGHT,
        due: Some(Box::new(move |index| ramp.ramp.due(ramp.client(index), ramp.all_clients))),
        dialect: dialect::dialect(plan, book, clock),
        commands: Box::new(move |index| dialect::opening(&first, first.client(index))),
        reconnect: Some(Reconnect {
            resume: plan.resumes,
            patience: plan.patience,
            most_failures: (!plan.comes_back).then_some(0),
            ..Reconnect::resuming(Box::new(move |index| {
                again.channels.names_of(again.client(index))
            }))
        }),
        on_call: plan.market.is_some(),
        observer: Some(Box::new(Ear { plan: plan.clone(), book: Arc::clone(book), clock })),
        message_bytes: MESSAGE_BYTES,
        ..SwarmOptions::default()
    }
}

fn bearer(plan: &WorkerPlan, index: usize) -> Vec<(String, String)> {
    let client = plan.client(index) as usize;
    let token = client.checked_rem(plan.tokens.len()).and_then(|at| plan.tokens.get(at));
    let header = |token: &String| ("Authorization".to_owned(), format!("Bearer {token}"));
    token.map(header).into_iter().collect()
}

struct Worker<'a> {
    plan: &'a WorkerPlan,
    clock: Clock,
    book: Arc<Mutex<Book>>,
    swarm: Swarm,
    /// Who comes and leaves, where clients do not just stay.
    visits: Option<Visits>,
    /// The longest that a turn took beyond its time.
    lag: Duration,
}

impl Worker<'_> {
    fn work(
        &mut self,
        orders: &Receiver<Order>,
        tell: &mut impl FnMut(Snapshot) -> bool,
    ) -> Result<Snapshot, SwarmError> {
        let (mut snapshot_due, mut ping_due) = (SNAPSHOT, PING);
        let start = Instant::now();
        loop {
            self.turn()?;
            loop {
                match orders.try_recv() {
                    Err(TryRecvError::Empty) => break,
                    Ok(Order::Unstored { from, to }) => self.book().unstored(from, to),
                    Ok(Order::Pace { percent }) => {
                        self.visits.iter_mut().for_each(|visits| visits.pace(percent));
                    }
                    Ok(Order::Finish { published }) => return self.finish(published, tell),
                    // Nobody is there any more to read a report.
                    Err(TryRecvError::Disconnected) => return Ok(self.last(0)),
                }
            }
            let now = start.elapsed();
            if now >= ping_due {
                ping_due = now + PING;
                self.ping();
            }
            if now >= snapshot_due {
                snapshot_due = now + SNAPSHOT;
                if !tell(self.snapshot()) {
                    return Ok(self.last(0));
                }
            }
        }
    }

    fn turn(&mut self) -> Result<(), SwarmError> {
        let start = Instant::now();
        let span = match &mut self.visits {
            Some(visits) => visits.turn(&mut self.swarm, &self.book)?,
            None => TURN,
        };
        self.swarm.run_for(span)?;
        self.lag = self.lag.max(start.elapsed().saturating_sub(span));
        Ok(())
    }

    /// Waits for what was published and has not arrived, as long as the plan says.
    fn finish(
        &mut self,
        published: u64,
        tell: &mut impl FnMut(Snapshot) -> bool,
    ) -> Result<Snapshot, SwarmError> {
        let start = Instant::now();
        if let Some(visits) = &mut self.visits {
            visits.end(&mut lock(&self.book));
        }
        while self.book().missing(published) > 0 && start.elapsed() < self.plan.drain {
            self.turn()?;
            if !tell(self.snapshot()) {
                break;
            }
        }
        Ok(self.last(published))
    }

    fn last(&mut self, published: u64) -> Snapshot {
        let missing = self.book().missing(published);
        let mut snapshot = Snapshot { finished: true, ..self.snapshot() };
        let missing = i64::try_from(missing).unwrap_or(i64::MAX);
        snapshot.totals.lost = snapshot.totals.lost.saturating_add(missing);
        snapshot
    }

    fn ping(&mut self) {
        let question = match self.plan.wire {
            Wire::V1 => "{\"type\":\"ping\",\"timestamp\":0}",
            // Its pong has the gateway's time for a heartbeat as for a ping.
            Wire::Odin => "{\"type\":\"heartbeat\"}",
            _ => return,
        };
        let open = self.swarm.tallies().position(|tally| tally.state == State::Open);
        if let Some(open) = open {
            let now_ns = self.clock.now_ns();
            self.book().pinged(now_ns);
            // A server that does not read is measured by what does not arrive.
            let _ = self.swarm.send(open, question);
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut totals = Totals::from(self.swarm.counters());
        let lag_ms = std::mem::take(&mut self.lag).as_secs_f64() * 1e3;
        let mut book = lock(&self.book);
        totals.reconnects = match self.plan.wire {
            // A server that acknowledges nothing shows it only by handshakes beyond the first.
            Wire::Raw(_) => totals.opened.saturating_sub(u64::from(self.plan.clients)),
            _ => book.reconnects,
        };
        totals.early = book.early;
        (totals.misdated, totals.set_back) = (book.misdated, book.set_back);
        totals.ours = book.ours;
        if self.plan.publishing.is_some() || !self.plan.wire.is_v1() {
            let sums = book.settled_sums();
            totals.lost = sums.lost;
            totals.twice = sums.twice;
            totals.out_of_order = sums.late;
        }
        Snapshot {
            worker: self.plan.worker,
            target: self.plan.target,
            totals,
            crowd: self.visits.as_ref().map(|visits| visits.totals(book.caught_up)),
            latency: book.latency.take(),
            skew: book.clock(),
            lag_ms,
            last_error: self.swarm.last_error().map(str::to_owned),
            failure: None,
            finished: false,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enters what the swarm hears of `wsgateway.v1`. On the worker's own thread: the lock is never waited for.
struct Ear {
    plan: WorkerPlan,
    book: Arc<Mutex<Book>>,
    clock: Clock,
}

impl Observer for Ear {
    fn message(&mut self, client: usize, envelope: &Envelope<'_>) {
        let time_ns = u64::try_from(envelope.ts).ok().and_then(|ms| ms.checked_mul(1_000_000));
        let told = Told { text: envelope.rest, time_ns, sequence: None };
        lock(&self.book).message(client, &told, self.clock.now_ns());
    }

    fn acknowledged(&mut self, client: usize, acknowledgement: &Acknowledgement) {
        // What was refused is an error, and cannot be lost.
        let channels: Vec<u32> = match acknowledgement.rejected {
            0 => self.plan.channels.of(self.plan.client(client)).collect(),
            _ => Vec::new(),
        };
        lock(&self.book).acknowledged(client, &channels, self.clock.now_ns());
    }

    fn gap(&mut self, _: usize, _: &Gap<'_>) {}

    fn ended(&mut self, client: usize, _: Option<u16>) {
        lock(&self.book).ended(client);
    }

    fn pong(&mut self, _: usize, ts: i64) {
        lock(&self.book).pong(ts, self.clock.now_ns());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::{Channels, Endpoint, Ramp};

    /// A plan for tests: so many clients that come at once.
    pub(crate) fn plan(clients: u32) -> WorkerPlan {
        WorkerPlan {
            worker: 0,
            target: 0,
            endpoint: Endpoint {
                address: ([127, 0, 0, 1], 1).into(),
                host: "test".to_owned(),
                path: "/ws".to_owned(),
                tls: None,
            },
            first: 0,
            stride: 1,
            clients,
            all_clients: clients,
            ramp: Ramp::Even { over: Duration::ZERO },
            wire: Wire::V1,
            channels: Channels::new(&["a".to_owned()], 1, 1).unwrap(),
            publishing: None,
            tokens: Vec::new(),
            sources: Vec::new(),
            comes_back: true,
            resumes: true,
            patience: Duration::from_secs(5),
            drain: Duration::from_secs(5),
            market: None,
            seats: Seats::default(),
        }
    }

    #[test]
    fn tokens_are_used_in_turn_and_none_is_sent_without_them() {
        let tokens = vec!["t0".to_owned(), "t1".to_owned()];
        let with_tokens = WorkerPlan { tokens, first: 1, stride: 2, ..plan(3) };
        let said = [0, 1].map(|index| bearer(&with_tokens, index)[0].1.clone());
        assert_eq!(said, ["Bearer t1", "Bearer t1"]);
        assert!(bearer(&plan(1), 0).is_empty());
    }

    #[test]
    fn a_target_that_refuses_is_counted_by_kind_and_the_worker_ends_when_told() {
        let (orders, receiver) = std::sync::mpsc::channel();
        let plan = WorkerPlan { comes_back: false, ..plan(3) };
        let mut last = None;
        run(&plan, &receiver, |snapshot| {
            if snapshot.totals.errors_in_all() >= 3 {
                // The worker may have ended by then.
                let _ = orders.send(Order::Finish { published: 0 });
            }
            last = Some(snapshot);
            true
        });
        let last = last.unwrap();
        assert!(last.finished && last.failure.is_none());
        assert_eq!(last.totals.errors["connection refused"], 3);
    }
}
