//! Connections that come and leave when they are called.

use serde_json::{Value, json};

use super::again::{acknowledge, pod, reconnect};
use super::*;

fn on_call(addr: SocketAddr, connections: usize) -> Swarm {
    let options = SwarmOptions {
        connections,
        reconnect: Some(reconnect(true)),
        on_call: true,
        ..SwarmOptions::default()
    };
    Swarm::connect(addr, options).unwrap()
}

/// Answers a close frame, as servers do.
fn closes(peer: &mut Peer) {
    while !matches!(peer.next(), Received::Close(..) | Received::End) {}
    peer.frame(Opcode::Close, &1000_u16.to_be_bytes());
}

/// A server that acknowledges, says one message, and lets clients leave; with the commands that it heard.
fn server() -> (SocketAddr, mpsc::Receiver<Value>) {
    pod(|number, peer, _| {
        let offset = 10 * number as u64;
        acknowledge(peer, offset, None);
        peer.message("c0", offset + 1, 0, "{}");
        closes(peer);
    })
}

#[test]
fn nobody_comes_before_they_are_called_and_who_left_stays_away() {
    let (addr, _commands) = server();
    let mut swarm = on_call(addr, 2);
    swarm.run_for(Duration::from_millis(1)).unwrap();
    assert_eq!(swarm.counters().connecting + swarm.counters().opened, 0);
    assert!(swarm.come(1, false).unwrap());
    assert!(!swarm.come(1, false).unwrap(), "it is on its way");
    assert!(!swarm.leave(1), "nobody knows yet whether the server takes it");
    swarm.run_until(|c| c.messages == 1, LONG).unwrap();
    assert!(swarm.leave(1));
    swarm.run_until(|c| c.connected == 0, LONG).unwrap();
    // Longer than any wait before somebody comes back by themselves.
    swarm.run_for(Duration::from_millis(50)).unwrap();
    let counters = swarm.counters();
    assert_eq!((counters.opened, counters.closes.get(&1000)), (1, Some(&1)), "{counters}");
    assert!(!swarm.come(7, true).unwrap() && swarm.leave(0), "no such place, and nobody there");
}

#[test]
fn who_comes_back_continues_or_begins_anew_as_it_is_called() {
    let (addr, commands) = server();
    let mut swarm = on_call(addr, 1);
    for (visit, resume) in [(1, false), (2, true), (3, false)] {
        let comes = |swarm: &mut Swarm| swarm.come(0, resume).unwrap();
        while !comes(&mut swarm) {
            swarm.run_for(Duration::from_millis(1)).unwrap();
        }
        swarm.run_until(|c| c.messages == visit, LONG).unwrap();
        assert!(swarm.leave(0));
    }
    let resumes: Vec<Value> =
        commands.iter().take(3).map(|command| command["resume"].clone()).collect();
    assert_eq!(resumes, [Value::Null, json!({ "epoch": "one", "offset": 1 }), Value::Null]);
    assert_eq!(swarm.counters().gaps, 0);
}

#[test]
fn who_loses_the_connection_comes_back_by_itself() {
    let (addr, _commands) = pod(|number, peer, _| {
        if number == 0 {
            return;
        }
        closes(peer);
    });
    let mut swarm = on_call(addr, 1);
    assert!(swarm.come(0, false).unwrap());
    swarm.run_until(|c| c.opened == 2, LONG).unwrap();
    assert!(swarm.leave(0));
    swarm.run_until(|c| c.connected == 0, LONG).unwrap();
}
