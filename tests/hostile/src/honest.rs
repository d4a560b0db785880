//! The honest clients, on a thread of their own: each is subscribed to the ticks and to one group, and reads everything.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Counters, Latency, Swarm, SwarmError, SwarmOptions, Unit};

use crate::environment::SOON;
use crate::publisher::{GROUPS, TICK, group, group_of_tick};

/// How often the thread reads its orders.
const TURN: Duration = Duration::from_millis(5);

/// Time from publishing to reading (µs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// Half of the deliveries were as fast.
    pub p50_us: u64,
    /// 99 of 100 were as fast.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What the honest clients have seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Of the time since the last order to begin.
    pub delay: Delay,
    /// Of all the time.
    pub counters: Counters,
}

enum Order {
    /// Measure anew from now on.
    Begin,
    Report(SyncSender<Seen>),
}

/// The thread of the honest clients; dropping it ends them.
#[derive(Debug)]
pub struct Honest {
    clients: usize,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<Result<(), SwarmError>>>,
}

impl Honest {
    /// Connects so many clients, and waits until all are subscribed.
    ///
    /// # Errors
    /// When one is refused or lost.
    pub fn connect(address: SocketAddr, clients: usize) -> Result<Self> {
        let options = SwarmOptions {
            connections: clients,
            protocol: Some("wsgateway.v1".to_owned()),
            commands: Box::new(|number| vec![subscribe(&[TICK, &group(number)])]),
            number_field: Some("n".to_owned()),
            latency: Some(Latency { field: "t".to_owned(), unit: Unit::Nanoseconds }),
            ..SwarmOptions::default()
        };
        let mut swarm = Swarm::connect(address, options)?;
        swarm.run_until_subscribed(SOON)?;
        let (orders, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || drive(&mut swarm, &receiver));
        Ok(Self { clients, orders: Some(orders), thread: Some(thread) })
    }

    /// Forgets the latency so far.
    ///
    /// # Errors
    /// When the thread has failed.
    pub fn begin(&mut self) -> Result<()> {
        self.order(Order::Begin)
    }

    /// What has been seen so far.
    ///
    /// # Errors
    /// When the thread has failed.
    pub fn seen(&mut self) -> Result<Seen> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.order(Order::Report(sender))?;
        receiver.recv().context("the honest clients have failed")
    }

    /// Messages that all clients together are owed after so many ticks.
    pub fn owed(&self, ticks: u64) -> u64 {
        let members = |group: usize| (0..self.clients).filter(|n| n % GROUPS == group).count();
        let to_groups: u64 = (0..GROUPS)
            .map(|group| {
                let published = (0..ticks).filter(|tick| group_of_tick(*tick) == group).count();
                (published * members(group)) as u64
            })
            .sum();
        ticks * self.clients as u64 + to_groups
    }

    fn order(&mut self, order: Order) -> Result<()> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if sent {
            return Ok(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        Err(anyhow!("the honest clients have failed: {ended:?}"))
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been printed already.
            drop(thread.join());
        }
    }
}

fn drive(swarm: &mut Swarm, orders: &Receiver<Order>) -> Result<(), SwarmError> {
    loop {
        swarm.run_for(TURN)?;
        match orders.try_recv() {
            Ok(Order::Begin) => swarm.reset_latency(),
            // An error means that nobody wants to know any more.
            Ok(Order::Report(sender)) => drop(sender.send(seen(swarm))),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

fn seen(swarm: &Swarm) -> Seen {
    let us = |ns: u64| ns / 1_000;
    let delay = swarm.latency().map_or(Delay::default(), |latency| Delay {
        p50_us: us(latency.value_at_quantile(0.5)),
        p99_us: us(latency.value_at_quantile(0.99)),
        max_us: us(latency.max()),
    });
    Seen { delay, counters: swarm.counters().clone() }
}
