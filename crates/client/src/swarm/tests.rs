use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::mpsc;
use std::time::SystemTime;

use wsgateway_proto::{frame, v1};

use super::*;
use crate::Received;
use crate::testing::{LONG, Peer, serve};

mod again;
mod visits;
mod wire;

const MANY: usize = 40;

fn swarm(addr: SocketAddr, connections: usize) -> Swarm {
    let commands = every([subscribe(&["a"])]);
    let options = SwarmOptions { connections, commands, ..SwarmOptions::default() };
    Swarm::connect(addr, options).unwrap()
}

/// A server that acknowledges at offset 0, says what the test wants, and waits for the end.
fn serving(say: impl Fn(usize, &mut Peer) + Send + Sync + Clone + 'static) -> SocketAddr {
    serve(move |number, mut peer| {
        peer.upgrade();
        peer.acknowledge(0);
        say(number, &mut peer);
        peer.until_end();
    })
}

#[test]
fn every_connection_gets_every_message_once_and_in_order() {
    let addr = serving(|_, peer| {
        for offset in 1..=10 {
            peer.message("a", offset, offset - 1, &format!("{{\"n\":{}}}", offset + 6));
        }
    });
    let options = SwarmOptions {
        connections: MANY,
        commands: every([subscribe(&["a"])]),
        in_flight: 4,
        number_field: Some("n".into()),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    let wanted = MANY as u64 * 10;
    let reached = |c: &Counters| {
        assert!(c.connecting <= 4, "the bound of handshakes holds: {c}");
        c.messages == wanted
    };
    swarm.run_until(reached, LONG).unwrap();
    let counters = swarm.counters();
    assert!(counters.is_faultless(), "{counters}");
    assert_eq!((counters.opened, counters.connected, counters.acks), (40, 40, 40));
    assert!(swarm.tallies().all(|tally| tally.messages == 10 && tally.state == State::Open));
}

#[test]
fn every_fault_of_a_server_is_counted() {
    let addr = serving(|_, peer| {
        peer.message("a", 1, 0, "{\"n\":1}");
        peer.message("a", 1, 0, "{\"n\":1}");
        peer.message("a", 4, 3, "{\"n\":4}");
        peer.message("a", 3, 1, "{\"n\":3}");
        peer.message("a", 5, 1, "{\"n\":5}");
        peer.message("b", 9, 6, "{\"n\":1}");
        peer.frame(Opcode::Text, b"{\"type\":\"message\",\"channel\":7}");
        peer.push(|out| v1::gap(out, "a", 6, 7, "slow_consumer"));
        peer.push(|out| v1::error(out, None, "code", "text"));
        peer.push(|out| v1::pong(out, None, 1, 0));
        peer.raw(b"\xFF\xFF");
    });
    let options = SwarmOptions {
        commands: every([subscribe(&["a"])]),
        number_field: Some("n".into()),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    swarm.run_until(|c| c.violations == 1, LONG).unwrap();
    let want = Counters {
        opened: 1,
        acks: 1,
        messages: 6,
        duplicates: 1,
        gaps: 2,
        number_gaps: 1,
        out_of_order: 1,
        inconsistent: 1,
        malformed: 1,
        admitted_gaps: 1,
        errors: 1,
        error_codes: [("code".to_owned(), 1)].into(),
        other: 1,
        violations: 1,
        closes: BTreeMap::from([(1002, 1)]),
        bytes: swarm.counters().bytes,
        ..Counters::default()
    };
    assert_eq!(*swarm.counters(), want);
    assert!(!want.is_faultless());
}

#[test]
fn refusals_and_failures_are_told_apart() {
    let addr = serve(|number, mut peer| {
        peer.request();
        match number % 3 {
            0 => peer.raw(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n"),
            1 => peer.raw(b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n"),
            _ => {}
        }
    });
    let mut refused = swarm(addr, 30);
    refused.run_until(|c| c.refused_in_all() + c.failed == 30, LONG).unwrap();
    assert_eq!(refused.counters().refused, BTreeMap::from([(429, 10), (503, 10)]));
    assert_eq!((refused.counters().failed, refused.counters().connecting), (10, 0));
    assert_eq!(refused.tallies().filter(|tally| tally.refused == Some(503)).count(), 10);

    let error = swarm(addr, 3).run_until_subscribed(LONG).unwrap_err();
    assert!(matches!(error, SwarmError::Lost { .. }), "{error}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut failed = swarm(nobody, 3);
    failed.run_until(|c| c.failed == 3, LONG).unwrap();
    assert!(failed.last_error().is_some());
}

#[test]
fn ends_are_counted_by_code_and_advice_is_kept() {
    let addr = serving(|number, peer| match number % 4 {
        0 => {
            peer.push(|out| v1::reconnect(out, 250, "drain"));
            peer.push(|out| frame::close(out, 1012, "drain"));
            assert_eq!(peer.next(), Received::Close(1012, String::new()), "an answer");
        }
        1 => peer.frame(Opcode::Close, b""),
        2 => peer.push(|out| frame::close(out, 4008, "slow consumer")),
        _ => peer.stream.shutdown(std::net::Shutdown::Both).unwrap(),
    });
    let mut swarm = swarm(addr, 8);
    swarm.run_until(|c| c.closed() == 8, LONG).unwrap();
    let want = BTreeMap::from([(1005, 2), (1006, 2), (1012, 2), (4008, 2)]);
    assert_eq!(swarm.counters().closes, want);
    assert_eq!((swarm.counters().connected, swarm.counters().reconnects), (0, 2));
    let advised = swarm.tallies().filter(|t| t.close_code == Some(1012));
    assert!(advised.map(|tally| tally.reconnect_after_ms).eq([Some(250); 2]));
}

#[test]
fn pings_are_answered_unless_that_is_switched_off() {
    for answer_pings in [true, false] {
        let addr = serving(|_, peer| {
            peer.frame(Opcode::Ping, b"1");
            let got = peer.next() == Received::Pong(b"1".into());
            peer.push(|out| frame::close(out, if got { 4000 } else { 4011 }, ""));
        });
        let commands = every([subscribe(&["a"])]);
        let options = SwarmOptions { answer_pings, commands, ..SwarmOptions::default() };
        let mut swarm = Swarm::connect(addr, options).unwrap();
        swarm.run_until(|c| c.pings == 1, LONG).unwrap();
        if !answer_pings {
            swarm.send(0, "instead").unwrap();
        }
        let code = if answer_pings { 4000 } else { 4011 };
        swarm.run_until(|c| c.closes.contains_key(&code), LONG).unwrap();
    }
}

#[test]
fn closing_from_this_side_waits_for_the_answers() {
    let addr = serving(|_, peer| {
        let Received::Close(code, _) = peer.next() else { panic!("no close") };
        peer.push(|out| frame::close(out, code, ""));
    });
    let mut swarm = swarm(addr, 3);
    swarm.run_until_subscribed(LONG).unwrap();
    swarm.close_all(1000);
    swarm.run_until(|c| c.closes == BTreeMap::from([(1000, 3)]), LONG).unwrap();
}

#[test]
fn commands_after_the_first_reach_every_open_connection() {
    let addr = serving(|_, peer| peer.acknowledge(5));
    let mut swarm = swarm(addr, 3);
    swarm.run_until_subscribed(LONG).unwrap();
    swarm.send_all(&subscribe(&["b"])).unwrap();
    swarm.run_until(|c| c.acks == 6, LONG).unwrap();
    assert!(matches!(swarm.send(7, "x"), Err(SwarmError::NotOpen(7))));
}

#[test]
fn a_paused_connection_reads_nothing_until_it_is_resumed() {
    let addr = serving(|_, peer| {
        let Received::Text(_) = peer.next() else { panic!("no start") };
        for offset in 1..=1_000 {
            peer.message("a", offset, offset - 1, "0");
        }
    });
    let mut swarm = swarm(addr, 2);
    swarm.run_until_subscribed(LONG).unwrap();
    swarm.pause(0).unwrap();
    swarm.send_all("go").unwrap();
    swarm.run_until(|c| c.messages == 1_000, LONG).unwrap();
    assert_eq!(swarm.tallies().map(|tally| tally.messages).collect::<Vec<_>>(), [0, 1_000]);
    swarm.resume(0).unwrap();
    swarm.run_until(|c| c.messages == 2_000, LONG).unwrap();
    assert!(swarm.counters().is_faultless());
}

#[test]
fn latency_is_the_time_from_the_payloads_stamp_to_the_read() {
    let addr = serving(|_, peer| {
        let ago = SystemTime::now() - Duration::from_secs(5);
        let ago = ago.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        peer.message("a", 1, 0, &format!("{{\"t\":{}}}", ago.as_micros()));
        peer.message("a", 2, 1, "{}");
    });
    let options = SwarmOptions {
        commands: every([subscribe(&["a"])]),
        latency: Some(Latency { field: "t".into(), unit: Unit::Microseconds }),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    swarm.run_until(|c| c.messages == 2, LONG).unwrap();
    let latency = swarm.latency().unwrap();
    assert_eq!(latency.len(), 1, "only what has a stamp");
    assert!(latency.min() >= 4_990_000_000, "{} ns", latency.min());
}

#[test]
fn connections_come_from_the_given_addresses_in_turn() {
    let (sent, seen) = mpsc::channel();
    let addr = serve(move |_, mut peer| {
        sent.send(peer.stream.peer_addr().unwrap().ip()).unwrap();
        peer.upgrade();
        peer.until_end();
    });
    let sources = loopback_sources(2 * PER_SOURCE);
    let options = SwarmOptions { connections: 6, sources: sources.clone(), ..Default::default() };
    let mut swarm = Swarm::connect(addr, options).unwrap();
    swarm.run_until(|c| c.opened == 6, LONG).unwrap();
    let got: BTreeSet<IpAddr> = seen.try_iter().collect();
    assert_eq!(got, sources.into_iter().collect());
    assert_eq!(got.len(), 2);
}

#[test]
fn a_condition_that_does_not_come_true_says_what_was_reached() {
    let mut swarm = swarm(serving(|_, _| {}), 2);
    swarm.run_until_subscribed(LONG).unwrap();
    let error = swarm.run_until(|c| c.messages == 1, Duration::from_millis(10)).unwrap_err();
    assert!(error.to_string().contains("2 connected, 0 messages"), "{error}");
}

#[test]
fn an_idle_connection_is_small_and_owns_no_buffer() {
    assert!(size_of::<Connection>() <= 256, "{} bytes", size_of::<Connection>());
    let mut swarm = swarm(serving(|_, _| {}), 2);
    swarm.run_until_subscribed(LONG).unwrap();
    assert!(swarm.connections.iter().all(Connection::owns_no_buffer));
}
