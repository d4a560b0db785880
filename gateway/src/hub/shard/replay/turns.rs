//! Turns: the jobs that can go on, one turn for each connection after the other, however many jobs it has.

use std::collections::{HashMap, VecDeque};

use super::job::JobId;

/// Jobs in the order of their turns. An id whose job is gone is passed over by the caller.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// One job of each connection.
    line: VecDeque<(u32, JobId)>,
    /// The other jobs of the connections in line.
    others: HashMap<u32, VecDeque<JobId>>,
}

impl Turns {
    /// Adds a job of a connection, which must not be there already.
    pub(super) fn push(&mut self, conn: u32, id: JobId) {
        match self.others.get_mut(&conn) {
            Some(others) => others.push_back(id),
            None => {
                self.others.insert(conn, VecDeque::new());
                self.line.push_back((conn, id));
            }
        }
    }

    /// Takes the next job; the connection's next one goes to the end of the line.
    pub(super) fn pop(&mut self) -> Option<JobId> {
        let (conn, id) = self.line.pop_front()?;
        match self.others.get_mut(&conn).and_then(VecDeque::pop_front) {
            Some(next) => self.line.push_back((conn, next)),
            None => drop(self.others.remove(&conn)),
        }
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_many_jobs_has_no_more_turns_than_one_with_a_single_job() {
        let mut turns = Turns::default();
        for (conn, id) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30)] {
            turns.push(conn, id);
        }
        let mut order = Vec::new();
        for _ in 0..9 {
            let id = turns.pop().unwrap();
            order.push(id);
            // It goes on.
            turns.push(u32::try_from(id / 10).unwrap(), id);
        }
        assert_eq!(order, [10, 20, 30, 11, 20, 30, 12, 20, 30]);
    }

    #[test]
    fn all_come_out_and_nothing_stays_behind() {
        let mut turns = Turns::default();
        for id in 0..40 {
            turns.push(u32::try_from(id % 7).unwrap(), id);
        }
        let mut all: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
        assert!(turns.is_empty() && turns.others.is_empty());
    }
}
