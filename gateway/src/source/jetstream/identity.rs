//! Which stream this is: its epoch for clients, through everything that may happen to a stream.
//!
//! Whoever manages a stream writes its epoch into its metadata; otherwise it is made of the time of its creation, which
//! nats-server may change when a stream is edited between two restarts. So where the server names another life than
//! before, the old epoch stays as long as the message at our position is the same one. A stream that lost its tail gets
//! an epoch of its own: its numbers come again with other messages.

use std::sync::{Arc, Mutex, PoisonError};

use crate::source::position::Cursor;

/// The stream's life as the server names it and as clients know it; shared with those who look up older messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(Arc<Mutex<Option<Named>>>);

#[derive(Clone, Debug)]
struct Named {
    /// By its metadata or its time of creation.
    server: String,
    /// For clients.
    epoch: Arc<str>,
}

impl Life {
    /// The epoch of the stream that the server calls so; `None` when that is not the one that is read.
    pub(super) fn epoch_of(&self, server: &str) -> Option<Arc<str>> {
        self.get().filter(|named| named.server == server).map(|named| named.epoch)
    }

    fn get(&self) -> Option<Named> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, server: String, epoch: Arc<str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Named { server, epoch });
    }
}

/// What a stream is taken for before its messages are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    /// By its metadata or its time of creation.
    pub server: String,
    /// For clients.
    pub epoch: Arc<str>,
}

/// Owner of the epoch.
#[derive(Debug)]
pub(super) struct Identity {
    life: Life,
    /// A life that turned out to be another stream's.
    foreign: Option<String>,
    /// How often the same tail was lost again.
    restored: u64,
}

impl Identity {
    pub(super) fn new(life: Life) -> Self {
        Self { life, foreign: None, restored: 0 }
    }

    /// Takes a stream for the one that is known if the server says so, or if `comparable`: the message at our position
    /// is there, and will be compared.
    pub(super) fn guess(&self, server: String, comparable: bool) -> Guess {
        let epoch = match self.life.get() {
            Some(known) if known.server == server => known.epoch,
            Some(known) if comparable && self.foreign.as_ref() != Some(&server) => known.epoch,
            _ => server.as_str().into(),
        };
        Guess { server, epoch }
    }

    /// The guess was right, or there is nothing that contradicts it.
    pub(super) fn confirm(&mut self, guess: &Guess) {
        self.foreign = None;
        self.life.set(guess.server.clone(), Arc::clone(&guess.epoch));
    }

    /// The message at our position is another one: another stream if the server calls it something else, otherwise the
    /// same one without its tail.
    pub(super) fn refute(&mut self, guess: &Guess, cursor: Option<&Cursor>, last: u64) {
        match self.life.get() {
            Some(known) if known.server != guess.server => {
                self.foreign = Some(guess.server.clone());
            }
            _ => drop(self.rename(guess, cursor, last)),
        }
    }

    /// Gives a stream that lost its tail behind `last` another epoch. For a client this is another stream.
    pub(super) fn rename(&mut self, guess: &Guess, cursor: Option<&Cursor>, last: u64) -> Arc<str> {
        tracing::error!(
            last,
            "the stream lost its tail: its numbers come again, so clients start anew"
        );
        let base = guess.epoch.split('-').next().unwrap_or_default();
        let mut epoch: Arc<str> = format!("{base}-{last}").into();
        if cursor.is_some_and(|cursor| cursor.epoch == epoch) {
            // Restored from the same copy once more.
            self.restored += 1;
            epoch = format!("{base}-{last}-{}", self.restored).into();
        }
        self.life.set(guess.server.clone(), Arc::clone(&epoch));
        epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Identity {
        let mut identity = Identity::new(Life::default());
        let guess = identity.guess("old".to_owned(), false);
        identity.confirm(&guess);
        identity
    }

    #[test]
    fn an_epoch_stays_when_the_server_names_another_life_and_the_messages_are_the_same() {
        let mut identity = known();
        let guess = identity.guess("new".to_owned(), true);
        assert_eq!(&*guess.epoch, "old");
        identity.confirm(&guess);
        assert_eq!(identity.life.epoch_of("new").as_deref(), Some("old"));
        assert_eq!(identity.life.epoch_of("old"), None);
        assert_eq!(&*identity.guess("new".to_owned(), false).epoch, "old", "from now on");
    }

    #[test]
    fn another_stream_is_another_epoch_if_its_messages_are_others_or_cannot_be_compared() {
        let mut identity = known();
        assert_eq!(&*identity.guess("new".to_owned(), false).epoch, "new");
        let guess = identity.guess("new".to_owned(), true);
        identity.refute(&guess, None, 7);
        assert_eq!(&*identity.guess("new".to_owned(), true).epoch, "new");
    }

    #[test]
    fn the_same_stream_without_its_tail_is_another_epoch_each_time() {
        let mut identity = known();
        let guess = identity.guess("old".to_owned(), true);
        identity.refute(&guess, None, 7);
        let guess = identity.guess("old".to_owned(), true);
        assert_eq!(&*guess.epoch, "old-7");
        let cursor = Cursor { epoch: Arc::clone(&guess.epoch), position: 9, stored: None };
        identity.refute(&guess, Some(&cursor), 7);
        assert_eq!(&*identity.guess("old".to_owned(), true).epoch, "old-7-1");
    }
}
