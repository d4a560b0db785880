use super::*;
use crate::encode::{Encoder, Message};

/// A socket that takes `room` bytes and then blocks.
struct Narrow {
    taken: Vec<u8>,
    room: usize,
}

impl Narrow {
    fn new(room: usize) -> Self {
        Self { taken: Vec::new(), room }
    }
}

impl Write for Narrow {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(self.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.taken.extend_from_slice(&buf[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Messages with offsets from 1, on the channels named.
fn deliveries(channels: &[&str]) -> Vec<Arc<Delivery>> {
    let mut encoder = Encoder::new(&wsgateway_config::Channels::default());
    let message = |(place, channel): (usize, &&str)| Message {
        subject: (*channel).into(),
        sequence: place as u64 + 1,
        timestamp: 0,
        payload: Bytes::from_static(b"1"),
    };
    channels.iter().enumerate().map(|entry| encoder.encode(&message(entry))).collect()
}

fn push_latest(outbox: &mut Outbox, deliveries: &[Arc<Delivery>]) {
    for delivery in deliveries {
        outbox.push_latest(delivery.frame.clone(), Arc::clone(delivery));
    }
}

/// What the client reads, frames told apart: `gap from..to` or the offset of a message.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut seen = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (body, behind) = rest.split_at(usize::from(*length));
        let json: serde_json::Value = serde_json::from_slice(body).unwrap();
        seen.push(match json["type"].as_str() {
            Some("gap") => format!("gap {} {}..{}", json["channel"], json["from"], json["to"]),
            _ => json["offset"].to_string(),
        });
        bytes = behind;
    }
    seen
}

fn drained(mut outbox: Outbox) -> Vec<String> {
    let mut socket = Narrow::new(usize::MAX);
    outbox.write_to(&mut socket).unwrap();
    assert_eq!((outbox.bytes(), outbox.frames()), (0, 0));
    read(&socket.taken)
}

#[test]
fn a_waiting_frame_costs_little_beside_its_bytes() {
    assert!(size_of::<Entry>() <= 64, "{} bytes", size_of::<Entry>());
}

#[test]
fn frames_leave_in_order_however_narrow_the_socket_is() {
    let mut outbox = Outbox::default();
    outbox.push_rest(Bytes::from_static(b"bc"));
    outbox.push(Bytes::from_static(b"defg"));
    outbox.push(Bytes::from_static(b"h"));
    let mut socket = Narrow::new(0);
    while outbox.bytes() > 0 {
        socket.room = 1;
        outbox.write_to(&mut socket).unwrap();
    }
    assert_eq!(socket.taken, b"bcdefgh");
}

#[test]
fn a_frame_that_was_begun_is_kept_and_the_rest_given_back() {
    let mut outbox = Outbox::default();
    outbox.push(Bytes::from_static(b"abc"));
    outbox.push(Bytes::from_static(b"defg"));
    outbox.write_to(&mut Narrow::new(1)).unwrap();
    assert_eq!(outbox.keep_started(), 4);
    assert_eq!(outbox.bytes(), 2);
}

#[test]
fn nothing_begun_means_nothing_kept() {
    let mut outbox = Outbox::default();
    outbox.push(Bytes::from_static(b"abc"));
    outbox.write_to(&mut Narrow::new(3)).unwrap();
    outbox.push(Bytes::from_static(b"de"));
    assert_eq!(outbox.keep_started(), 2);
}

#[test]
fn conflation_keeps_the_newest_of_each_channel_in_order_and_tells_what_is_gone() {
    let all = deliveries(&["a", "b", "a", "c", "a", "b"]);
    let mut outbox = Outbox::default();
    push_latest(&mut outbox, &all);
    assert_eq!(outbox.conflate(), 3);
    assert_eq!(drained(outbox), ["4", "gap \"a\" 1..3", "5", "gap \"b\" 2..2", "6"]);
}

#[test]
fn ranges_of_several_conflations_grow_into_one() {
    let all = deliveries(&["a", "a", "a", "a", "a"]);
    let mut outbox = Outbox::default();
    push_latest(&mut outbox, &all[..2]);
    assert_eq!(outbox.conflate(), 1);
    push_latest(&mut outbox, &all[2..3]);
    assert_eq!(outbox.conflate(), 1);
    push_latest(&mut outbox, &all[3..]);
    assert_eq!(outbox.conflate(), 2);
    assert_eq!(drained(outbox), ["gap \"a\" 1..4", "5"]);
}

#[test]
fn messages_of_other_channels_are_never_dropped() {
    let all = deliveries(&["a", "every", "a", "every"]);
    let mut outbox = Outbox::default();
    for delivery in &all {
        match &*delivery.channel {
            "a" => push_latest(&mut outbox, std::slice::from_ref(delivery)),
            _ => outbox.push(delivery.frame.clone()),
        }
    }
    assert_eq!(outbox.conflate(), 1);
    assert_eq!(drained(outbox), ["2", "gap \"a\" 1..1", "3", "4"]);
}

#[test]
fn a_message_that_was_begun_is_finished_and_not_counted_as_gone() {
    let all = deliveries(&["a", "a", "a"]);
    let mut outbox = Outbox::default();
    push_latest(&mut outbox, &all[..1]);
    let mut socket = Narrow::new(5);
    outbox.write_to(&mut socket).unwrap();
    push_latest(&mut outbox, &all[1..]);
    assert_eq!(outbox.conflate(), 1);
    socket.room = usize::MAX;
    outbox.write_to(&mut socket).unwrap();
    assert_eq!(read(&socket.taken), ["1", "gap \"a\" 2..2", "3"]);
}

#[test]
fn a_gap_that_was_told_is_not_told_again() {
    let all = deliveries(&["a", "a", "a", "a"]);
    let mut outbox = Outbox::default();
    push_latest(&mut outbox, &all[..2]);
    outbox.conflate();
    let mut socket = Narrow::new(10);
    outbox.write_to(&mut socket).unwrap(); // the gap before 2 is on its way
    push_latest(&mut outbox, &all[2..]);
    outbox.conflate();
    socket.room = usize::MAX;
    outbox.write_to(&mut socket).unwrap();
    assert_eq!(read(&socket.taken), ["gap \"a\" 1..1", "2", "gap \"a\" 3..3", "4"]);
    assert_eq!(outbox.bytes(), 0);
}

proptest::proptest! {
    /// Whatever is pushed, conflated and written in whatever order: per channel, offsets and told gaps together are
    /// complete and ascending, and the count of bytes is right.
    #[test]
    fn nothing_is_lost_in_silence(
        steps in proptest::collection::vec((0..4usize, 0..3usize, 0..400usize), 1..60),
    ) {
        let names = ["a", "b", "c", "every"];
        let picked: Vec<&str> = steps.iter().map(|step| names[step.0]).collect();
        let all = deliveries(&picked);
        let (mut outbox, mut socket) = (Outbox::default(), Narrow::new(0));
        for (delivery, (_, action, room)) in all.iter().zip(&steps) {
            match &*delivery.channel {
                "every" => outbox.push(delivery.frame.clone()),
                _ => push_latest(&mut outbox, std::slice::from_ref(delivery)),
            }
            match action {
                0 => {}
                1 => { outbox.conflate(); }
                _ => { socket.room = *room; outbox.write_to(&mut socket).unwrap(); }
            }
            let sum: usize = outbox.frames.iter().map(|entry| entry.frame.len()).sum();
            proptest::prop_assert_eq!(outbox.bytes(), sum);
        }
        socket.room = usize::MAX;
        outbox.write_to(&mut socket).unwrap();
        let mut expected: Vec<u64> = Vec::new();
        for line in read(&socket.taken) {
            match line.strip_prefix("gap \"") {
                None => expected.push(line.parse().unwrap()),
                Some(gap) => {
                    let (channel, range) = gap.split_once("\" ").unwrap();
                    let (from, to) = range.split_once("..").unwrap();
                    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                    expected.extend((from..=to).filter(|n| picked[*n as usize - 1] == channel));
                }
            }
        }
        expected.sort_unstable();
        proptest::prop_assert_eq!(expected, (1..=all.len() as u64).collect::<Vec<_>>());
    }
}
