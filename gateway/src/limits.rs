//! Limits of connections, of all clients together and of each address: how many at a time, and how many in a second.
//!
//! In: the address of a client and the time. Out: a [`Counted`], whose drop gives the connection back, or why there is none.
//! With no limit configured nothing is counted and no lock is taken. Memory: a table of fixed size while there is a rate of
//! each address ([`cells`]), and one number for each address that has connections now.

mod cells;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wsgateway_config::{AcceptRate, Accepts, Network};

use crate::peer::Peer;
use crate::rate::Limit;
use cells::Cells;

/// The limits of this process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whether anything is limited.
    is_on: AtomicBool,
    start: Instant,
    state: Mutex<State>,
}

/// Which limit a client meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// Its address has as many connections as it may.
    Connections,
    /// Its address opens them too fast; one more fits after so many ms.
    AddressRate { wait_ms: u64 },
    /// All clients together do.
    Rate { wait_ms: u64 },
}

/// A connection that was let in, until its drop.
#[derive(Debug)]
pub(crate) struct Counted {
    limits: Limits,
    peer: Peer,
    /// Whether its address has one connection more for it.
    is_held: bool,
}

/// Pure: time is a parameter.
#[derive(Debug, Default)]
struct State {
    all: Option<(Limit, u64)>,
    per_address: Option<(Limit, Cells)>,
    /// Most connections of one address; 0: any number.
    most: u32,
    /// Connections of each address that has any: at most as many entries as there are connections. Its hash is keyed at
    /// random, since strangers choose the addresses.
    held: HashMap<Peer, u32>,
    exempt: Vec<Network>,
}

impl Limits {
    pub(crate) fn new(accepts: &Accepts) -> Self {
        let shared = Shared {
            is_on: AtomicBool::new(false),
            start: Instant::now(),
            state: Mutex::default(),
        };
        let limits = Self(Arc::new(shared));
        limits.configure(accepts);
        limits
    }

    /// Has other limits from now on. Connections that came while none was counted are not counted.
    pub(crate) fn configure(&self, accepts: &Accepts) {
        let mut state = self.state();
        state.configure(accepts);
        self.0.is_on.store(state.is_on(), Ordering::Relaxed);
    }

    /// Lets a connection in, or says which limit it meets. None: nothing is limited.
    pub(crate) fn enter(
        &self,
        address: IpAddr,
        now: Instant,
    ) -> Result<Option<Arc<Counted>>, Limited> {
        if !self.0.is_on.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let now_ns = now.saturating_duration_since(self.0.start).as_nanos();
        let is_held = self.state().enter(address, u64::try_from(now_ns).unwrap_or(u64::MAX))?;
        Ok(Some(Arc::new(Counted { limits: self.clone(), peer: address.into(), is_held })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Whether it is counted to this address.
    pub(crate) fn is_of(&self, address: IpAddr) -> bool {
        self.peer == address.into()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.is_held {
            self.limits.state().leave(self.peer);
        }
    }
}

impl State {
    fn configure(&mut self, accepts: &Accepts) {
        let paid = self.all.map_or(0, |(_, paid)| paid);
        self.all = limit(accepts.all).map(|limit| (limit, paid));
        let cells = self.per_address.take().map(|(_, cells)| cells);
        self.per_address =
            limit(accepts.per_address).map(|limit| (limit, cells.unwrap_or_else(Cells::new)));
        self.most = accepts.connections_per_address;
        self.exempt.clone_from(&accepts.exempt_networks);
    }

    fn is_on(&self) -> bool {
        self.all.is_some() || self.per_address.is_some() || self.most > 0
    }

    /// Whether the address holds one connection more now. Who is refused is charged nothing.
    fn enter(&mut self, address: IpAddr, now_ns: u64) -> Result<bool, Limited> {
        let peer = Peer::from(address);
        let is_exempt = self.exempt.iter().any(|network| network.contains(address));
        let is_held = self.most > 0 && !is_exempt;
        if is_held && self.held.get(&peer).is_some_and(|held| *held >= self.most) {
            return Err(Limited::Connections);
        }
        let own = match &mut self.per_address {
            Some((limit, cells)) if !is_exempt => {
                let paid = limit.pay(cells.paid(peer), now_ns, 1);
                Some(paid.map_err(|wait| Limited::AddressRate { wait_ms: millis(wait) })?)
            }
            _ => None,
        };
        if let Some((limit, paid)) = &mut self.all {
            let next = limit.pay(*paid, now_ns, 1);
            *paid = next.map_err(|wait| Limited::Rate { wait_ms: millis(wait) })?;
        }
        if let (Some(paid), Some((_, cells))) = (own, &mut self.per_address) {
            cells.remember(peer, paid, now_ns);
        }
        if is_held {
            *self.held.entry(peer).or_default() += 1;
        }
        Ok(is_held)
    }

    fn leave(&mut self, peer: Peer) {
        if let Some(held) = self.held.get_mut(&peer) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&peer);
            }
        }
    }
}

fn limit(rate: AcceptRate) -> Option<Limit> {
    Limit::new(rate.per_second, rate.burst)
}

fn millis(ns: u64) -> u64 {
    ns.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests;
