//! Connections that come and leave when the caller says so (see [`SwarmOptions::on_call`](super::SwarmOptions::on_call)).

use std::time::Instant;

use super::connection::State;
use super::{Swarm, SwarmError};

impl Swarm {
    /// Begins a connection that is away; with `resume` it continues where it was. False, and nothing is done, while an
    /// earlier connection of this number is not over.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub fn come(&mut self, index: usize, resume: bool) -> Result<bool, SwarmError> {
        let (Some(again), Some(connection)) = (&mut self.again, self.connections.get_mut(index))
        else {
            return Ok(false);
        };
        if !again.returns(index) {
            return Ok(false);
        }
        let (now, registry) = (Instant::now(), self.poll.registry());
        again.begin((index, now), connection, resume);
        self.dialer.dial_one(index, connection, &mut self.record, registry)?;
        again.look(index, connection, &mut self.record, now);
        Ok(true)
    }

    /// Ends a connection in order; it stays away until it is called. False, and nothing is done, while it is not known
    /// whether the server takes it: then ask again.
    pub fn leave(&mut self, index: usize) -> bool {
        let (Some(again), Some(connection)) = (&mut self.again, self.connections.get_mut(index))
        else {
            return true;
        };
        match connection.tally().state {
            State::Dialing | State::Upgrading => return false,
            State::Open => connection.part(&mut self.record),
            State::Closing | State::Ended => {}
        }
        again.stay_away(index);
        self.look(index);
        true
    }
}
