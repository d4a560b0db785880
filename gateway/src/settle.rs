//! A reading counts once two looks in a row have shown it: whoever writes a file may be half through, and half of a
//! configuration, a secret or a pair of files can look like a whole one.

/// What was read of something that others write.
#[derive(Debug)]
pub(crate) struct Settle<T> {
    /// What counted last.
    last: Option<T>,
    /// Something else, seen once.
    seen: Option<T>,
}

impl<T> Settle<T> {
    /// Nothing was read yet.
    pub(crate) fn new() -> Self {
        Self { last: None, seen: None }
    }

    /// This was read, and counts.
    pub(crate) fn of(read: T) -> Self {
        Self { last: Some(read), seen: None }
    }

    /// Whether nothing has counted yet.
    pub(crate) fn is_new(&self) -> bool {
        self.last.is_none()
    }

    /// Counts at once.
    pub(crate) fn set(&mut self, read: T) -> &T {
        self.seen = None;
        self.last.insert(read)
    }
}

impl<T: PartialEq> Settle<T> {
    /// One look: what was read, if it is something new and the look before has shown the same.
    pub(crate) fn look(&mut self, read: T) -> Option<&T> {
        if self.last.as_ref() == Some(&read) {
            self.seen = None;
            return None;
        }
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return None;
        }
        Some(self.set(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_was_read_before_the_first_reading_waits_for_a_second_look_too() {
        let mut settle = Settle::new();
        assert!(settle.is_new() && settle.look(1).is_none() && settle.is_new());
        assert_eq!(settle.look(1), Some(&1));
        assert!(!settle.is_new() && settle.look(1).is_none());
        // What was seen before something else counted has to be seen twice again.
        assert!(settle.look(2).is_none());
        assert_eq!(settle.set(3), &3);
        assert!(settle.look(3).is_none() && settle.look(2).is_none());
        assert_eq!(settle.look(2), Some(&2));
    }
}
