//! What was published: the place of every acknowledged message in its stream.
//!
//! In: acknowledgements of JetStream. Out: how far each channel is, and where a message lies. Eight bytes a message,
//! kept once for all clients; the length and rate of a run bound it. Pure.

/// Where a message was stored: in which stream since the run began, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Streams that were replaced before this one.
    pub stream: u16,
    /// Sequence in it.
    pub offset: u64,
}

const OFFSET_BITS: u32 = 48;

impl Place {
    fn pack(self) -> u64 {
        (u64::from(self.stream) << OFFSET_BITS) | (self.offset & ((1 << OFFSET_BITS) - 1))
    }

    fn unpack(packed: u64) -> Self {
        Self { stream: (packed >> OFFSET_BITS) as u16, offset: packed & ((1 << OFFSET_BITS) - 1) }
    }
}

/// The publishers' record. Messages of a channel are numbered from 1.
#[derive(Debug)]
pub struct Book {
    stream: u16,
    /// The first offset that the stream still holds.
    first: u64,
    channels: Vec<Vec<u64>>,
}

impl Book {
    /// Nothing published on so many channels.
    pub fn new(channels: usize) -> Self {
        Self { stream: 0, first: 1, channels: vec![Vec::new(); channels] }
    }

    /// The stream is about to be replaced: what follows is stored in another one.
    pub fn next_stream(&mut self) {
        self.stream += 1;
        self.first = 1;
    }

    /// The stream has discarded what lies before an offset.
    pub fn discarded(&mut self, first: u64) {
        self.first = first;
    }

    /// Whether nobody can have a message any more.
    pub fn is_gone(&self, place: Place) -> bool {
        place.stream < self.stream || place.offset < self.first
    }

    /// The stream that is published to.
    pub fn stream(&self) -> u16 {
        self.stream
    }

    /// JetStream has acknowledged the next message of a channel; returns its number.
    pub fn publish(&mut self, channel: u16, offset: u64) -> u32 {
        let place = Place { stream: self.stream, offset };
        let Some(places) = self.channels.get_mut(usize::from(channel)) else { return 0 };
        places.push(place.pack());
        places.len() as u32
    }

    /// The number of the last message of a channel; 0 before the first.
    pub fn last(&self, channel: u16) -> u32 {
        self.channels.get(usize::from(channel)).map_or(0, |places| places.len() as u32)
    }

    /// Where a message is.
    pub fn place(&self, channel: u16, number: u32) -> Option<Place> {
        let places = self.channels.get(usize::from(channel))?;
        places.get(number.checked_sub(1)? as usize).copied().map(Place::unpack)
    }

    /// How far every channel is.
    pub fn mark(&self) -> Vec<u32> {
        self.channels.iter().map(|places| places.len() as u32).collect()
    }

    /// Messages in all.
    pub fn published(&self) -> u64 {
        self.channels.iter().map(|places| places.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_by_channel_number_and_stream() {
        let mut book = Book::new(2);
        assert_eq!((book.last(1), book.place(1, 0), book.place(1, 1)), (0, None, None));
        assert_eq!((book.publish(0, 1), book.publish(1, 2), book.publish(1, 3)), (1, 1, 2));
        book.next_stream();
        assert_eq!(book.publish(1, 1), 3);
        assert_eq!(book.place(1, 2), Some(Place { stream: 0, offset: 3 }));
        assert_eq!(book.place(1, 3), Some(Place { stream: 1, offset: 1 }));
        assert_eq!((book.mark(), book.published()), (vec![1, 3], 4));
        assert!(book.is_gone(Place { stream: 0, offset: 9 }));
        book.discarded(4);
        assert!(book.is_gone(Place { stream: 1, offset: 3 }));
        assert!(!book.is_gone(Place { stream: 1, offset: 4 }));
        let far = Place { stream: u16::MAX, offset: (1 << 48) - 1 };
        assert_eq!(Place::unpack(far.pack()), far);
    }
}
