use super::memory::{Meter, Shared};
use super::*;
use crate::encode::{Delivery, Encoder, Message};

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
    deliveries_of(channels, 1)
}

/// The same with payloads of so many characters.
fn deliveries_of(channels: &[&str], length: usize) -> Vec<Arc<Delivery>> {
    let mut encoder = Encoder::new(&wsgateway_config::Channels::default());
    let message = |(place, channel): (usize, &&str)| Message {
        subject: (*channel).into(),
        sequence: place as u64 + 1,
        timestamp: 0,
        payload: format!("\"{}\"", "x".repeat(length)).into(),
        deleted: None,
        trace: None,
    };
    channels.iter().enumerate().map(|entry| encoder.encode(&message(entry))).collect()
}

fn push_latest(outbox: &mut Outbox, deliveries: &[Arc<Delivery>]) {
    for delivery in deliveries {
        let (channel, offset) = (Arc::clone(&delivery.channel), delivery.offset);
        outbox.push_latest(delivery.frame.clone(), Latest { channel, offset }, None);
    }
}

/// What the client reads, frames told apart: `gap from..to` or the offset of a message.
fn read(mut bytes: &[u8]) -> Vec<String> {
    let mut seen = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (length, rest) = match rest.split_first_chunk() {
            Some((long, rest)) if *length == 126 => (u16::from_be_bytes(*long), rest),
            _ => (u16::from(*length), rest),
        };
        let (body, behind) = rest.split_at(usize::from(length));
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
    assert_eq!((outbox.cost(), outbox.frames()), (0, 0));
    read(&socket.taken)
}

#[test]
fn a_waiting_frame_costs_little_beside_its_bytes() {
    assert!(size_of::<Entry>() <= 88, "{} bytes", size_of::<Entry>());
}

#[test]
fn frames_leave_in_order_however_narrow_the_socket_is() {
    let mut outbox = Outbox::new(&Meter::default(), false);
    outbox.push_rest(Bytes::from_static(b"bc"));
    outbox.push(Bytes::from_static(b"defg"));
    outbox.push(Bytes::from_static(b"h"));
    let mut socket = Narrow::new(0);
    while outbox.frames() > 0 {
        socket.room = 1;
        outbox.write_to(&mut socket).unwrap();
    }
    assert_eq!(socket.taken, b"bcdefgh");
}

#[test]
fn a_frame_that_was_begun_is_kept_and_the_rest_given_back() {
    let mut outbox = Outbox::new(&Meter::default(), false);
    outbox.push(Bytes::from_static(b"abc"));
    outbox.push(Bytes::from_static(b"defg"));
    outbox.write_to(&mut Narrow::new(1)).unwrap();
    outbox.keep_started();
    assert_eq!((outbox.bytes, outbox.frames()), (2, 1));
}

#[test]
fn nothing_begun_means_nothing_kept() {
    let mut outbox = Outbox::new(&Meter::default(), false);
    outbox.push(Bytes::from_static(b"abc"));
    outbox.write_to(&mut Narrow::new(3)).unwrap();
    outbox.push(Bytes::from_static(b"de"));
    outbox.keep_started();
    assert_eq!(outbox.cost(), 0);
}

#[test]
fn conflation_keeps_the_newest_of_each_channel_in_order_and_tells_what_is_gone() {
    let all = deliveries(&["a", "b", "a", "c", "a", "b"]);
    let mut outbox = Outbox::new(&Meter::default(), false);
    push_latest(&mut outbox, &all);
    assert_eq!(outbox.conflate(Keep::Newest), 3);
    assert_eq!(drained(outbox), ["4", "gap \"a\" 1..3", "5", "gap \"b\" 2..2", "6"]);
}

#[test]
fn ranges_of_several_conflations_grow_into_one() {
    let all = deliveries(&["a", "a", "a", "a", "a"]);
    let mut outbox = Outbox::new(&Meter::default(), false);
    push_latest(&mut outbox, &all[..2]);
    assert_eq!(outbox.conflate(Keep::Newest), 1);
    push_latest(&mut outbox, &all[2..3]);
    assert_eq!(outbox.conflate(Keep::Newest), 1);
    push_latest(&mut outbox, &all[3..]);
    assert_eq!(outbox.conflate(Keep::Newest), 2);
    assert_eq!(drained(outbox), ["gap \"a\" 1..4", "5"]);
}

#[test]
fn only_what_is_handed_to_the_socket_is_beyond_conflation() {
    let channels: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    let all = deliveries(&names.repeat(3));
    let mut outbox = Outbox::new(&Meter::default(), false);
    push_latest(&mut outbox, &all[..200]);
    assert_eq!(outbox.conflate(Keep::Newest), 100);
    outbox.write_to(&mut Narrow::new(1)).unwrap();
    push_latest(&mut outbox, &all[200..]);
    // Those of the one write stay beside their successors, all others are replaced.
    assert_eq!(outbox.conflate(Keep::Newest), 100 - SLICES as u64);

    let large = |n: u64| {
        let latest = Latest { channel: format!("c{n}").into(), offset: n };
        (Bytes::from(vec![b'x'; 32 << 10]), latest)
    };
    let mut outbox = Outbox::new(&Meter::default(), false);
    for n in (0..10).chain(0..10) {
        let (frame, latest) = large(n);
        outbox.push_latest(frame, latest, None);
    }
    assert_eq!(outbox.conflate(Keep::Newest), 10);
    outbox.write_to(&mut Narrow::new(1)).unwrap();
    let settled = outbox.frames.iter().filter(|entry| entry.latest.is_none()).count();
    assert_eq!(settled, 1, "as much as one write takes, not 64 of them");
}

#[test]
fn a_busy_channel_gets_through_to_a_client_that_reads_less_than_comes() {
    let mut channels = vec!["quiet"; 30];
    channels.extend(["busy"; 300]);
    let all = deliveries_of(&channels, 8 << 10);
    let (mut outbox, mut socket) = (Outbox::new(&Meter::default(), false), Narrow::new(0));
    push_latest(&mut outbox, &all[..30]);
    for burst in all[30..].chunks(10) {
        push_latest(&mut outbox, burst);
        outbox.conflate(Keep::Survivor);
        assert!(outbox.frames() <= 7, "at most two of each, and what one write takes");
        // A tenth of what comes.
        socket.room = burst[0].frame.len();
        outbox.write_to(&mut socket).unwrap();
    }
    // To the end of the frame that was begun.
    socket.room = usize::MAX;
    outbox.write_to(&mut socket).unwrap();
    let offsets = read(&socket.taken).into_iter().filter_map(|line| line.parse().ok());
    let busy: Vec<u64> = offsets.filter(|offset| *offset > 30).collect();
    assert!(busy.len() >= 20, "{busy:?} of the busy channel");
}

#[test]
fn messages_of_other_channels_are_never_dropped() {
    let all = deliveries(&["a", "every", "a", "every"]);
    let mut outbox = Outbox::new(&Meter::default(), false);
    for delivery in &all {
        match &*delivery.channel {
            "a" => push_latest(&mut outbox, std::slice::from_ref(delivery)),
            _ => outbox.push(delivery.frame.clone()),
        }
    }
    assert_eq!(outbox.conflate(Keep::Newest), 1);
    assert_eq!(drained(outbox), ["2", "gap \"a\" 1..1", "3", "4"]);
}

#[test]
fn a_message_that_was_begun_is_finished_and_not_counted_as_gone() {
    let all = deliveries(&["a", "a", "a"]);
    let mut outbox = Outbox::new(&Meter::default(), false);
    push_latest(&mut outbox, &all[..1]);
    let mut socket = Narrow::new(5);
    outbox.write_to(&mut socket).unwrap();
    push_latest(&mut outbox, &all[1..]);
    assert_eq!(outbox.conflate(Keep::Newest), 1);
    socket.room = usize::MAX;
    outbox.write_to(&mut socket).unwrap();
    assert_eq!(read(&socket.taken), ["1", "gap \"a\" 2..2", "3"]);
}

#[test]
fn a_gap_that_was_told_is_not_told_again() {
    let all = deliveries(&["a", "a", "a", "a"]);
    let mut outbox = Outbox::new(&Meter::default(), false);
    push_latest(&mut outbox, &all[..2]);
    outbox.conflate(Keep::Newest);
    let mut socket = Narrow::new(10);
    outbox.write_to(&mut socket).unwrap(); // the gap before 2 is on its way
    push_latest(&mut outbox, &all[2..]);
    outbox.conflate(Keep::Newest);
    socket.room = usize::MAX;
    outbox.write_to(&mut socket).unwrap();
    assert_eq!(read(&socket.taken), ["gap \"a\" 1..1", "2", "gap \"a\" 3..3", "4"]);
    assert_eq!(outbox.cost(), 0);
}

proptest::proptest! {
    /// Whatever is pushed, conflated and written in whatever order: per channel, offsets and told gaps together are
    /// complete and ascending, and the count of bytes is right.
    #[test]
    fn nothing_is_lost_in_silence(
        steps in proptest::collection::vec((0..4usize, 0..4usize, 0..400usize), 1..60),
    ) {
        let names = ["a", "b", "c", "every"];
        let picked: Vec<&str> = steps.iter().map(|step| names[step.0]).collect();
        let all = deliveries(&picked);
        let (mut outbox, mut socket) = (Outbox::new(&Meter::default(), false), Narrow::new(0));
        for (delivery, (_, action, room)) in all.iter().zip(&steps) {
            match &*delivery.channel {
                "every" => outbox.push(delivery.frame.clone()),
                _ => push_latest(&mut outbox, std::slice::from_ref(delivery)),
            }
            match action {
                0 => {}
                1 => { outbox.conflate(Keep::Newest); }
                2 => { outbox.conflate(Keep::Survivor); }
                _ => { socket.room = *room; outbox.write_to(&mut socket).unwrap(); }
            }
            let sum: usize = outbox.frames.iter().map(|entry| entry.frame.len()).sum();
            proptest::prop_assert_eq!(outbox.bytes, sum);
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

#[test]
fn a_frame_that_waits_for_many_is_charged_once_until_the_last_of_them_has_it() {
    let meter = Meter::default();
    let bytes = Bytes::from(vec![b'x'; 64 << 10]);
    let frame = Frame { shared: Some(Shared::new(&meter, bytes.len())), bytes };
    let mut outboxes: Vec<_> = (0..1_000)
        .map(|_| {
            let mut outbox = Outbox::new(&meter, false);
            outbox.push(frame.clone());
            outbox
        })
        .collect();
    drop(frame);
    assert!(outboxes.iter().all(|outbox| outbox.cost() > 64 << 10), "each client waits for it all");
    assert!(meter.bytes() < 1 << 20, "{} bytes", meter.bytes());
    outboxes.truncate(1);
    assert!(meter.bytes() >= 64 << 10);
    if let Some(last) = outboxes.first_mut() {
        last.write_to(Vec::new()).unwrap();
    }
    assert!(meter.bytes() < 1 << 10, "{} bytes", meter.bytes());
    outboxes.clear();
    assert_eq!(meter.bytes(), 0);
}

#[test]
fn a_frame_of_its_own_is_charged_to_the_outbox_that_holds_it_as_far_as_it_is_not_sent() {
    let meter = Meter::default();
    let mut outbox = Outbox::new(&meter, false);
    outbox.push(Bytes::from(vec![b'x'; 64 << 10]));
    outbox.push(Bytes::from(vec![b'x'; 64 << 10]));
    assert!((128 << 10..130 << 10).contains(&meter.bytes()), "{} bytes", meter.bytes());
    outbox.keep_started();
    assert!(meter.bytes() < 2 << 10, "{} bytes", meter.bytes());
}
