//! One message, however many of our subscriptions it came through.
//!
//! Redis sends a message once for the channel and once for every pattern that matches it, back to back and without a
//! number. All subscriptions of a connection stand from its first message on, so each message comes through the same
//! ones each time: a subscription that speaks for the second time speaks of another message.

use bytes::Bytes;

/// The message that was seen last, and through which subscriptions so far (one bit each).
#[derive(Debug, Default)]
pub(super) struct Copies {
    channel: Bytes,
    payload: Bytes,
    through: u64,
}

impl Copies {
    /// Whether this is another message than the one before; `through` is the number of the subscription (0 to 63).
    pub(super) fn is_new(&mut self, channel: &Bytes, payload: &Bytes, through: usize) -> bool {
        let bit = 1 << (through % 64);
        if self.through & bit == 0
            && self.through != 0
            && self.channel == channel
            && self.payload == payload
        {
            self.through |= bit;
            return false;
        }
        *self = Self { channel: channel.clone(), payload: payload.clone(), through: bit };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of deliveries written as channel, payload, subscription.
    fn kept(deliveries: &[(&'static str, &'static str, usize)]) -> Vec<usize> {
        let mut copies = Copies::default();
        let is_new =
            |(at, (channel, payload, through)): (usize, &(&'static str, &'static str, usize))| {
                copies
                    .is_new(
                        &Bytes::from_static(channel.as_bytes()),
                        &Bytes::from_static(payload.as_bytes()),
                        *through,
                    )
                    .then_some(at)
            };
        deliveries.iter().enumerate().filter_map(is_new).collect()
    }

    #[test]
    fn copies_of_a_message_are_dropped_whatever_their_order() {
        assert_eq!(
            kept(&[("c", "1", 0), ("c", "1", 2), ("c", "1", 1), ("c", "2", 1), ("c", "2", 0)]),
            [0, 3]
        );
    }

    #[test]
    fn the_same_message_published_twice_is_two_messages() {
        assert_eq!(kept(&[("c", "1", 0), ("c", "1", 0)]), [0, 1]);
        assert_eq!(kept(&[("c", "1", 0), ("c", "1", 1), ("c", "1", 0), ("c", "1", 1)]), [0, 2]);
        assert_eq!(kept(&[("c", "1", 0), ("c", "1", 1), ("c", "1", 1), ("c", "1", 0)]), [0, 2]);
    }

    #[test]
    fn the_same_payload_on_another_channel_is_another_message() {
        assert_eq!(kept(&[("c", "1", 0), ("d", "1", 1), ("c", "1", 0)]), [0, 1, 2]);
    }
}
