//! The clients: a swarm of WebSocket clients on a thread of its own, and those that come by other ways.

pub mod sdk;
pub mod sse;

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wsgateway_client::envelope::Envelope;
use wsgateway_client::swarm::Tls;
use wsgateway_client::{
    Acknowledgement, Counters, Gap, Observer, Reconnect, Swarm, SwarmError, SwarmOptions,
};

use crate::meter::Shared;

/// How often the thread looks for orders.
const TURN: Duration = Duration::from_millis(10);

/// Every so many clients one sleeps when sleeping is called for; those that hear everything are among them.
const SLEEPER_EVERY: usize = 20;

/// What the swarm's thread is told.
enum Order {
    Sleep,
    Wake,
}

/// What the swarm's thread tells.
#[derive(Debug, Default)]
struct Report {
    counters: Counters,
    last_error: Option<String>,
    failure: Option<String>,
}

/// The thread of the swarm; dropping it ends the thread.
#[derive(Debug)]
pub struct Herd {
    orders: Option<Sender<Order>>,
    report: Arc<Mutex<Report>>,
    thread: Option<JoinHandle<()>>,
}

impl Herd {
    /// Connects a client for each set of patterns; all of them come back whenever they end. The meter knows them by
    /// numbers that count from `first`.
    pub fn start(
        address: SocketAddr,
        first: usize,
        patterns: Vec<Vec<String>>,
        resume: bool,
        tls: Option<Tls>,
        meter: &Shared,
    ) -> Self {
        let (orders, receiver) = mpsc::channel();
        let report = Arc::new(Mutex::new(Report::default()));
        let options = SwarmOptions {
            connections: patterns.len(),
            tls,
            protocol: Some("wsgateway.v1".to_owned()),
            // A storm is one: nobody waits for the others.
            in_flight: patterns.len().max(1),
            reconnect: Some(Reconnect {
                resume,
                ..Reconnect::resuming(Box::new(move |client| {
                    patterns.get(client).cloned().unwrap_or_default()
                }))
            }),
            observer: Some(Box::new(Numbered { first, meter: meter.clone() })),
            ..SwarmOptions::default()
        };
        let shared = report.clone();
        let thread = std::thread::spawn(move || {
            if let Err(error) = drive(address, options, &receiver, &shared) {
                lock(&shared).failure = Some(error.to_string());
            }
        });
        Self { orders: Some(orders), report, thread: Some(thread) }
    }

    /// Some clients stop reading, or read again.
    pub fn sleepers(&self, asleep: bool) {
        if let Some(orders) = &self.orders {
            // An error means that the thread has failed, which `failure` tells.
            drop(orders.send(if asleep { Order::Sleep } else { Order::Wake }));
        }
    }

    /// Sums over all WebSocket clients.
    pub fn counters(&self) -> Counters {
        lock(&self.report).counters.clone()
    }

    /// The latest failure of a connection.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.report).last_error.clone()
    }

    /// Why the thread has ended, if it has.
    pub fn failure(&self) -> Option<String> {
        lock(&self.report).failure.clone()
    }
}

/// Tells the meter what a swarm hears, by the numbers that it knows its clients by.
struct Numbered {
    first: usize,
    meter: Shared,
}

impl Observer for Numbered {
    fn message(&mut self, client: usize, envelope: &Envelope<'_>) {
        self.meter.message(self.first + client, envelope);
    }

    fn acknowledged(&mut self, client: usize, ack: &Acknowledgement) {
        self.meter.acknowledged(self.first + client, ack);
    }

    fn gap(&mut self, client: usize, gap: &Gap<'_>) {
        self.meter.gap(self.first + client, gap);
    }

    fn ended(&mut self, client: usize, close_code: Option<u16>) {
        self.meter.ended(self.first + client, close_code);
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been printed already.
            drop(thread.join());
        }
    }
}

fn lock(report: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drive(
    address: SocketAddr,
    options: SwarmOptions,
    orders: &Receiver<Order>,
    report: &Mutex<Report>,
) -> Result<(), SwarmError> {
    let sleepers: Vec<usize> =
        (SLEEPER_EVERY / 2..options.connections).step_by(SLEEPER_EVERY).collect();
    let mut asleep = Vec::new();
    let mut swarm = Swarm::connect(address, options)?;
    loop {
        swarm.run_for(TURN)?;
        match orders.try_recv() {
            Ok(Order::Sleep) => {
                // One that is just coming back is spared.
                asleep.extend(sleepers.iter().filter(|client| swarm.pause(**client).is_ok()));
            }
            Ok(Order::Wake) => {
                for client in asleep.drain(..) {
                    swarm.resume(client)?;
                }
            }
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
        let mut report = lock(report);
        report.counters = swarm.counters().clone();
        report.last_error = swarm.last_error().map(str::to_owned);
    }
}
