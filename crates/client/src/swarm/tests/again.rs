//! Connections that come back with their cursor.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::envelope::Envelope;

pub(super) fn reconnect(resume: bool) -> Reconnect {
    let channels: Channels = Box::new(|number| vec![format!("c{number}"), "all.>".into()]);
    let first = Duration::from_millis(1);
    Reconnect { resume, first, ..Reconnect::resuming(channels) }
}

fn coming_back(addr: SocketAddr, connections: usize, reconnect: Reconnect) -> SwarmOptionsOn {
    let options =
        SwarmOptions { connections, reconnect: Some(reconnect), ..SwarmOptions::default() };
    SwarmOptionsOn(addr, options)
}

/// Options and where they go.
struct SwarmOptionsOn(SocketAddr, SwarmOptions);

impl SwarmOptionsOn {
    fn swarm(self) -> Swarm {
        Swarm::connect(self.0, self.1).unwrap()
    }

    fn heard_by(mut self, diary: &Diary) -> Self {
        self.1.observer = Some(Box::new(diary.clone()));
        self
    }
}

/// Writes down what it hears.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Diary {
    fn message(&mut self, client: usize, envelope: &Envelope<'_>) {
        self.write(format!("{client}: {} {}", envelope.channel, envelope.offset));
    }

    fn acknowledged(&mut self, client: usize, ack: &Acknowledgement) {
        self.write(format!("{client}: ack {:?} {:?}", ack.offset, ack.recovered));
    }

    fn gap(&mut self, client: usize, gap: &Gap<'_>) {
        self.write(format!("{client}: gap {} {}-{} {}", gap.channel, gap.from, gap.to, gap.reason));
    }

    fn ended(&mut self, client: usize, close_code: Option<u16>) {
        self.write(format!("{client}: ended {close_code:?}"));
    }
}

/// Greets as the pod of a stream.
fn greet(peer: &mut Peer, epoch: &str) {
    let greeting = json!({ "type": "connection:established", "epoch": epoch });
    peer.frame(Opcode::Text, greeting.to_string().as_bytes());
}

/// The subscribe command that comes next.
fn command(peer: &mut Peer) -> Value {
    let Received::Text(text) = peer.next() else { panic!("no command") };
    serde_json::from_str(&text).unwrap()
}

pub(super) fn acknowledge(peer: &mut Peer, offset: u64, recovered: Option<bool>) {
    let mut ack = json!({ "type": "subscription_ack", "id": 1, "count": 2, "offset": offset });
    if let Some(recovered) = recovered {
        ack["recovered"] = recovered.into();
    }
    peer.frame(Opcode::Text, ack.to_string().as_bytes());
}

/// A server that greets, hands every subscribe command to the test and lets it play the rest.
pub(super) fn pod(
    play: impl Fn(usize, &mut Peer, Value) + Send + Sync + Clone + 'static,
) -> (SocketAddr, mpsc::Receiver<Value>) {
    let (sent, commands) = mpsc::channel();
    let addr = serve(move |number, mut peer| {
        peer.upgrade();
        greet(&mut peer, if number < 2 { "one" } else { "two" });
        let command = command(&mut peer);
        sent.send(command.clone()).unwrap();
        play(number, &mut peer, command);
    });
    (addr, commands)
}

#[test]
fn a_cut_connection_comes_back_with_all_its_channels_and_the_one_cursor() {
    let (addr, commands) = pod(|number, peer, _| match number {
        0 => {
            acknowledge(peer, 40, None);
            peer.message("c0", 41, 0, "{}");
            peer.message("all.x", 47, 0, "{}");
        }
        // Falls silent on the cursor's own pod, before anything has come.
        1 => acknowledge(peer, 47, Some(true)),
        // The stream is another one: what the client knows is of no use.
        2 => {
            acknowledge(peer, 3, Some(false));
            peer.frame(
                Opcode::Text,
                br#"{"type":"gap","channel":"all.>","from":0,"to":3,"reason":"epoch"}"#,
            );
            peer.message("all.x", 4, 0, "{}");
        }
        _ => {
            acknowledge(peer, 4, Some(true));
            peer.message("all.x", 5, 4, "{}");
            peer.until_end();
        }
    });
    let diary = Diary::default();
    let mut swarm = coming_back(addr, 1, reconnect(true)).heard_by(&diary).swarm();
    swarm.run_until(|c| c.messages == 4, LONG).unwrap();

    let channels = json!(["c0", "all.>"]);
    let resumes: Vec<_> = commands.try_iter().collect();
    assert!(resumes.iter().all(|command| command["channels"] == channels), "{resumes:?}");
    let resumes: Vec<_> = resumes.iter().map(|command| &command["resume"]).collect();
    let one = json!({ "epoch": "one", "offset": 47 });
    // The cursor of the old stream until the new one is acknowledged.
    assert_eq!(resumes, [&Value::Null, &one, &one, &json!({ "epoch": "two", "offset": 4 })]);
    let lines = diary.lines();
    assert_eq!(
        lines,
        [
            "0: ack Some(40) None",
            "0: c0 41",
            "0: all.x 47",
            "0: ended Some(1006)",
            "0: ack Some(47) Some(true)",
            "0: ended Some(1006)",
            "0: ack Some(3) Some(false)",
            "0: gap all.> 0-3 epoch",
            "0: all.x 4",
            "0: ended Some(1006)",
            "0: ack Some(4) Some(true)",
            "0: all.x 5",
        ]
    );
    let counters = swarm.counters();
    assert_eq!((counters.opened, counters.connected, counters.gaps), (4, 1, 0), "{counters}");
}

#[test]
fn without_resume_a_connection_comes_back_as_a_new_one() {
    let (addr, commands) = pod(|number, peer, _| {
        acknowledge(peer, 40 + number as u64, None);
        if number == 1 {
            peer.until_end();
        }
    });
    let mut swarm = coming_back(addr, 1, reconnect(false)).swarm();
    swarm.run_until(|c| c.acks == 2, LONG).unwrap();
    assert!(commands.try_iter().all(|command| command["resume"].is_null()));
}

#[test]
fn advice_is_followed_and_a_refusal_is_tried_again() {
    let addr = serve(|number, mut peer| match number {
        0 => {
            peer.upgrade();
            acknowledge(&mut peer, 0, None);
            peer.push(|out| v1::reconnect(out, 300, "drain"));
            peer.push(|out| frame::close(out, 1012, "drain"));
            peer.until_end();
        }
        1 => {
            peer.request();
            peer.raw(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n");
        }
        _ => {
            peer.upgrade();
            acknowledge(&mut peer, 0, None);
            peer.until_end();
        }
    });
    let mut swarm = coming_back(addr, 1, reconnect(true)).swarm();
    swarm.run_until(|c| c.closes.contains_key(&1012), LONG).unwrap();
    let closed = Instant::now();
    swarm.run_until(|c| c.opened == 2, LONG).unwrap();
    // Loaded machines make it later, never earlier (less the time to notice the close).
    assert!(closed.elapsed() >= Duration::from_millis(250), "{:?}", closed.elapsed());
    swarm.run_until(|c| c.acks == 2, LONG).unwrap();
    assert_eq!(swarm.counters().refused, BTreeMap::from([(503, 1)]));
}

#[test]
fn a_server_that_answers_nothing_is_left_when_the_patience_has_run_out() {
    let addr = serve(|number, mut peer| match number {
        0 => {
            peer.request();
            peer.until_end();
        }
        1 => {
            peer.upgrade();
            peer.until_end();
        }
        _ => {
            peer.upgrade();
            acknowledge(&mut peer, 0, None);
            peer.until_end();
        }
    });
    let patience = Duration::from_millis(300);
    let mut swarm = coming_back(addr, 1, Reconnect { patience, ..reconnect(true) }).swarm();
    swarm.run_until(|c| c.acks == 1, LONG).unwrap();
    assert!(swarm.last_error().unwrap_or_default().contains("no answer"), "it is said");
    let counters = swarm.counters();
    assert!(counters.opened >= 2 && counters.failed >= 1, "{counters}");
}

#[test]
fn many_that_are_cut_at_once_all_come_back() {
    let (addr, commands) = pod(|number, peer, _| {
        acknowledge(peer, 0, None);
        if number >= MANY {
            peer.until_end();
        }
    });
    let mut swarm = coming_back(addr, MANY, reconnect(true)).swarm();
    let all = MANY as u64;
    swarm.run_until(|c| c.acks >= 2 * all && c.connected == all, LONG).unwrap();
    assert!(commands.try_iter().count() >= 2 * MANY);
}
