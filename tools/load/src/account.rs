//! What one client has received, by sequence numbers: lost, twice, out of order (pure).
//!
//! Numbers of a channel rise by one. A number that is left out is lost until it comes late. Sixteen bytes a channel and
//! client; both holes and channels are bounded, whatever a server sends.

/// Holes that are remembered to tell a late message from a repeated one, and late messages; beyond it the oldest is forgotten.
const MOST_HOLES: usize = 64;

/// Channels of one client, where a server chooses their names.
const MOST_CHANNELS: usize = 4_096;

/// What happened to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Did not come. A message that comes late after all takes back what it was counted for.
    pub lost: i64,
    /// Came again.
    pub twice: u64,
    /// Came after later ones.
    pub late: u64,
}

/// The account of one client.
#[derive(Clone, Debug, Default)]
pub struct Account {
    channels: Vec<Channel>,
    holes: Vec<Hole>,
    late: Vec<(u32, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    channel: u32,
    /// Whether a message came; without, `last` is what is not expected any more.
    seen: bool,
    last: u64,
}

/// Numbers that did not come, both ends included.
#[derive(Clone, Copy, Debug)]
struct Hole {
    channel: u32,
    from: u64,
    to: u64,
}

impl Account {
    /// The client is subscribed: what comes after `last` must reach it. A channel that is known already goes on.
    pub fn expect(&mut self, channel: u32, last: u64) {
        if let Err(at) = self.find(channel) {
            self.channels.insert(at, Channel { channel, seen: false, last });
        }
    }

    /// Begins anew, as where a sequence is one of the connection.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Enters a message.
    pub fn message(&mut self, channel: u32, number: u64, sums: &mut Sums) {
        let known = match self.find(channel) {
            Ok(at) => self.channels.get_mut(at),
            Err(at) => {
                if self.channels.len() < MOST_CHANNELS {
                    self.channels.insert(at, Channel { channel, seen: true, last: number });
                }
                return;
            }
        };
        let Some(known) = known else { return };
        let last = known.last;
        if number > last {
            (known.last, known.seen) = (number, true);
            if number > last + 1 {
                let lost = i64::try_from(number - last - 1).unwrap_or(i64::MAX);
                sums.lost = sums.lost.saturating_add(lost);
                self.hole(Hole { channel, from: last + 1, to: number - 1 });
            }
        } else if !known.seen {
            // On its way when the subscription was acknowledged.
            (known.last, known.seen) = (number, true);
        } else if self.fill(channel, number) {
            sums.lost -= 1;
            sums.late += 1;
            if self.late.len() >= MOST_HOLES {
                self.late.remove(0);
            }
            self.late.push((channel, number));
        } else {
            sums.twice += 1;
        }
    }

    /// Messages that are missing at the end, when so many were published on each channel.
    pub fn missing(&self, published: impl Fn(u32) -> u64) -> u64 {
        let missing = |channel: &Channel| published(channel.channel).saturating_sub(channel.last);
        self.channels.iter().map(missing).fold(0, u64::saturating_add)
    }

    /// What of `lost` and `late` is about messages that the stream never confirmed, by how many of those a channel has between
    /// two numbers, both included.
    pub fn excused(&self, unstored: impl Fn(u32, u64, u64) -> u64) -> Sums {
        let lost = self.holes.iter().map(|hole| unstored(hole.channel, hole.from, hole.to));
        let lost: u64 = lost.sum();
        let late = self.late.iter().map(|(channel, number)| unstored(*channel, *number, *number));
        Sums { lost: i64::try_from(lost).unwrap_or(i64::MAX), twice: 0, late: late.sum() }
    }

    /// Those among the messages that are [`missing`](Self::missing).
    pub fn missing_unstored(
        &self,
        published: impl Fn(u32) -> u64,
        unstored: impl Fn(u32, u64, u64) -> u64,
    ) -> u64 {
        let missing = |Channel { channel, last, .. }: &Channel| match published(*channel) {
            published if published > *last => unstored(*channel, last + 1, published),
            _ => 0,
        };
        self.channels.iter().map(missing).fold(0, u64::saturating_add)
    }

    fn find(&self, channel: u32) -> Result<usize, usize> {
        self.channels.binary_search_by_key(&channel, |known| known.channel)
    }

    fn hole(&mut self, hole: Hole) {
        if self.holes.len() >= MOST_HOLES {
            self.holes.remove(0);
        }
        self.holes.push(hole);
    }

    fn fill(&mut self, channel: u32, number: u64) -> bool {
        let within =
            |hole: &Hole| hole.channel == channel && hole.from <= number && number <= hole.to;
        let Some(at) = self.holes.iter().position(within) else { return false };
        let hole = self.holes.swap_remove(at);
        if hole.from < number {
            self.hole(Hole { to: number - 1, ..hole });
        }
        if number < hole.to {
            self.hole(Hole { from: number + 1, ..hole });
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(account: &mut Account, numbers: &[u64]) -> (i64, u64, u64) {
        let mut sums = Sums::default();
        numbers.iter().for_each(|number| account.message(1, *number, &mut sums));
        (sums.lost, sums.twice, sums.late)
    }

    #[test]
    fn what_comes_in_order_is_neither_lost_nor_twice() {
        assert_eq!(sums(&mut Account::default(), &[5, 6, 7]), (0, 0, 0));
    }

    #[test]
    fn what_is_left_out_is_lost_until_it_comes_late() {
        assert_eq!(sums(&mut Account::default(), &[1, 5]), (3, 0, 0));
        assert_eq!(sums(&mut Account::default(), &[1, 5, 3]), (2, 0, 1));
        assert_eq!(sums(&mut Account::default(), &[1, 5, 3, 2, 4]), (0, 0, 3));
    }

    #[test]
    fn what_comes_again_is_twice_even_in_a_hole() {
        assert_eq!(sums(&mut Account::default(), &[1, 2, 2, 1]), (0, 2, 0));
        assert_eq!(sums(&mut Account::default(), &[1, 5, 3, 3]), (2, 1, 1));
    }

    #[test]
    fn a_subscription_says_from_where_on_all_must_come() {
        let mut account = Account::default();
        account.expect(1, 10);
        assert_eq!(account.clone().missing(|_| 12), 2);
        assert_eq!(sums(&mut account.clone(), &[9, 10, 11]), (0, 0, 0));
        assert_eq!(sums(&mut account.clone(), &[13]), (2, 0, 0));
        // A second acknowledgement, of a client that came back, excuses nothing.
        sums(&mut account, &[11]);
        account.expect(1, 20);
        assert_eq!(account.missing(|_| 15), 4);
    }

    #[test]
    fn what_was_never_confirmed_is_neither_lost_nor_missing_nor_late() {
        let (mut account, mut sums) = (Account::default(), Sums::default());
        [1, 5, 3, 6].into_iter().for_each(|number| account.message(1, number, &mut sums));
        assert_eq!((sums.lost, sums.late), (2, 1));
        let even = |_: u32, from: u64, to: u64| {
            (from..=to).filter(|number| number % 2 == 0).count() as u64
        };
        assert_eq!(account.excused(even), Sums { lost: 2, twice: 0, late: 0 });
        let three = |_: u32, from: u64, to: u64| u64::from((from..=to).contains(&3));
        assert_eq!(account.excused(three), Sums { lost: 0, twice: 0, late: 1 });
        assert_eq!(account.missing_unstored(|_| 10, even), 2);
        assert_eq!(account.missing_unstored(|_| 6, even), 0);
        assert_eq!(account.missing_unstored(|_| 0, even), 0);
    }

    #[test]
    fn a_server_that_makes_up_channels_and_holes_does_not_grow_the_account() {
        let (mut account, mut sums) = (Account::default(), Sums::default());
        for number in 0..20_000 {
            account.message(number, u64::from(number), &mut sums);
            account.message(0, u64::from(number) * 3 + 10, &mut sums);
        }
        account.message(0, u64::MAX, &mut sums);
        assert!(account.channels.len() <= MOST_CHANNELS && account.holes.len() <= MOST_HOLES);
    }
}
