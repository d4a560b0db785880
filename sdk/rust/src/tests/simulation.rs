//! The session against a gateway of a few lines, with cuts, replays and live messages in random orders.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::event::Event;
use crate::session::Session;
use crate::wire::Command;

/// A stream with one connection at a time, a session, and what came out of it. Frames come from one of the connection's
/// queues, whichever chance picks.
struct Simulation {
    seed: u64,
    chance: Rng,
    stream: Vec<String>,
    answers: VecDeque<Value>,
    live: VecDeque<Value>,
    replay: VecDeque<Value>,
    channels: HashSet<String>,
    /// The command that is catching up, and its channels.
    catching: Option<(i64, Vec<String>)>,
    session: Session,
    now: Instant,
    wanted: VecDeque<String>,
    got: HashMap<String, Vec<i64>>,
    began: HashMap<String, i64>,
}

fn offset(frame: &Value) -> Option<i64> {
    (frame["type"] == "message").then(|| frame["offset"].as_i64()).flatten()
}

impl Simulation {
    fn new(seed: u64) -> Self {
        // With names of this length, several commands are needed for a few channels.
        let name = |letter: char| format!("{letter}.{}", "x".repeat(200));
        let mut simulation = Self {
            seed,
            chance: Rng::with_seed(seed),
            stream: Vec::new(),
            answers: VecDeque::new(),
            live: VecDeque::new(),
            replay: VecDeque::new(),
            channels: HashSet::new(),
            catching: None,
            session: Session::new(None),
            now: Instant::now(),
            wanted: "abcdefgh".chars().map(name).collect(),
            got: HashMap::new(),
            began: HashMap::new(),
        };
        simulation.connect();
        simulation
    }

    fn connect(&mut self) {
        let limits = json!({ "commandBytes": 1100 });
        let greeting = json!({ "type": "connection:established", "epoch": "e", "limits": limits });
        self.answers = VecDeque::from([greeting]);
        self.live.clear();
        self.replay.clear();
        self.channels.clear();
        self.catching = None;
    }

    fn end(&self) -> i64 {
        self.stream.len() as i64
    }

    fn message(&self, offset: i64) -> Value {
        let before = &self.stream[..offset as usize - 1];
        let channel = &self.stream[offset as usize - 1];
        let prev = before.iter().rposition(|other| other == channel).map_or(0, |n| n + 1);
        json!({ "type": "message", "channel": channel, "offset": offset, "prev": prev })
    }

    fn publish(&mut self, channel: String) {
        self.stream.push(channel.clone());
        let message = self.message(self.end());
        if self.channels.contains(&channel) {
            self.live.push_back(message.clone());
        }
        if self.catching.as_ref().is_some_and(|(_, channels)| channels.contains(&channel)) {
            self.replay.push_back(message);
        }
    }

    fn take(&mut self, command: Command) {
        let (id, channels) = (command.id, command.channels);
        let mut answer = json!({
            "type": "subscription_ack", "id": id, "subscribed": channels, "offset": self.end(),
        });
        let Some(resume) = command.resume else {
            self.channels.extend(channels);
            self.live.push_back(answer); // after what is under way
            return;
        };
        (answer["offset"], answer["recovered"]) = (resume.offset.into(), true.into());
        self.answers.push_back(answer);
        for offset in resume.offset + 1..=self.end() {
            if channels.contains(&self.stream[offset as usize - 1]) {
                self.replay.push_back(self.message(offset));
            }
        }
        self.catching = Some((id, channels));
    }

    /// Up to where everything has been sent.
    fn sent(&self) -> i64 {
        let queued = self.live.iter().chain(&self.replay).filter_map(offset);
        queued.map(|offset| offset - 1).fold(self.end(), i64::min)
    }

    /// The next frame, or none when there is nothing to send.
    fn next(&mut self) -> Option<Value> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if self.replay.is_empty() && self.catching.is_some() && self.chance.bool() {
            let (id, channels) = self.catching.take()?;
            self.channels.extend(channels);
            return Some(json!({ "type": "live", "id": id, "offset": self.sent() }));
        }
        // A replay may be late, and is never ahead of what is live.
        let first = self.replay.front().and_then(offset);
        let ahead =
            |first: i64| !self.live.iter().any(|frame| frame["offset"].as_i64().unwrap() <= first);
        if first.is_some_and(ahead) && (self.live.is_empty() || self.chance.bool()) {
            return self.replay.pop_front();
        }
        if let Some(frame) = self.live.pop_front() {
            return Some(frame);
        }
        (self.chance.u8(..3) == 0).then(|| json!({ "type": "pong", "offset": self.sent() }))
    }

    fn step(&mut self, all: &[String], quiet: bool) {
        self.now += Duration::from_secs(1);
        let action = self.chance.f64();
        if !quiet && action < 0.3 {
            let channel = all[self.chance.usize(..all.len())].clone();
            self.publish(channel);
        } else if !quiet && action < 0.35 {
            self.session.ended();
            self.connect();
        } else if action < 0.45
            && let Some(channel) = self.wanted.pop_front()
        {
            self.session.subscribe(&channel, false);
        } else if let Some(frame) = self.next() {
            self.session.receive(frame.to_string().as_bytes());
        }
        while (quiet || self.chance.f64() < 0.9) && self.event() {}
        for command in self.session.commands(self.now) {
            self.take(command);
        }
    }

    fn event(&mut self) -> bool {
        let event = self.session.poll();
        match &event {
            Some(Event::Message(message)) => {
                self.got.entry(message.channel.clone()).or_default().push(message.offset);
            }
            Some(Event::Subscribed(subscribed)) if !subscribed.resumed => {
                for channel in &subscribed.channels {
                    self.began.insert(channel.clone(), subscribed.offset);
                }
            }
            Some(Event::Gap(_) | Event::Error(_) | Event::Rejected(_)) => {
                panic!("seed {}: {event:?}", self.seed)
            }
            _ => {}
        }
        event.is_some()
    }
}

#[test]
fn whatever_comes_in_between_every_message_comes_once_and_in_order() {
    for seed in 0..300 {
        let mut simulation = Simulation::new(seed);
        let all: Vec<_> = simulation.wanted.iter().cloned().collect();
        for _ in 0..300 {
            simulation.step(&all, false);
        }
        let mut steps = 0;
        while !simulation.wanted.is_empty()
            || !simulation.session.settled()
            || !simulation.live.is_empty()
        {
            simulation.step(&all, true);
            steps += 1;
            assert!(steps < 10_000, "seed {seed} does not come to an end");
        }
        for channel in &all {
            let began = simulation.began[channel];
            let published = simulation.stream.iter().zip(1..);
            let expected: Vec<i64> = published
                .filter(|(other, offset)| *other == channel && *offset > began)
                .map(|(_, offset)| offset)
                .collect();
            let got = simulation.got.remove(channel).unwrap_or_default();
            assert_eq!(got, expected, "seed {seed}, {}", &channel[..1]);
        }
    }
}
