//! Who is at the other end of an HTTP connection, as limits see it.
//!
//! A connection is counted once, with its first request that asks for messages: a client of long-polls is not counted anew
//! with each of them, and keeps what it has between two.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::limits::{Counted, Limited, Limits};

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller {
    /// Where the connection comes from, as the socket or a proxy says.
    connection: IpAddr,
    /// Where the client of the present request is.
    client: IpAddr,
    counted: Option<Arc<Counted>>,
}

impl Caller {
    pub(super) fn new(address: IpAddr) -> Self {
        Self { connection: address, client: address, counted: None }
    }

    /// Where the connection comes from.
    pub(in crate::http) fn connection(&self) -> IpAddr {
        self.connection
    }

    /// Where the client of the present request is.
    pub(in crate::http) fn client(&self) -> IpAddr {
        self.client
    }

    /// A proxy says where the connection comes from.
    pub(in crate::http) fn come_from(&mut self, address: IpAddr) {
        (self.connection, self.client) = (address, address);
    }

    /// A request of a client at this address begins: a proxy may share a connection between several.
    pub(in crate::http) fn ask(&mut self, client: IpAddr) {
        self.client = client;
    }

    /// Counts the connection, unless it is counted to this client already.
    pub(in crate::http) fn enter(
        &mut self,
        limits: &Limits,
        now: Instant,
    ) -> Result<Option<Arc<Counted>>, Limited> {
        if !self.counted.as_ref().is_some_and(|counted| counted.is_of(self.client)) {
            // The one before is given back first: it may be the last that its address has.
            self.counted = None;
            self.counted = limits.enter(self.client, now)?;
        }
        Ok(self.counted.clone())
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Accepts;

    use super::*;

    #[test]
    fn a_connection_is_counted_once_and_anew_when_another_client_shares_it() {
        let limits = Limits::new(&Accepts { connections_per_address: 1, ..Accepts::default() });
        let (one, two, now) =
            (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]), Instant::now());
        let mut caller = Caller::new(one);
        for _ in 0..3 {
            assert!(caller.enter(&limits, now).unwrap().is_some());
        }
        assert_eq!(limits.enter(one, now).unwrap_err(), Limited::Connections);
        caller.ask(two);
        assert!(caller.enter(&limits, now).is_ok());
        assert!(limits.enter(one, now).is_ok(), "the first one's connection was given back");
        assert_eq!(limits.enter(two, now).unwrap_err(), Limited::Connections);
        drop(caller);
        assert!(limits.enter(two, now).is_ok());
    }
}
