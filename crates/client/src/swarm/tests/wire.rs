//! Compression, batches, and wires other than `wsgateway.v1`.

use wsgateway_proto::deflate::{self, Deflater};

use super::*;

/// A server that agrees to compress, acknowledges at 0 and says what the test wants.
fn compressing(say: impl Fn(&mut Peer) + Send + Sync + Clone + 'static) -> SocketAddr {
    serve(move |_, mut peer| {
        let key = peer.request()["sec-websocket-key"].to_str().unwrap().to_owned();
        let accept = wsgateway_proto::handshake::accept_key(&key);
        let head = format!(
            "HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: {}\r\n\r\n",
            deflate::RESPONSE
        );
        peer.raw(head.as_bytes());
        peer.acknowledge(0);
        say(&mut peer);
        peer.until_end();
    })
}

fn message(offset: u64) -> Vec<u8> {
    let filler = "a payload that compresses well, well, well, well";
    let payload = format!("{{\"n\":{offset},\"text\":\"{filler}\"}}");
    let payload = payload.as_bytes();
    let frame = v1::message(&v1::Message {
        channel: "a",
        offset,
        prev: offset - 1,
        ts: 0,
        payload,
        deleted: None,
    });
    frame::payload(&frame).to_vec()
}

fn batch(offsets: impl Iterator<Item = u64>) -> Vec<u8> {
    let bodies: Vec<Vec<u8>> = offsets.map(message).collect();
    let mut frame = Vec::new();
    v1::batch(&mut frame, bodies.iter().map(Vec::as_slice));
    frame
}

#[test]
fn compressed_messages_and_batches_are_counted_as_their_messages() {
    let addr = compressing(|peer| {
        let mut deflater = Deflater::new();
        let single = message(1);
        peer.push(|out| assert!(deflater.message(&single, out), "it pays"));
        let several = batch(2..=9);
        peer.push(|out| assert!(deflater.message(frame::payload(&several), out), "it pays"));
        peer.raw(&batch(10..=11));
    });
    let options = SwarmOptions {
        commands: every([subscribe_batched(&["a"])]),
        deflate: true,
        number_field: Some("n".into()),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    swarm.run_until(|c| c.messages == 11, LONG).unwrap();
    let counters = swarm.counters();
    assert!(counters.is_faultless(), "{counters}");
    assert_eq!((counters.deflated, counters.batches), (2, 2));
    let plain = 11 * message(1).len() as u64;
    assert!(counters.bytes < plain, "bytes are those of the wire: {}", counters.bytes);
}

#[test]
fn compression_that_was_not_offered_is_a_violation() {
    let addr = serving(|_, peer| {
        let text = message(1);
        peer.push(|out| assert!(Deflater::new().message(&text, out)));
    });
    let mut swarm = swarm(addr, 1);
    swarm.run_until(|c| c.violations == 1, LONG).unwrap();
}

#[test]
fn a_batch_that_cannot_be_read_is_malformed() {
    let addr =
        serving(|_, peer| peer.frame(Opcode::Text, b"{\"type\":\"batch\",\"messages\":[{]}"));
    let mut swarm = swarm(addr, 1);
    swarm.run_until(|c| c.malformed == 1, LONG).unwrap();
}

/// Lines; `+` acknowledges, `?` wants an answer, anything else is data.
struct Lines;

impl Dialect for Lines {
    fn acknowledgements(&self) -> u64 {
        1
    }

    fn hear(&self, bytes: &[u8], heard: &mut Heard<'_>) -> usize {
        let mut done = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|l| l.ends_with(b"\n")) {
            done += line.len();
            match line {
                b"+\n" => heard.acknowledgement(),
                b"?\n" => heard.answer("!"),
                payload => heard.delivery(payload),
            }
        }
        done
    }
}

#[test]
fn another_wire_is_heard_across_messages_and_answered() {
    let addr = serve(|_, mut peer| {
        peer.upgrade();
        peer.frame(Opcode::Text, b"+\n");
        peer.frame(Opcode::Binary, b"?\n{\"t\":1}\n{\"t\"");
        peer.frame(Opcode::Binary, b":2}");
        assert_eq!(peer.next(), Received::Text("!".into()));
        peer.frame(Opcode::Text, b"\n");
        peer.until_end();
    });
    let options = SwarmOptions {
        connections: 2,
        dialect: Some(Box::new(Lines)),
        nap: Some(Duration::from_micros(50)),
        latency: Some(Latency { field: "t".into(), unit: Unit::Microseconds }),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    swarm.run_until_subscribed(LONG).unwrap();
    swarm.run_until(|c| c.messages == 4, LONG).unwrap();
    assert_eq!(swarm.latency().unwrap().len(), 4, "stamps are found in any payload");
    assert!(swarm.connections.iter().all(Connection::owns_no_buffer));
}
